"""`sightline bench`: how fast this machine is with our engine, beside the plain network."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Table

from model.cli.screen import AsJson, Device, bars, to_stderr

if TYPE_CHECKING:
    from model.bench import Benchmark
    from model.comparison import Comparison


def model(
    backbone: Annotated[str, typer.Option(help="resnet18, resnet50, resnet101 or wide_resnet50_2.")] = "resnet18",
    batch: Annotated[int, typer.Option(min=1, help="Frames in a batch.")] = 8,
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
        _show(found)
    return 0


def peers(
    data: Annotated[
        Path | None, typer.Option(help="Pictures to learn and be asked about, as for train; without, speed alone.")
    ] = None,
    backbone: Annotated[str, typer.Option(help="resnet18 or wide_resnet50_2.")] = "resnet18",
    weights: Annotated[
        str | None, typer.Option(help="imagenet, random, or a file; by default imagenet with --data, else random.")
    ] = None,
    batch: Annotated[int, typer.Option(min=1, help="Frames in a batch; one at a time is measured, too.")] = 8,
    size: Annotated[int, typer.Option(min=256, help="Side of every detector's input, pixels.")] = 256,
    rounds: Annotated[int, typer.Option(min=1, help="The median of so many is shown.")] = 5,
    plot: Annotated[Path, typer.Option(help="Where the plot of speed and AUROC goes; drawn with --data.")] = Path(
        "peers.png"
    ),
    as_json: AsJson = False,
) -> int:
    """Measure other detectors beside the engine, on the CPU, in one run: the paper's Figure 2 on your machine.

    PatchCore, PaDiM, EfficientAD-S and SuperSimpleNet as anomalib ships them, at the input size it gives them, and the
    literal SimpleNet. PatchCore chooses its memory for ten minutes and more; EfficientAD-S and SuperSimpleNet would
    learn for hours and are measured for speed alone.
    """
    from model import charts
    from model.comparison import compare
    from model.errors import DataError

    if not plot.absolute().parent.is_dir():  # better said now than after half an hour
        raise DataError(f"the plot can't be written: there is no folder {plot.parent}")
    console = to_stderr()
    with bars(console) as progress:
        found = compare(
            data,
            backbone=backbone,
            weights=weights or ("random" if data is None else "imagenet"),
            batch=batch,
            size=size,
            rounds=rounds,
            progress=progress,
            tell=lambda skipped: console.print(f"skipped: {skipped}", markup=False),
        )
    if data is not None:
        speed = found.speed(batch)
        plot.write_bytes(
            charts.quality_and_speed({name: (speed[name], found.image_auroc[name]) for name in speed}, batch=batch)
        )
        console.print(f"plot in {plot}", markup=False)
    if as_json:
        print(json.dumps(found.to_json()))
    else:
        _show_peers(found)
    return 0


def _show_peers(found: "Comparison") -> None:
    table = Table(title=f"{found.backbone}, {found.size} px, {found.machine}; Sightline in {found.engine}")
    table.add_column("", no_wrap=True)
    for column in ("batch", "ms", "images/s", "ratio", "image AUROC"):
        table.add_column(column, justify="right")
    for case in sorted(found.cases, key=lambda case: (case.batch, -case.ms)):
        ratio, quality = found.ratios.get(case.name), found.image_auroc[case.name]
        table.add_row(
            case.name,
            str(case.batch),
            f"{case.ms:.1f}",
            f"{case.images_per_s:.1f}",
            f"{ratio[case.batch]:.1f}" if ratio else "",
            "-" if quality is None else f"{quality:.4f}",
        )
    Console().print(table)
    print(
        "ratio: how many times faster Sightline is. It starts from the camera's bytes, "
        "the others from a tensor resized and normalised already."
    )


def _show(found: "Benchmark") -> None:
    console = Console()
    cases = Table(title=f"one frame, {found.machine}")
    for column in ("", "batch", "ms", "images/s", "peak MiB"):
        cases.add_column(column, justify="left" if not column else "right")
    for case in found.cases:
        peak = "-" if case.peak_mib is None else f"{case.peak_mib:.0f}"
        cases.add_row(case.name, str(case.batch), f"{case.ms:.2f}", f"{case.images_per_s:.1f}", peak)
    console.print(cases)
    stages = Table(title=f"the engine's stages, {found.at_once} at once, which is fastest")
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
