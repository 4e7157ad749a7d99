"""Tables 1 to 4 on MVTec AD or anything in its layout: categories, levels, adaptor and loss, backbones."""

import statistics
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from model.backbone import BACKBONES
from model.errors import DataError
from model.reproduce import paper
from model.reproduce.grid import Cells, Grid, judged
from model.reproduce.outcome import IMAGE, PIXEL, Outcome, Row, Spread, mean_of, of_paper, over_seeds
from model.reproduce.paper import Auroc
from model.reproduce.study import OUR_SIZE, Study, Variant, training_of
from model.reproduce.trial import weights_exist

KEYS = {IMAGE: "image", PIXEL: "pixel"}

LEVELS = [Variant("levels " + " + ".join(map(str, levels)), {"levels": levels}) for levels in paper.LEVELS]
ADAPTORS: list[tuple[Variant, Auroc]] = [
    (Variant("no adaptor", {"adaptor": "none"}), paper.NO_ADAPTOR),
    (Variant("complex adaptor (two layers)", {"adaptor": "mlp"}), paper.COMPLEX_ADAPTOR),
    (Variant("cross entropy", settings={"loss": "cross_entropy"}), paper.CROSS_ENTROPY),
    (Variant("SimpleNet (one layer, truncated l1)"), paper.SIMPLENET),
]


def table1(study: Study) -> Outcome:
    """By category.

    Raises:
        DataError: something that it needs can't be had.
    """
    grid = Grid(study, "table1")
    found = grid.run([Variant("")], judged)
    names = [category.resolve().name for category in grid.categories]
    rows = [
        Row(name, figures(found["", category]), of_paper(known_as(name)))
        for name, category in zip(names, grid.categories, strict=True)
    ]
    means = {column: mean_of([row.ours[column] for row in rows]) for column in KEYS}
    rows.append(Row(f"mean of {len(rows)}", means, of_paper(paper_mean(names))))
    return _outcome(study, "table1", "Table 1: by category", rows, [])


def table2(study: Study) -> Outcome:
    """By levels of the backbone. Raises as `table1`."""
    known = list(zip(LEVELS, paper.LEVELS.values(), strict=True))
    return ablation(study, "table2", "Table 2: levels of the backbone", known)


def table3(study: Study) -> Outcome:
    """Adaptor and loss. Raises as `table1`."""
    return ablation(study, "table3", "Table 3: adaptor and loss", ADAPTORS)


def table4(study: Study) -> Outcome:
    """Backbones; those without weights are listed and left out.

    Raises:
        DataError: no backbone has weights, or something else that it needs can't be had.
    """
    names = [study.backbone] if study.backbone else list(BACKBONES)
    there, missing = [], {}
    for name in names:
        if (why := why_missing(study, name)) is None:
            there.append((Variant(name, {"backbone": name}), paper.BACKBONES.get(name, Auroc())))
        else:
            missing[name] = why
            study.tell(f"{name} is left out: {why}")
    if not there:
        raise DataError(f"not one backbone has weights; {names[0]}: {missing[names[0]]}")
    outcome = ablation(study, "table4", "Table 4: backbones", there)
    rows = {row.label: row for row in outcome.rows}
    absent = {name: Row(name, {}, of_paper(paper.BACKBONES.get(name, Auroc())), "no weights") for name in missing}
    return replace(outcome, rows=tuple((rows | absent)[name] for name in names))


def why_missing(study: Study, backbone: str) -> str | None:
    """Why this backbone can't be had with the study's weights, in a sentence; None if it can."""
    try:
        return weights_exist(training_of(study, Variant("", {"backbone": backbone}), pictures=1, seed=0))
    except DataError as error:
        return str(error)


def ablation(study: Study, table: str, title: str, rows: Sequence[tuple[Variant, Auroc]]) -> Outcome:
    """Variants beside each other, each the mean over the categories that are there. Raises as `table1`."""
    grid = Grid(study, table)
    found = grid.run([variant for variant, _ in rows], judged)
    listed = []
    for variant, known in rows:
        cells = [figures(found[variant.label, category]) for category in grid.categories]
        means = {column: mean_of([cell[column] for cell in cells]) for column in KEYS}
        listed.append(Row(variant.label, means, of_paper(known)))
    names = ", ".join(category.resolve().name for category in grid.categories)
    return _outcome(
        study, table, title, listed, [f"ours: mean of {names}; the paper's: mean of the fifteen of MVTec AD"]
    )


def figures(cells: Cells) -> dict[str, Spread | None]:
    """Columns over seeds."""
    return {column: over_seeds([cell[key] for cell in cells]) for column, key in KEYS.items()}


def known_as(name: str) -> Auroc:
    """Table 1's row of a category, also of a copy whose folder is called `mvtec_bottle`."""
    return paper.MVTEC.get(name.removeprefix("mvtec_"), Auroc())


def paper_mean(names: Sequence[str]) -> Auroc:
    """The paper's figures for these very categories: its own mean for all of them, else that of its rounded rows."""
    rows = [known_as(name) for name in names]
    if len(rows) == len(paper.MVTEC) and Auroc() not in rows:
        return paper.MVTEC_MEAN
    image = [row.image for row in rows if row.image is not None]
    pixel = [row.pixel for row in rows if row.pixel is not None]
    if len(image) != len(rows) or len(pixel) != len(rows):
        return Auroc()
    return Auroc(round(statistics.fmean(image), 2), round(statistics.fmean(pixel), 2))


def how(study: Study) -> str:
    """The study in a few words, for titles."""
    weights = Path(study.weights).name
    steps = "" if study.steps is None else f", {study.steps} steps"
    size = "224 px cut from 256" if study.recipe == "paper" else f"{study.size or OUR_SIZE} px"
    return f"recipe {study.recipe}{steps}, {size}, weights {weights}, {study.seeds} seed(s)"


def _outcome(study: Study, table: str, title: str, rows: Sequence[Row], notes: Sequence[str]) -> Outcome:
    backbone = "" if table == "table4" else f"{study.chosen_backbone}, "
    return Outcome(table, f"{title} ({backbone}{how(study)})", (IMAGE, PIXEL), tuple(rows), tuple(notes))
