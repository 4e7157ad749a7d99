"""`sightline bench`: how fast this machine is with our engine, beside the plain network."""

import json
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Table

from model.cli.screen import AsJson, Device, bars, to_stderr

if TYPE_CHECKING:
    from model.bench import Benchmark


def model(
    backbone: Annotated[str, typer.Option(help="resnet18, resnet50, resnet101 or wide_resnet50_2.")] = "resnet18",
    batch: Annotated[int, typer.Option(min=1, help="Frames at once.")] = 8,
    size: Annotated[int, typer.Option(min=32, help="Side of the network's input, pixels.")] = 224,
    engine: Annotated[str, typer.Option(help="auto, torch or openvino.")] = "auto",
    precision: Annotated[
        str, typer.Option(help="auto (the lowest that is fast here), float32, bfloat16 or float16.")
    ] = "auto",
    rounds: Annotated[int, typer.Option(min=1, help="The median of so many is shown.")] = 15,
    as_json: AsJson = False,
    device: Device = "auto",
) -> int:
    """Measure the engine beside the plain network and beside the roof of this machine, in one run.

    Weights and frames are random: they cost what any others do. Whether a bundle may run in a lower precision is
    another question, which `sightline train` and `calibrate` answer; `sightline check` says what was chosen.
    """
    from model.bench import bench_model
    from model.errors import DataError
    from model.modes import choose_device, modes_here

    chosen = choose_device(device)
    modes = [mode for mode in modes_here(chosen) if engine in ("auto", mode.runtime)]
    modes = [mode for mode in modes if precision in ("auto", mode.precision)]
    if not modes:
        here = ", ".join(map(str, modes_here(chosen)))
        raise DataError(f"engine {engine} in {precision} can't run on {chosen} here: there is {here}")
    with bars(to_stderr()) as progress:
        found = bench_model(
            backbone, batch=batch, mode=modes[0], device=chosen, size=size, rounds=rounds, progress=progress
        )
    if as_json:
        print(json.dumps(found.to_json()))
    else:
        _show(found, batch)
    return 0


def _show(found: "Benchmark", batch: int) -> None:
    console = Console()
    cases = Table(title=f"one frame, {found.machine}")
    for column in ("", "batch", "ms", "images/s", "peak MiB"):
        cases.add_column(column, justify="left" if not column else "right")
    for case in found.cases:
        peak = "-" if case.peak_mib is None else f"{case.peak_mib:.0f}"
        cases.add_row(case.name, str(case.batch), f"{case.ms:.2f}", f"{case.images_per_s:.1f}", peak)
    console.print(cases)
    stages = Table(title=f"the engine's stages, batch {batch}")
    stages.add_column("")
    stages.add_column("ms a frame", justify="right")
    for name, ms in found.stages.items():
        stages.add_row(name, f"{ms:.3f}")
    console.print(stages)
    roof = Table(title=f"the roof of this machine, {found.mode}")
    roof.add_column("")
    roof.add_column("GFLOP/s", justify="right")
    for name, rate in found.roof.items():
        roof.add_row(name, f"{rate / 1e9:.0f}")
    console.print(roof)
    counted = found.operations
    print(
        f"{found.ratio:.2f} times the literal network; {found.roof_share:.0%} of the roof "
        f"({counted['engine'] / 1e9:.2f} GFLOP a frame, the literal network {counted['literal'] / 1e9:.2f})"
    )
