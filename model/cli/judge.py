"""`sightline evaluate` and `inspect`: a bundle says what it thinks of pictures."""

import json
import math
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from model.cli.screen import AsJson, BundlePath, Device, bars, finite, to_stderr


def evaluate(
    bundle: BundlePath,
    data: Annotated[Path, typer.Argument(help="Labelled pictures: MVTec layout, or a CSV file.")],
    report: Annotated[
        Path | None, typer.Option(help="Folder for report.html: figures, curves, the worst ones.")
    ] = None,
    as_json: AsJson = False,
    device: Device = "auto",
) -> int:
    """Judge labelled pictures with a bundle: how well does it tell good from bad, and where is it wrong?"""
    from model.bundle import read_bundle
    from model.dataset import root_of, test_pictures
    from model.evaluation import evaluate as evaluate_bundle
    from model.report import rate_text, write_report

    console, loaded = to_stderr(), read_bundle(bundle).on(device)
    with bars(console) as progress:
        result = evaluate_bundle(loaded, root_of(data), test_pictures(data), device=device, progress=progress)
    for sentence in result.skipped:
        console.print(f"skipped: {sentence}", style="yellow", markup=False)
    if report is not None:
        console.print(f"report: {write_report(report, loaded, result, data=data)}", markup=False)
    if as_json:
        print(json.dumps(finite(result.to_json()), allow_nan=False))
        return 0
    title = f"{bundle} on {data}: {result.false_reject.trials} good, {result.miss.trials} bad"
    table = Table("measure", "value", title=title)
    for key in ("image_auroc", "average_precision", "f1_max", "pixel_auroc", "pixel_auroc_mean", "aupro"):
        value = getattr(result, key)
        named = key.replace("_", " ").replace("auroc", "AUROC").replace("aupro", "AUPRO").replace("f1", "F1")
        table.add_row(named, "-" if value is None else f"{value:.4f}")
    table.add_row("false reject rate", rate_text(result.false_reject))
    table.add_row("miss rate", rate_text(result.miss))
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

    loaded = read_bundle(bundle).on(device)
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
        scored, severity = math.isfinite(found.score), calibration.severity(found.score)
        decision, reason = ("pass", "ok") if calibration.passes(found.score) else ("fail", "defect")
        if not scored:
            reason = "worker_error"  # as on the line: the network is to blame, not the part
        results.append(
            {"image": str(path), "decision": decision, "reason": reason, "score": found.score, "severity": severity}
        )
        if maps is not None and scored:
            name = f"{len(results):04d}_{path.parent.name}_{path.stem}.png"
            save_overlay(maps / name, image, found, calibration)
    if as_json:
        print(json.dumps(finite({"model": loaded.label, "threshold": calibration.threshold, "results": results})))
    else:
        _print_results(results)
    reasons = {result["reason"] for result in results}
    return 6 if reasons & {"bad_frame", "worker_error"} else int("defect" in reasons)


def _print_results(results: list[dict[str, object]]) -> None:
    console = Console()
    for result in results:
        word = "[green]pass[/]" if result["decision"] == "pass" else "[red]fail[/]"
        detail = f"severity {result['severity']:.2f}" if "severity" in result else str(result["note"])
        named = escape(f"{detail}  {result['image']}")
        console.print(f"{word}  {named}", soft_wrap=True, highlight=False)
