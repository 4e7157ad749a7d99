"""`sightline bench latency`: from a verdict in Redis to a result that the PLC has read."""

from typing import Annotated

import typer

from model.cli.screen import AsJson, bars, to_stderr
from producers.daemon import ExitCode, configure_logging
from worker.bench.cli_faults import show


def latency(
    verdicts: Annotated[int, typer.Option(min=20, help="To be written, one a part.")] = 12_000,
    rate: Annotated[float, typer.Option(min=1, help="Verdicts a second, on average; arrivals are Poisson.")] = 200.0,
    poll_ms: Annotated[float, typer.Option(min=0.5, help="Between two polls of the PLC.")] = 2.0,
    seed: Annotated[int, typer.Option(help="Of the schedule.")] = 0,
    as_json: AsJson = False,
) -> int:
    """Measure how long after XADD a PLC that polls the gate over Modbus has the result.

    A Redis and a gate of its own, and a PLC in a process that polls and triggers each part. It needs no network and no
    camera. Exit code 0 only if p99 is at most 10 ms, and at least 99 of 100 results were seen.
    """
    from worker.bench.gate.latency import run_latency
    from worker.demo.processes import interrupt_on_sigterm

    interrupt_on_sigterm()
    configure_logging("error")
    with bars(to_stderr()) as progress:
        report = run_latency(verdicts, rate=rate, poll_ms=poll_ms, seed=seed, progress=progress)
    show("from XADD until the PLC has the result", report.to_json(), as_json=as_json)
    return ExitCode.OK if report.holds else ExitCode.NO
