"""`sightline bench gate`: the whole way to the flap, broken on purpose, and an oracle beside it."""

import json
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from model.cli.screen import AsJson, bars, to_stderr
from producers.daemon import ExitCode, configure_logging


def gate(
    parts: Annotated[int, typer.Option(min=200, help="That come along the conveyor, 25 a second.")] = 10_000,
    seed: Annotated[int, typer.Option(help="Of the parts, and of what is broken when.")] = 0,
    keep: Annotated[Path | None, typer.Option(help="Folder for the logs of PLC and gateway.")] = None,
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
    if keep is not None:
        keep.mkdir(parents=True, exist_ok=True)
    with bars(to_stderr()) as progress:
        report = run_gate(parts, seed=seed, keep=keep, progress=progress)
    if as_json:
        print(json.dumps(report.to_json()))
    else:
        _show(report.to_json())
    return ExitCode.OK if report.holds else ExitCode.NO


def _show(found: dict[str, Any]) -> None:
    table = Table(title="only an explicit PASS opens the gate", show_header=False)
    table.add_column("")
    table.add_column("", justify="right")
    for name, value in found.items():
        text = ", ".join(f"{count} {word}" for word, count in value.items()) if isinstance(value, dict) else str(value)
        table.add_row(name.replace("_", " "), text or "none")
    Console().print(table)
