"""`sightline bench line` and `soak`: the whole line with a network, under open-loop load."""

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Table

from model.cli.screen import AsJson, Device, bars, to_stderr
from producers.daemon import ExitCode

if TYPE_CHECKING:
    from worker.bench.report import LineBench
    from worker.bench.soak import SoakReport

Bundle = Annotated[
    Path | None, typer.Argument(metavar="[BUNDLE]", help="To judge with; by default one is trained for a moment.")
]
Data = Annotated[
    Path | None, typer.Option(help="Good pictures to send (and to train on), as for train; by default drawn parts.")
]
Backbone = Annotated[str, typer.Option(help="Of a bundle that is trained: resnet18, wide_resnet50_2...")]
Weights = Annotated[str | None, typer.Option(help="Of that backbone; by default our own, else random ones.")]
Cameras = Annotated[int, typer.Option(min=1, max=64, help="Cameras, a process each.")]
MaxBatch = Annotated[int, typer.Option(min=1, max=256, help="Frames in a batch at most.")]
EngineName = Annotated[str, typer.Option(help="auto, torch or openvino.")]
Rate = Annotated[
    float | None,
    typer.Option(min=0.1, help="Frames a second that load 1 stands for; by default the engine's own best."),
]
Budget = Annotated[
    float | None, typer.Option(min=1, help="Of each frame under load; by default four of the largest batches.")
]
Seed = Annotated[int, typer.Option(help="Of the pictures and the arrivals.")]


def line(
    bundle: Bundle = None,
    data: Data = None,
    cameras: Cameras = 2,
    rate: Rate = None,
    budget_ms: Budget = None,
    seconds: Annotated[float, typer.Option(min=1, help="Of each load; all else takes a part of that.")] = 8.0,
    loads: Annotated[str, typer.Option(help="Shares of the capacity.")] = "0.5,0.8,1.0,1.5",
    backbone: Backbone = "resnet18",
    weights: Weights = None,
    max_batch: MaxBatch = 8,
    device: Device = "auto",
    engine: EngineName = "auto",
    seed: Seed = 0,
    plot: Annotated[Path | None, typer.Option(help="Picture of latency against load, PNG or SVG.")] = None,
    as_json: AsJson = False,
) -> int:
    """Measure the whole line: its engine alone, then saturated, idle, and under open-loop load.

    Cameras, a worker and a Redis of their own, 256 x 256 x 3 raw frames. Arrivals are Poisson, and a frame's latency
    counts from when it was due, whatever kept the camera. Exit code 0 only if each frame has exactly one verdict.
    Nothing outlives the command.
    """
    from worker.bench.load import LoadSettings, bench_line
    from worker.bench.plant import PlantSettings
    from worker.demo.processes import interrupt_on_sigterm

    interrupt_on_sigterm()
    asked = LoadSettings(loads=_shares(loads), rate=rate, budget_ms=budget_ms, seconds=seconds)
    plant = PlantSettings(
        bundle, data, backbone, weights, cameras=cameras, max_batch=max_batch, device=device, engine=engine, seed=seed
    )
    with bars(to_stderr()) as progress:
        found = bench_line(plant, asked, progress=progress)
    if plot is not None:
        from worker.bench.chart import draw_latency

        draw_latency(found, plot)
    if as_json:
        print(json.dumps(found.to_json()))
    else:
        _show(found)
    return ExitCode.OK if found.whole else ExitCode.NO


def soak(
    bundle: Bundle = None,
    seconds: Annotated[float, typer.Option(min=5, help="How long.")] = 3600.0,
    load: Annotated[float, typer.Option(min=0.01, help="Share of the capacity.")] = 0.8,
    data: Data = None,
    cameras: Cameras = 2,
    rate: Rate = None,
    budget_ms: Budget = None,
    backbone: Backbone = "resnet18",
    weights: Weights = None,
    max_batch: MaxBatch = 8,
    device: Device = "auto",
    engine: EngineName = "auto",
    seed: Seed = 0,
    as_json: AsJson = False,
) -> int:
    """Load the line of `bench line` for an hour, and look whether anything grows.

    Resident memory and open descriptors of each process. Exit code 0 only if no process has 5 % more memory at the end
    than after five minutes (in shorter runs: a tenth of the time), none has more descriptors, and each frame has
    exactly one verdict.
    """
    from worker.bench.plant import PlantSettings
    from worker.bench.soak import run_soak
    from worker.demo.processes import interrupt_on_sigterm

    interrupt_on_sigterm()
    plant = PlantSettings(
        bundle, data, backbone, weights, cameras=cameras, max_batch=max_batch, device=device, engine=engine, seed=seed
    )
    with bars(to_stderr()) as progress:
        report = run_soak(plant, seconds, load=load, rate=rate, budget_ms=budget_ms, progress=progress)
    if as_json:
        print(json.dumps(report.to_json()))
    else:
        _show_soak(report)
    if report.fault:
        print(f"sightline soak: {report.fault}", file=sys.stderr)
        return ExitCode.NO
    return ExitCode.OK


def swap(
    bundle: Bundle = None,
    swaps: Annotated[int, typer.Option(min=1, help="How many.")] = 3,
    seconds: Annotated[float, typer.Option(min=3, help="Before each swap, and again for it.")] = 20.0,
    load: Annotated[float, typer.Option(min=0.01, help="Share of the capacity.")] = 0.8,
    data: Data = None,
    cameras: Cameras = 2,
    backbone: Backbone = "resnet18",
    weights: Weights = None,
    max_batch: MaxBatch = 8,
    device: Device = "auto",
    engine: EngineName = "auto",
    seed: Seed = 0,
    as_json: AsJson = False,
) -> int:
    """Change a recipe while the line of `bench line` is loaded: what does a frame notice of it?

    A bundle with another digest is put in place as by `sightline recipe activate`. Printed is p99 from when a frame was
    due until its verdict was stored, from then until a second after the new bundle's first verdict, over p99 before.
    Exit code 0 only if each frame has exactly one verdict, and none is of the old bundle after the new one's first.
    """
    from worker.bench.plant import PlantSettings
    from worker.bench.swap import bench_swap
    from worker.demo.processes import interrupt_on_sigterm

    interrupt_on_sigterm()
    plant = PlantSettings(
        bundle, data, backbone, weights, cameras=cameras, max_batch=max_batch, device=device, engine=engine, seed=seed
    )
    with bars(to_stderr()) as progress:
        report = bench_swap(plant, load=load, swaps=swaps, seconds=seconds, progress=progress)
    if as_json:
        print(json.dumps(report.to_json()))
    else:
        for one in report.swaps:
            p99 = f"p99 {one.before.p99_ms:.0f} ms before, {one.during.p99_ms:.0f} ms during"
            print(f"{one.swap_s:.1f} s until the new bundle's first verdict: {p99}; verdicts {one.by_model}")
        print(f"ratio {report.ratio:.2f} at {report.rate:.1f} frames/s (median of {len(report.swaps)})")
        print(f"{report.frames} frames, {report.missing} without a verdict, {report.duplicates} verdicts too many")
    return ExitCode.OK if report.whole else ExitCode.NO


def _shares(text: str) -> tuple[float, ...]:
    from producers.errors import SettingsError

    try:
        shares = tuple(float(share) for share in text.split(","))
    except ValueError as error:
        raise SettingsError(f"--loads {text} can't be read: expected shares of the capacity as 0.5,0.8,1.0") from error
    if not all(0 < share <= 100 for share in shares):
        raise SettingsError(f"--loads {text}: a load lies above 0, and at 100 times the capacity at most")
    return shares


def _show(found: "LineBench") -> None:
    console = Console()
    title = (
        f"{found.model}, {found.machine}: budget {found.budget_ms:.0f} ms, load 1 = {found.capacity_fps:.1f} frames/s"
    )
    table = Table(title=title)
    for column in ("load", "frames/s", "in time/s", "p50 ms", "p99 ms", "p99.9 ms", "verdicts"):
        table.add_column(column, justify="left" if column == "verdicts" else "right", no_wrap=column != "verdicts")
    for load in found.loads:
        spans = (load.outcome.p50_ms, load.outcome.p99_ms, load.outcome.p999_ms)
        table.add_row(
            f"{load.load:g}",
            f"{load.offered_fps:.1f}",
            f"{load.in_time_fps:.1f}",
            *("" if span is None else f"{span:.0f}" for span in spans),
            ", ".join(f"{count} {reason}" for reason, count in load.outcome.verdicts.items()),
        )
    console.print(table)
    console.print(_stages(found))
    console.print(_processes(found))
    engine = f"{found.engine_fps:.1f} frames/s alone in batches of {found.engine_batch}"
    print(f"engine {engine}, the saturated line {found.line_fps:.1f}: ratio {found.ratio:.3f} (median of pairs)")
    print(
        f"idle: p50 {found.idle.p50_ms:.1f} ms from capture to stored, {found.idle.over_batch1:.2f} times what "
        f"the engine alone needs for one frame ({found.batch_ms[1]:.1f} ms)"
    )
    cost = found.cost
    items = ", ".join(f"{name} {took:.0f}" for name, took in sorted(cost.items_us.items(), key=lambda it: -it[1]))
    print(f"a frame's own processor time, outside decoding and network: {cost.overhead_us:.0f} us ({items})")
    print(f"in all: worker {cost.worker_us:.0f} us, the engine alone {cost.engine_us:.0f} us")
    print(f"{found.frames} frames, {found.missing} without a verdict, {found.duplicates} verdicts too many")


def _stages(found: "LineBench") -> Table:
    from worker.bench.harvest import STAGES

    table = Table(title="medians by stage, ms")
    for column in ("load", *STAGES):
        table.add_column(column, justify="right", no_wrap=True)
    rows = [("idle", found.idle.stages_us), *((f"{load.load:g}", load.outcome.stages_us) for load in found.loads)]
    for name, stages in rows:
        table.add_row(name, *(f"{stages.get(stage, 0) / 1000:.1f}" for stage in STAGES))
    return table


def _processes(found: "LineBench") -> Table:
    table = Table(title="processor time, s, and memory, MiB")
    loads = [f"load {load.load:g}" for load in found.loads]
    for column in ("process", *loads, "MiB", "at the end"):
        table.add_column(column, justify="left" if column == "process" else "right")
    for name, first in found.loads[0].processes.items():
        spent = [load.processes[name] for load in found.loads]
        memory = (first.resident_start_mib, spent[-1].resident_end_mib)
        table.add_row(name, *(f"{it.cpu_s:.1f}" for it in spent), *(f"{mib:.0f}" for mib in memory))
    return table


def _show_soak(report: "SoakReport") -> None:
    table = Table(title=f"{report.seconds:.0f} s at {report.rate:.1f} frames/s")
    for column in ("process", "MiB", "MiB at the end", "growth %", "descriptors", "at the end"):
        table.add_column(column, justify="left" if column == "process" else "right")
    for name, growth in report.processes.items():
        table.add_row(
            name,
            f"{growth.start_mib:.1f}",
            f"{growth.end_mib:.1f}",
            f"{100 * growth.growth:+.1f}",
            str(growth.descriptors_start),
            str(growth.descriptors_end),
        )
    Console().print(table)
    verdicts = ", ".join(f"{count} {reason}" for reason, count in report.verdicts.items())
    print(f"{report.frames} frames: {verdicts}; {report.missing} missing, {report.duplicates} too many")
