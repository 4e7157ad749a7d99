"""What `model` brings to the `sightline` command: `train`, `evaluate` and `inspect`."""

import json
import math
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn
from rich.table import Table

BundlePath = Annotated[Path, typer.Argument(metavar="BUNDLE", help="Directory of a bundle, from `sightline train`.")]
Device = Annotated[str, typer.Option(help="auto, cpu or cuda.")]
AsJson = Annotated[bool, typer.Option("--json", help="One JSON object on standard output, nothing else there.")]


def train(
    data: Annotated[Path, typer.Argument(help="Folder with train/good: pictures of good parts (MVTec layout).")],
    out: Annotated[Path, typer.Option(help="Directory of the bundle; an older bundle there is replaced.")],
    backbone: Annotated[
        str | None, typer.Option(help="resnet18 (the default), resnet50, resnet101 or wide_resnet50_2 (the paper's).")
    ] = None,
    weights: Annotated[
        str | None,
        typer.Option(help="Of the backbone: a file, imagenet (downloaded), or random (the default: needs nothing)."),
    ] = None,
    steps: Annotated[int | None, typer.Option(min=1, help="Optimiser steps; by default the recipe's.")] = None,
    sigma: Annotated[
        float | None, typer.Option(min=1e-6, help="Anomaly noise; by default it follows the features' spread.")
    ] = None,
    preset: Annotated[
        str | None,
        typer.Option(help="paper: SimpleNet's section 4.3 to the letter, with ImageNet weights. Hours without a GPU."),
    ] = None,
    false_reject: Annotated[
        float | None, typer.Option(help="Rate at which good parts may fail; by default 1 %, or the least possible.")
    ] = None,
    name: Annotated[str | None, typer.Option(help="Of the recipe; by default the directory's name.")] = None,
    seed: Annotated[int, typer.Option(help="Of the split, the head's start and the noise.")] = 0,
    device: Device = "auto",
) -> int:
    """Learn what good parts look like, and where to draw the line.

    Four fifths of the good pictures train the network, the last fifth is used for nothing but the threshold.
    """
    from dataclasses import replace

    from model.bundle import architecture_for, refuse_foreign, write_bundle
    from model.dataset import good_pictures, read_all
    from model.errors import DataError
    from model.preprocessing import InputContract, Preprocessing
    from model.training import TrainSettings
    from model.training import train as train_network

    if preset not in (None, "paper"):
        raise DataError(f"unknown preset {preset!r}: there is only paper")
    paper = preset == "paper"
    for flag, value in (("--sigma", sigma), ("--steps", steps)):
        if paper and value is not None:
            raise DataError(f"{flag} and --preset paper contradict each other: the paper fixes it")
    backbone = backbone or ("wide_resnet50_2" if paper else "resnet18")
    weights = weights or ("imagenet" if paper else "random")
    console = Console(stderr=True, soft_wrap=True)
    refuse_foreign(out)
    skipped: list[DataError] = []
    images = read_all(good_pictures(data), skipped.append)
    for error in skipped:
        console.print(f"skipped: {error}", style="yellow", markup=False)
    contract = InputContract.of(images)
    if weights == "random":
        console.print("backbone weights are random (seeded): good enough to try, pass --weights for real work")
    settings = TrainSettings(weights=weights, sigma=sigma, seed=seed)
    if steps is not None:
        settings = replace(settings, steps=steps)
    preprocessing = Preprocessing(resize=(256, 256)) if paper else Preprocessing()
    architecture = architecture_for(backbone)
    with _bars(console) as progress:
        network, calibration, used = train_network(
            images,
            architecture=architecture,
            preprocessing=preprocessing,
            settings=settings,
            paper=paper,
            false_reject_rate=false_reject,
            device=device,
            progress=progress,
        )
    bundle = write_bundle(
        out,
        network,
        name=name or out.resolve().name,
        architecture=architecture,
        preprocessing=preprocessing,
        contract=contract,
        calibration=calibration,
        provenance={**used.provenance(), "preset": preset, "good_pictures": len(images), "skipped": len(skipped)},
    )
    console.print(
        f"{bundle.label} in {out}: {len(images)} good pictures ({len(skipped)} skipped), threshold from "
        f"{calibration.images} held out; on average at most {calibration.false_reject_rate:.1%} of good parts fail "
        f"(this very threshold: below {calibration.false_reject_upper_95:.1%} with 95 % confidence)",
        soft_wrap=True,
    )
    return 0


def evaluate(
    bundle: BundlePath,
    data: Annotated[Path, typer.Argument(help="Folder with test/good and test/<defect> (MVTec layout).")],
    as_json: AsJson = False,
    device: Device = "auto",
) -> int:
    """Judge labelled pictures with a bundle: how well does it tell good from bad, and where is it wrong?"""
    from dataclasses import asdict

    from model.bundle import read_bundle
    from model.dataset import test_pictures
    from model.evaluation import evaluate as evaluate_bundle

    console = Console(stderr=True, soft_wrap=True)
    with _bars(console) as progress:
        result = evaluate_bundle(read_bundle(bundle), data, test_pictures(data), device=device, progress=progress)
    for sentence in result.skipped:
        console.print(f"skipped: {sentence}", style="yellow", markup=False)
    if as_json:
        print(json.dumps(_finite(asdict(result)), allow_nan=False))
        return 0
    table = Table("measure", "value", title=f"{bundle} on {data}: {result.good} good, {result.bad} bad")
    for key in ("image_auroc", "pixel_auroc", "false_reject_rate", "miss_rate"):
        value = getattr(result, key)
        table.add_row(key.replace("_", " ").replace("auroc", "AUROC"), "-" if value is None else f"{value:.4f}")
    Console().print(table)
    return 0


def inspect(
    bundle: BundlePath,
    images: Annotated[list[Path], typer.Argument(help="Pictures to judge.")],
    maps: Annotated[Path | None, typer.Option(help="Folder for heat maps, one PNG a picture.")] = None,
    as_json: AsJson = False,
    device: Device = "auto",
) -> int:
    """Judge pictures with a bundle. Exit code 0 if all pass, 1 if one fails, 6 if one can't be judged."""
    from model.bundle import read_bundle
    from model.dataset import read_image
    from model.engine import Engine
    from model.errors import DataError
    from model.picture import save_overlay

    loaded = read_bundle(bundle)
    engine, calibration = Engine.of(loaded, device=device), loaded.manifest.calibration
    results: list[dict[str, object]] = []
    for path in images:
        try:
            image = read_image(path)
            loaded.manifest.contract.check(image)
        except DataError as error:
            results.append({"image": str(path), "decision": "fail", "reason": "bad_frame", "note": str(error)})
            continue
        found = engine.inspect([image])[0]
        finite, severity = math.isfinite(found.score), calibration.severity(found.score)
        decision, reason = ("pass", "ok") if calibration.passes(found.score) else ("fail", "defect")
        if not finite:
            reason = "worker_error"  # as on the line: the network is to blame, not the part
        results.append(
            {"image": str(path), "decision": decision, "reason": reason, "score": found.score, "severity": severity}
        )
        if maps is not None and finite:
            name = f"{len(results):04d}_{path.parent.name}_{path.stem}.png"
            save_overlay(maps / name, image, found, calibration)
    if as_json:
        print(json.dumps(_finite({"model": loaded.label, "threshold": calibration.threshold, "results": results})))
    else:
        _print_results(results)
    reasons = {result["reason"] for result in results}
    return 6 if reasons & {"bad_frame", "worker_error"} else int("defect" in reasons)


def _finite(value: object) -> object:
    """The same for JSON, which has no word for numbers that are not finite: null."""
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _print_results(results: list[dict[str, object]]) -> None:
    console = Console()
    for result in results:
        word = "[green]pass[/]" if result["decision"] == "pass" else "[red]fail[/]"
        detail = f"severity {result['severity']:.2f}" if "severity" in result else str(result["note"])
        named = escape(f"{detail}  {result['image']}")
        console.print(f"{word}  {named}", soft_wrap=True, highlight=False)


@contextmanager
def _bars(console: Console) -> Iterator[Callable[[str, int, int], None]]:
    """Progress bars, one for each thing that goes on; silent where nobody watches."""
    columns = (TextColumn("{task.description:10}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, disable=not sys.stderr.isatty()) as progress:
        tasks: dict[str, TaskID] = {}

        def tell(what: str, done: int, total: int) -> None:
            if what not in tasks:
                tasks[what] = progress.add_task(what, total=total)
            progress.update(tasks[what], completed=done)

        yield tell
