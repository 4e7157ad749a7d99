"""Likely bad parts among the "good" pictures, before a bundle learns them as normal.

The pictures are dealt into folds; each fold is scored by a head that learned from the others alone. A picture stands
out by its modified z-score within its fold (Iglewicz and Hoaglin, "How to Detect and Handle Outliers", 1993): heads
differ, so their raw scores can't be compared.

What it can't see: a defect that many pictures share at the same place. To the others' heads it is normal.
"""

from collections.abc import Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Generator

from model.anomaly_map import Grid
from model.engine import Inspection
from model.errors import DataError
from model.features import CACHE_BYTES, Progress, anomaly_maps, extract_features, spread
from model.fitting import HeadTraining, fit
from model.images import Image
from model.modes import choose_device
from model.picture import Tile, overlay_of, to_bgr
from model.plan import Plan

OUTLYING = 3.5
"""Modified z-scores beyond this are outliers, as Iglewicz and Hoaglin recommend."""


@dataclass(frozen=True)
class Suspect:
    """What the other pictures make of one.

    Attributes:
        path: of the picture.
        fold: that it was dealt into.
        z: modified z-score of its anomaly score within its fold.
        median: of the fold's anomaly scores.
        threshold: the anomaly score at which z is `OUTLYING`.
        inspection: its anomaly score and map, from a head that never saw it.
    """

    path: Path
    fold: int
    z: float
    median: float
    threshold: float
    inspection: Inspection = field(repr=False)

    @property
    def outlying(self) -> bool:
        """Whether a person should look at it before anything learns from it."""
        return self.z > OUTLYING


def suspects(
    paths: Sequence[Path],
    images: Sequence[Image],
    plan: Plan,
    *,
    folds: int = 5,
    device: str = "auto",
    cache_bytes: int = CACHE_BYTES,
    progress: Progress = lambda what, done, total: None,
) -> list[Suspect]:
    """Every picture, the most outlying first.

    Args:
        paths: of the pictures.
        images: `(H, W)` grey or `(H, W, 3)` RGB, in the same order.
        plan: network and recipe of each fold's head.
        folds: at least 2.
        device: `auto`, `cpu` or `cuda`.
        cache_bytes: features beyond this lie in a file.
        progress: told what is going on.

    Raises:
        DataError: fewer than three pictures a fold, weights that don't fit, features that are not finite.
    """
    if folds < 2 or len(images) < 3 * folds:
        raise DataError(f"{len(images)} readable picture(s) can't be dealt into {folds} folds: each needs three")
    chosen, seed = choose_device(device), plan.settings.seed
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = plan.architecture.build(weights=plan.settings.weights, seed=seed)
    features = extract_features(
        network.extractor, plan.preprocessing, images, device=chosen, progress=progress, budget_bytes=cache_bytes
    )
    dealt = torch.randperm(len(images), generator=Generator().manual_seed(seed)) % folds
    found: list[Suspect] = []
    for fold in range(folds):
        learned, held = features[dealt != fold], features[dealt == fold]
        settings = plan.settings_for(*learned.shape[:2]).resolved(spread(learned))
        training = HeadTraining(deepcopy(network.head), learned, settings, device=chosen)
        head = fit(training, progress=_of_fold(progress, fold, folds))
        maps = anomaly_maps(head, held, device=chosen).reshape(-1, *plan.architecture.grid(plan.preprocessing.crop))
        places = torch.nonzero(dealt == fold).flatten().tolist()
        seen = [_inspection(plan, grid, images[place]) for grid, place in zip(maps, places, strict=True)]
        found += _ranked(fold, [paths[place] for place in places], seen)
    return sorted(found, key=lambda suspect: -suspect.z)


def _of_fold(progress: Progress, fold: int, folds: int) -> Progress:
    return lambda what, done, total: progress(f"{what} {fold + 1}/{folds}", done, total)


def _inspection(plan: Plan, grid: Grid, image: Image) -> Inspection:
    applied = plan.scoring.apply(grid)
    box = plan.preprocessing.box(image.shape[0], image.shape[1])
    return Inspection(plan.scoring.score(applied), applied, plan.preprocessing.crop, box)


def _ranked(fold: int, paths: Sequence[Path], inspections: Sequence[Inspection]) -> list[Suspect]:
    scores = np.array([inspection.score for inspection in inspections])
    z, median, unit = modified_z_scores(scores)
    threshold = median + OUTLYING * unit
    return [
        Suspect(path, fold, float(own), median, threshold, inspection)
        for path, own, inspection in zip(paths, z, inspections, strict=True)
    ]


def modified_z_scores(scores: NDArray[np.float64]) -> tuple[NDArray[np.float64], float, float]:
    """(score - median) * 0.6745 / MAD, with the median and what one unit is in scores.

    Where more than half of the scores are alike, the mean absolute deviation stands in for their median (Iglewicz and
    Hoaglin); where all are, every z-score is 0.
    """
    median = float(np.median(scores))
    away = np.abs(scores - median)
    unit = float(np.median(away)) / 0.6745 or float(away.mean()) * 1.253314
    return ((scores - median) / unit if unit else np.zeros_like(scores)), median, unit or 1.0


def tiles(found: Sequence[Suspect], images: Mapping[Path, Image]) -> list[Tile]:
    """For a contact sheet: each picture beside its heat map.

    Args:
        found: those to show.
        images: by path.
    """
    return [
        Tile(
            f"{suspect.path.name}: {suspect.z:.1f}",
            to_bgr(images[suspect.path]),
            overlay_of(images[suspect.path], suspect.inspection, suspect),
        )
        for suspect in found
    ]
