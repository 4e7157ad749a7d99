"""`sightline bench gate`: the whole way to the flap, broken on purpose, and an oracle beside it."""

from pathlib import Path
from typing import Annotated

import typer

from model.cli.screen import AsJson, bars, to_stderr
from producers.daemon import ExitCode, configure_logging
from worker.bench.cli_faults import show


def gate(
    parts: Annotated[int, typer.Option(min=200, help="That come along the conveyor, 25 a second.")] = 10_000,
    seed: Annotated[int, typer.Option(help="Of the parts, and of what is broken when.")] = 0,
    keep: Annotated[Path | None, typer.Option(help="Folder for the logs and the oracle's findings.")] = None,
    as_json: AsJson = False,
) -> int:
    """Run a conveyor with two views past a gate, break everything on the way, and ask who had to open.

    Two cameras, two workers with no network (a frame's pixels decide), a Redis of its own, `sightline gate` and a PLC
    that polls it over Modbus and moves a flap. Workers, Redis, gateway, cameras and PLC are killed and stopped,
    triggers missed and doubled, acknowledgements dropped, PASSes replayed, forged and late. An oracle that shares no
    code with the gate says for each part whether it was entitled: every view had its PASS in time, and the gate was in
    service.

    Exit code 0 only if the flap opened for no part without that, for at least 99 of 100 that were entitled, every other
    part was rejected, and no result was skipped without the PLC knowing.
    """
    from worker.bench.gate.run import run_gate
    from worker.demo.processes import interrupt_on_sigterm

    interrupt_on_sigterm()
    configure_logging("error")
    with bars(to_stderr()) as progress:
        report = run_gate(parts, seed=seed, keep=keep, progress=progress)
    show("only an explicit PASS opens the gate", report.to_json(), as_json=as_json)
    return ExitCode.OK if report.holds else ExitCode.NO
