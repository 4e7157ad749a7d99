"""`sightline reproduce`: a table or figure of the paper, ours beside theirs."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Table

from model.cli.screen import AsJson, Device, bars, finite, to_stderr

if TYPE_CHECKING:
    from model.reproduce.outcome import Outcome
    from model.reproduce.study import Study

NAMES = ("table1", "table2", "table3", "table4", "table5", "figure4", "figure5", "figure6", "figure7", "figure8")


def reproduce(
    table: Annotated[str, typer.Argument(metavar="TABLE", help=f"One of {', '.join(NAMES)}.")],
    data: Annotated[
        Path, typer.Option(help="MVTec layout: a category or a folder of them; for table5 CIFAR-10, files or folders.")
    ],
    weights: Annotated[
        str, typer.Option(help="A file, a folder with one a backbone, imagenet (downloaded), or random.")
    ] = "imagenet",
    backbone: Annotated[str | None, typer.Option(help="By default the recipe's; for table4 all.")] = None,
    out: Annotated[Path, typer.Option(help="Folder for finished cells and pictures.")] = Path("reproduce"),
    seeds: Annotated[int, typer.Option(min=1, help="Trainings of each cell; more give a standard deviation.")] = 1,
    recipe: Annotated[str, typer.Option(help="paper (section 4.3), or ours (as `sightline train`).")] = "paper",
    steps: Annotated[int | None, typer.Option(min=1, help="Optimiser steps; by default the recipe's.")] = None,
    size: Annotated[int | None, typer.Option(min=8, help="Network input in pixels, with --recipe ours.")] = None,
    cache_gib: Annotated[float, typer.Option(min=0, help="Features beyond so many GiB lie in a file.")] = 4.0,
    as_json: AsJson = False,
    device: Device = "auto",
) -> int:
    """Make a table or figure of the paper again, and print ours beside theirs.

    Each finished cell is stored in OUT/TABLE.json at once: an interrupted run goes on where it was. A figure of the
    paper that could not be verified is shown as -.
    """
    from model.errors import DataError
    from model.reproduce.study import Study

    if table not in NAMES:
        raise DataError(f"unknown table {table!r}: choose one of {', '.join(NAMES)}")
    console = to_stderr()
    with bars(console) as progress:
        study = Study(
            data=data,
            out=out,
            recipe=recipe,
            backbone=backbone,
            weights=weights,
            seeds=seeds,
            steps=steps,
            size=size,
            device=device,
            cache_bytes=int(cache_gib * 1024**3),
            progress=progress,
            tell=lambda sentence: console.print(sentence, markup=False),
        )
        outcome = _maker(table)(study)
    if as_json:
        print(json.dumps(finite(outcome.to_json()), allow_nan=False))
    else:
        _show(outcome)
    return 0


def _maker(table: str) -> "Callable[[Study], Outcome]":
    from model.reproduce import figures, novelty, tables

    module = novelty if table == "table5" else figures if table.startswith("figure") else tables
    maker: Callable[[Study], Outcome] = getattr(module, table)
    return maker


def _show(outcome: "Outcome") -> None:
    shown = Table("", title=outcome.title)
    compared = [column for column in outcome.columns if any(column in row.paper for row in outcome.rows)]
    for column in outcome.columns:
        shown.add_column(f"{column}\nours" if column in compared else column, justify="right")
        if column in compared:
            shown.add_column("\npaper", justify="right")
    if any(row.note for row in outcome.rows):
        shown.add_column("note")
    for row in outcome.rows:
        cells = [row.label]
        for column in outcome.columns:
            ours, theirs = row.ours.get(column), row.paper.get(column)
            cells.append("-" if ours is None else str(ours))
            if column in compared:
                cells.append("-" if theirs is None else f"{theirs:.1f}")
        shown.add_row(*cells, *([row.note] if row.note else []))
    console = Console(highlight=False)
    console.print(shown)
    for sentence in outcome.notes:
        console.print(sentence, markup=False, soft_wrap=True)
    for path in outcome.pictures:
        console.print(str(path), markup=False, soft_wrap=True)
