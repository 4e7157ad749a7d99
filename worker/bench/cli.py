"""`sightline bench transport`: the line around the engine, beside plain sockets."""

import json
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Table

from model.cli.screen import AsJson, bars, to_stderr

if TYPE_CHECKING:
    from worker.bench.transport import TransportBench


def transport(
    frames: Annotated[int, typer.Option(min=10, help="Of each case, shared among five passes.")] = 10_000,
    as_json: AsJson = False,
) -> int:
    """Measure the line around the engine: acknowledged frames a second, beside plain sockets in the same run.

    A publisher, a worker without a network and a Redis of their own, 256 x 256 x 3 raw frames. A frame counts when its
    verdict is in Redis and the publisher knows it. Nothing outlives the command.
    """
    from worker.bench.transport import bench_transport
    from worker.demo.processes import interrupt_on_sigterm

    interrupt_on_sigterm()
    with bars(to_stderr()) as progress:
        found = bench_transport(frames, progress=progress)
    if as_json:
        print(json.dumps(found.to_json()))
    else:
        _show(found)
    return 0


def _show(found: "TransportBench") -> None:
    names = list(found.cases[0].cpu_us)
    table = Table(title=f"{found.frames} frames a case, {found.machine}")
    table.add_column("sockets")
    table.add_column("AOF")
    for column in ("frames/s", "plain/s", "ratio", "CPU us", "growth %"):
        table.add_column(column, justify="right", no_wrap=True)
    for case in found.cases:
        table.add_row(
            case.sockets,
            case.aof,
            f"{case.acknowledged_fps:.0f}",
            f"{case.plain_fps:.0f}",
            f"{case.ratio:.2f}",
            " ".join(f"{case.cpu_us[name]:.0f}" for name in names),
            " ".join(f"{100 * case.resident_growth[name]:+.1f}" for name in names),
        )
    Console().print(table)
    print(
        "frames/s: acknowledged. CPU us: processor time a frame, growth %: of resident memory since the warm-up; "
        f"each of {', '.join(names)}"
    )
