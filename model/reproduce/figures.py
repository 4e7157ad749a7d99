"""Figures 4 to 8, each as PNG and as the numbers that it is drawn from, which lie in its store."""

from copy import deepcopy
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor

from model import charts, metrics
from model.errors import DataError
from model.features import anomaly_maps
from model.modes import choose_device
from model.reproduce import paper, sheet
from model.reproduce.grid import Cells, Grid, Trial
from model.reproduce.outcome import IMAGE, PIXEL, Outcome, Row, over_seeds
from model.reproduce.paper import Auroc
from model.reproduce.study import Study, Variant
from model.reproduce.tables import ablation, how
from model.reproduce.trial import percent
from model.settings import PAPER_SIGMA
from model.simplenet import FeatureAdaptor, Head

SIGMA_TIMES = (0.125, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0)
PATCH_SIZES = (1, 3, 5, 7, 9)
POSITIONS = 100_000
CHECKS = 20
MEAN, VARIATION = "mean deviation", "its variation over dimensions, %"


def figure4(study: Study) -> Outcome:
    """How far features spread along each of their dimensions, before and after the adaptor.

    Raises:
        DataError: something that it needs can't be had.
    """
    grid = Grid(study, "figure4")
    found = grid.run([Variant("")], deviations)
    rows, drawn = [], dict[str, charts.Curve]()
    for key, label in (("pretrained", "pre-trained"), ("initial", "adapted, untrained"), ("adapted", "adapted")):
        cells = [cell[key] for category in grid.categories for cell in found["", category]]
        means = over_seeds([float(np.mean(cell)) for cell in cells])
        variation = over_seeds([100 * float(np.std(cell) / np.mean(cell)) for cell in cells])
        rows.append(Row(label, {MEAN: means, VARIATION: variation}))
        drawn[label] = _histogram([value / float(np.mean(cell)) for cell in cells for value in cell])
    picture = _write(study, "figure4.png", charts.curves(drawn, x="deviation over its mean", y="share of dimensions"))
    notes = (_shows("figure4"), "a spread here is over categories and seeds")
    return Outcome("figure4", _title(study, "Figure 4"), (MEAN, VARIATION), tuple(rows), notes, (picture,))


def _histogram(values: list[float]) -> charts.Curve:
    counts, edges = np.histogram(values, bins=60, range=(0, 4))
    centres = (edges[:-1] + edges[1:]) / 2
    return centres.tolist(), (counts / len(values)).tolist()


def deviations(trial: Trial) -> dict[str, Any]:
    """Standard deviation along each dimension: pre-trained, by the adaptor before its training, and after it."""
    flat = trial.features.train.flatten(0, 1)
    sample = flat[:: max(1, len(flat) // POSITIONS)]
    initial = deepcopy(trial.network.head.adaptor).cpu()
    return {
        "pretrained": _deviation(sample),
        "initial": _adapted(initial, sample),
        "adapted": _adapted(trial.head().adaptor, sample),
    }


def _adapted(adaptor: FeatureAdaptor, sample: Tensor) -> list[float]:
    with torch.inference_mode():
        return _deviation(adaptor(sample))


def _deviation(sample: Tensor) -> list[float]:
    return [float(f"{value:.6g}") for value in sample.std(dim=0).tolist()]


def figure5(study: Study) -> Outcome:
    """By the scale of the noise, as multiples of the recipe's. Raises as `figure4`."""
    variants = [Variant(_sigma(study, times), sigma_times=times) for times in SIGMA_TIMES]
    outcome = ablation(study, "figure5", "Figure 5: scale of the noise", [(each, Auroc()) for each in variants])
    note = f"the paper finds sigma {paper.BEST_SIGMA} best; its curve is not known to us"
    return _drawn(study, outcome, SIGMA_TIMES, x="sigma, multiples of the recipe's", note=note)


def _sigma(study: Study, times: float) -> str:
    return f"sigma {times * PAPER_SIGMA:.3g}" if study.recipe == "paper" else f"sigma x {times:g}"


def figure6(study: Study) -> Outcome:
    """By the size of the neighbourhood. Raises as `figure4`."""
    variants = [Variant(f"{size} x {size}", {"patch_size": size}) for size in PATCH_SIZES]
    outcome = ablation(study, "figure6", "Figure 6: neighbourhood", [(each, Auroc()) for each in variants])
    note = f"the paper finds {paper.BEST_PATCH_SIZE} best; its curve is not known to us"
    return _drawn(study, outcome, PATCH_SIZES, x="side of the neighbourhood", note=note)


def _drawn(study: Study, outcome: Outcome, places: tuple[float, ...], *, x: str, note: str) -> Outcome:
    named = {}
    for column in (IMAGE, PIXEL):
        known = [
            (place, ours.mean) for place, row in zip(places, outcome.rows, strict=True) if (ours := row.ours[column])
        ]
        named[column] = ([place for place, _ in known], [mean for _, mean in known])
    picture = _write(study, f"{outcome.table}.png", charts.curves(named, x=x, y="AUROC, %"))
    return Outcome(outcome.table, outcome.title, outcome.columns, outcome.rows, (*outcome.notes, note), (picture,))


def figure7(study: Study) -> Outcome:
    """How training converges: the loss, and the image AUROC of the weights that would be kept. Raises as `figure4`."""
    grid = Grid(study, "figure7")
    found = grid.run([Variant("")], convergence)
    auroc, loss, rows = {}, {}, []
    for category in grid.categories:
        cells, name = found["", category], category.resolve().name
        auroc[name] = (cells[0]["steps"], cells[0]["image"])
        loss[name] = (list(range(1, len(cells[0]["losses"]) + 1)), cells[0]["losses"])
        rows += [Row(f"{name}, step {step}", {IMAGE: _at(cells, place)}) for place, step in enumerate(auroc[name][0])]
    pictures = (
        _write(study, "figure7-auroc.png", charts.curves(auroc, x="optimiser step", y=IMAGE)),
        _write(study, "figure7-loss.png", charts.curves(loss, x="optimiser step", y="loss")),
    )
    notes = (_shows("figure7"), "nothing is chosen by this: the last weights count", "pictures: seed 0")
    return Outcome("figure7", _title(study, "Figure 7"), (IMAGE,), tuple(rows), notes, pictures)


def _at(cells: Cells, place: int) -> Any:
    return over_seeds([cell["image"][place] for cell in cells])


def convergence(trial: Trial) -> dict[str, Any]:
    """Losses of all steps; image AUROC in percent after some of them.

    Raises:
        DataError: training diverged, or the test pictures are not of both kinds.
    """
    training, total = trial.head_training(), trial.training.settings.steps
    marks = {round(total * (check + 1) / CHECKS) for check in range(CHECKS)} - {0}
    image: dict[int, float] = {}
    while not training.done:
        training.step()
        step = len(training.losses)
        trial.study.progress("training", step, total)
        if step in marks:
            image[step] = _auroc(trial, cast(Head, deepcopy(training.kept.module)).eval())
    losses = [float(f"{loss:.5g}") for loss in training.losses]
    return {"steps": list(image), "image": list(image.values()), "losses": losses}


def _auroc(trial: Trial, head: Head) -> float:
    maps = anomaly_maps(head, trial.features.test, device=choose_device(trial.study.device))
    area = percent(metrics.auroc(trial.labels, maps.max(axis=1).astype(np.float64)))
    if area is None:
        raise DataError("convergence needs good and defective test pictures")
    return area


def figure8(study: Study) -> Outcome:
    """Heat maps of the first picture of each kind of defect, with its mask. Raises as `figure4`."""
    grid = Grid(study, "figure8")
    found = grid.run([Variant("")], sheet.examples)
    pictures, rows = [], []
    for category in grid.categories:
        name, cell = category.resolve().name, found["", category][0]
        pictures.append(_write(study, f"figure8-{name}.png", sheet.draw(category, cell)))
        scores = [(each["kind"], each["score"], "") for each in cell["examples"]]
        scores.append(("threshold", cell["threshold"], "best F1"))
        rows += [Row(f"{name}, {label}", {"score": over_seeds([score])}, note=note) for label, score, note in scores]
    notes = (_shows("figure8"), "the first picture of each kind by name, none chosen; seed 0")
    return Outcome("figure8", _title(study, "Figure 8"), ("score",), tuple(rows), notes, tuple(pictures))


def _write(study: Study, name: str, png: bytes) -> Path:
    path = study.out / name
    try:
        path.write_bytes(png)
    except OSError as error:
        raise DataError(f"{path} can't be written: {error.strerror}") from error
    return path


def _shows(figure: str) -> str:
    return f"the paper's figure: {paper.FIGURES[figure]}"


def _title(study: Study, figure: str) -> str:
    return f"{figure} ({study.chosen_backbone}, {how(study)})"
