"""What `worker` brings to `sightline bench`: `transport`."""

import json
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

if TYPE_CHECKING:
    from worker.bench.transport import TransportBench


def transport(
    frames: Annotated[int, typer.Option(min=10, help="Of each case, shared among five passes.")] = 10_000,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object on standard output.")] = False,
) -> int:
    """Measure the line around the engine: acknowledged frames a second, beside plain sockets in the same run.

    A publisher, a worker without a network and a Redis of their own, 256 x 256 x 3 raw frames. A frame counts when its
    verdict is in Redis and the publisher knows it. Nothing outlives the command.
    """
    from worker.bench.transport import bench_transport, frames_in_all
    from worker.demo.processes import interrupt_on_sigterm

    interrupt_on_sigterm()
    console = Console(stderr=True)
    with Progress(console=console, disable=not console.is_terminal, transient=True) as bar:
        task = bar.add_task("frames", total=frames_in_all(frames))
        found = bench_transport(frames, progress=lambda done: bar.advance(task, done))
    if as_json:
        print(json.dumps(found.to_json()))
    else:
        _show(found)
    return 0


def _show(found: "TransportBench") -> None:
    table = Table(title=f"{found.frames} frames a case, {found.machine}")
    names = list(found.cases[0].cpu_us)
    for column in ("sockets", "AOF", "acknowledged/s", "plain/s", "ratio", *(f"{name} us" for name in names), "growth"):
        table.add_column(column, justify="left" if column in ("sockets", "AOF") else "right")
    for case in found.cases:
        table.add_row(
            case.sockets,
            case.aof,
            f"{case.acknowledged_fps:.0f}",
            f"{case.plain_fps:.0f}",
            f"{case.ratio:.2f}",
            *(f"{case.cpu_us[name]:.0f}" for name in names),
            " ".join(f"{case.resident_growth[name]:+.1%}" for name in names),
        )
    console = Console()
    console.print(table)
    console.print("us: processor time a frame. growth: resident memory of " + ", ".join(names) + ", since the warm-up.")
