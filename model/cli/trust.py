"""`sightline suspects`, `challenge`, `repeatability`, `limits`: what one asks before trusting pictures and bundles."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from model.cli.screen import AsJson, BundlePath, Device, bars, finite, to_stderr

SHEET_LEAST, SHEET_MOST = 8, 48


def suspects(
    data: Annotated[Path, typer.Argument(help="Pictures of parts said to be good: as `sightline train` takes them.")],
    sheet: Annotated[Path, typer.Option(help="Contact sheet of the most outlying ones, PNG.")] = Path("suspects.png"),
    weights: Annotated[str, typer.Option(help="Of the backbone: auto, own, imagenet, random or a file.")] = "auto",
    backbone: Annotated[str, typer.Option(help="As in `sightline train`.")] = "resnet18",
    size: Annotated[str, typer.Option(help="Network input in pixels, 224 or HEIGHTxWIDTH.")] = "224",
    folds: Annotated[int, typer.Option(help="So many heads, each learning from all folds but one.", min=2)] = 5,
    steps: Annotated[int, typer.Option(help="Optimiser steps of each head.", min=1)] = 300,
    seed: Annotated[int, typer.Option(help="Of the folds and the heads.")] = 0,
    as_json: AsJson = False,
    device: Device = "auto",
) -> int:
    """List the likely bad parts among the "good" ones, before a bundle learns them as normal.

    Each picture is scored by a head that never saw it. Exit code 1 if one stands out: look at the contact sheet, move
    what is bad away, and ask again. A defect that many pictures share at the same place does not stand out.
    """
    from model.backbone import describe_weights
    from model.dataset import good_pictures, read_each
    from model.picture import contact_sheet, write_png
    from model.plan import Plan
    from model.suspects import suspects as run
    from model.suspects import tiles

    console = to_stderr()
    given = {"weights": weights, "backbone": backbone, "size": size, "steps": steps, "seed": seed}
    plan = Plan.of(given)
    console.print(describe_weights(plan.settings.weights), markup=False)
    images = read_each(good_pictures(data), lambda error: console.print(f"skipped: {error}", markup=False))
    with bars(console) as progress:
        found = run(list(images), list(images.values()), plan, folds=folds, device=device, progress=progress)
    outlying = [one for one in found if one.outlying]
    write_png(sheet, contact_sheet(tiles(found[: min(SHEET_MOST, max(SHEET_LEAST, len(outlying)))], images)))
    if as_json:
        listed = [
            {"image": str(one.path), "z": one.z, "outlying": one.outlying, "score": one.inspection.score}
            for one in found
        ]
        print(json.dumps(finite({"sheet": str(sheet), "outlying": len(outlying), "pictures": listed})))
        return int(bool(outlying))
    for one in outlying:
        Console(highlight=False, soft_wrap=True).print(escape(f"z {one.z:5.1f}  {one.path}"))
    print(f"{len(outlying)} of {len(found)} pictures stand out; the most outlying ones: {sheet}")
    return int(bool(outlying))


def challenge(
    bundle: BundlePath,
    folder: Annotated[Path, typer.Argument(help="Master parts: good/ must pass, all other subfolders must fail.")],
    log: Annotated[Path | None, typer.Option(help="JSON lines; by default challenge.jsonl in the folder.")] = None,
    as_json: AsJson = False,
    device: Device = "auto",
) -> int:
    """Show the bundle parts that one knows, as at shift start: bad ones must all fail, good ones pass.

    Exit code 0 if every part is judged as it is known, else 1. The severities are kept and shown beside the last ones:
    a lamp that fades shows here before it costs a part.
    """
    from model.bundle import read_bundle
    from model.challenge import LOG
    from model.challenge import challenge as run

    loaded = read_bundle(bundle).on(device)
    with bars(to_stderr()) as progress:
        parts = run(loaded, folder, log=log or folder / LOG, device=device, progress=progress)
    held = all(part.right for part in parts)
    if as_json:
        results = [{**asdict(part), "right": part.right} for part in parts]
        print(json.dumps(finite({"model": loaded.label, "held": held, "parts": results})))
        return 0 if held else 1
    console = Console(highlight=False, soft_wrap=True)
    for part in parts:
        word = "[green]right[/]" if part.right else "[red]WRONG[/]"
        severity = part.note if part.severity is None else f"severity {part.severity:.2f}"
        before = "" if part.before is None else f" (last time {part.before:.2f})"
        verdict = f"{'pass' if part.passed else 'fail'}  {severity}{before}"
        console.print(f"{word}  {'bad ' if part.bad else 'good'}  {escape(verdict)}  {escape(part.name)}")
    wrong = sum(not part.right for part in parts)
    console.print("the challenge is held" if held else f"{wrong} of {len(parts)} parts are judged wrong")
    return 0 if held else 1


def repeatability(
    bundle: BundlePath,
    folder: Annotated[Path, typer.Argument(help="Pictures of one and the same part.")],
    as_json: AsJson = False,
    device: Device = "auto",
) -> int:
    """Judge the same part again and again: how far does its score spread on the way to the threshold?

    Below 10 % of the margin is good, above 30 % not acceptable. Exit code 1 if the decisions are not all alike.
    """
    from model.bundle import read_bundle
    from model.repeatability import repeatability as run

    with bars(to_stderr()) as progress:
        found = run(read_bundle(bundle).on(device), folder, device=device, progress=progress)
    if as_json:
        figures = {"mean": found.mean, "deviation": found.deviation, "share": found.share, "agrees": found.agrees}
        print(json.dumps(finite({**asdict(found), **figures})))
    else:
        times = len(found.scores)
        print(f"{times} pictures: {found.passed} pass, {times - found.passed} fail")
        print(f"score {found.mean:.4f} +- {found.deviation:.4f} (one deviation), threshold {found.threshold:.4f}")
        print(f"six deviations are {found.share:.1%} of the margin to the threshold")
    return 0 if found.agrees else 1


def limits(
    bundle: BundlePath,
    data: Annotated[Path, typer.Argument(help="Good pictures, best ones that it has not learned from.")],
    plot: Annotated[Path, typer.Option(help="Probability of detection against size, PNG.")] = Path("limits.png"),
    missed: Annotated[Path | None, typer.Option(help="Contact sheet of defects that passed, PNG.")] = None,
    trials: Annotated[int, typer.Option(min=1, help="Defects of each size and contrast.")] = 40,
    seed: Annotated[int, typer.Option(help="Of their places.")] = 0,
    as_json: AsJson = False,
    device: Device = "auto",
) -> int:
    """Put round spots into good pictures: from which size and contrast on does the bundle see them?

    Real defects differ: the figures compare bundles and show where they end, they promise nothing about a scratch.
    """
    from model.bundle import read_bundle
    from model.dataset import good_pictures
    from model.limits import CONTRASTS, SIZES, draw, missed_tiles
    from model.limits import limits as run
    from model.picture import contact_sheet, write_bytes, write_png
    from model.threshold import judgeable

    console, loaded = to_stderr(), read_bundle(bundle).on(device)
    images = judgeable(good_pictures(data), loaded, tell=lambda sentence: console.print(sentence, markup=False))
    with bars(console) as progress:
        found = run(loaded, images, trials=trials, seed=seed, device=device, progress=progress)
    write_bytes(plot, draw(found))
    if missed is not None and (tiles := missed_tiles(loaded, found)):
        write_png(missed, contact_sheet(tiles))
    if as_json:
        cells = [
            {"size": cell.size, "contrast": cell.contrast, "detection": cell.detection.value}
            | {"interval": [cell.detection.low, cell.detection.high]}
            for cell in found.cells
        ]
        sums = {"pictures": found.pictures, "failing": found.failing, "trials": trials, "plot": str(plot)}
        print(json.dumps(finite({"model": loaded.label, **sums, "cells": cells})))
        return 0
    headings = (f"contrast {contrast:.0%}" for contrast in CONTRASTS)
    table = Table("diameter", *headings, title="probability of detection")
    for size in SIZES:
        rates = [next(cell for cell in found.row(contrast) if cell.size == size).detection for contrast in CONTRASTS]
        table.add_row(f"{size:.0%}", *(f"{rate.value:.0%}" for rate in rates))
    Console().print(table)
    for contrast in CONTRASTS:
        least = found.smallest(contrast)
        says = "not seen at any size" if least is None else f"seen from {least:.0%} of the frame's shorter side on"
        print(f"contrast {contrast:.0%}: {says}")
    left_out = f", {found.failing} that fail anyway left out" if found.failing else ""
    print(f"{trials} spots each in {found.pictures} pictures{left_out}; curves: {plot}")
    return 0
