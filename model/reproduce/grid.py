"""Cells of variants on categories, seed by seed, each computed at most once, ever; what is measured is the caller's."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from model import metrics
from model.dataset import good_pictures
from model.engine import Inspection
from model.evaluation import Pixels
from model.features import anomaly_maps
from model.fitting import HeadTraining
from model.modes import choose_device
from model.reproduce.store import Store
from model.reproduce.study import Study, Training, Variant, data_identity, training_of
from model.reproduce.trial import (
    Extractor,
    Features,
    build,
    categories,
    percent,
    prepare,
    train_head,
)
from model.scoring import Scoring
from model.simplenet import Head, SimpleNet

Cells = list[dict[str, Any]]
"""One a seed."""


@dataclass(frozen=True)
class Trial:
    """A cell about to be trained.

    Attributes:
        study: what all cells share.
        training: this one's recipe.
        network: with the head that its seed starts with.
        features: of its category.
        checkpoint: where an interrupted training is taken up from.
    """

    study: Study
    training: Training
    network: SimpleNet
    features: Features
    checkpoint: Path

    def head(self) -> Head:
        """Trains, and returns the head that is kept, in evaluation mode on the CPU.

        Raises:
            DataError: training diverged.
        """
        return train_head(self.study, self.training, self.network, self.features.train, checkpoint=self.checkpoint)

    def head_training(self) -> HeadTraining:
        """The training, before its first step, for who wants to watch it."""
        return prepare(self.study, self.training, self.network, self.features.train)

    @property
    def labels(self) -> NDArray[np.bool_]:
        """`(M,)` of the test pictures, true for defective."""
        return np.array([picture.defective for picture in self.features.labelled], np.bool_)

    def inspections(self, head: Head) -> list[Inspection]:
        """The test pictures as an `Engine` with the maximum as its score would see them (Eq. 11)."""
        scoring, preprocessing, found = Scoring(), self.training.preprocessing, []
        maps = anomaly_maps(head, self.features.test, device=choose_device(self.study.device))
        for flat, shape in zip(maps, self.features.shapes, strict=True):
            grid = flat.reshape(self.features.grid)
            box = preprocessing.box(shape[0], shape[1])
            found.append(Inspection(scoring.score(grid), grid, preprocessing.crop, box))
        return found


Measure = Callable[[Trial], dict[str, Any]]
"""What a cell is worth, finite, as JSON knows it."""


class Grid:
    """The cells of one table.

    Args:
        study: what they share.
        table: in whose store they lie.

    Raises:
        DataError: the data or the store can't be used.
    """

    def __init__(self, study: Study, table: str) -> None:
        self.study = study
        self.categories = categories(study.data)
        self.store = Store(study.out, table)
        self._identities = {category: data_identity(category) for category in self.categories}
        self._pictures = {category: len(good_pictures(category)) for category in self.categories}

    def run(self, variants: Sequence[Variant], measure: Measure) -> dict[tuple[str, Path], Cells]:
        """What was measured, by the variant's label and the category.

        Raises:
            DataError: something that a cell needs can't be had.
        """
        extractor, found = Extractor(self.study), dict[tuple[str, Path], Cells]()
        wanted = [
            (category, variant, seed)
            for category in self.categories
            for variant in variants
            for seed in range(self.study.seeds)
        ]
        for done, (category, variant, seed) in enumerate(wanted):
            cell = self._cell(extractor, category, variant, seed, measure)
            found.setdefault((variant.label, category), []).append(cell)
            self.study.progress("cells", done + 1, len(wanted))
        return found

    def _cell(
        self, extractor: Extractor, category: Path, variant: Variant, seed: int, measure: Measure
    ) -> dict[str, Any]:
        training = training_of(self.study, variant, pictures=self._pictures[category], seed=seed)
        settings = {"data": self._identities[category], **training.identity()}
        if (stored := self.store.get(settings)) is not None:
            return stored
        network = build(training)
        features = extractor.of(category, training, network)
        cell = measure(Trial(self.study, training, network, features, self.store.checkpoint(settings)))
        self.store.put(settings, cell)
        return cell


def judged(trial: Trial) -> dict[str, Any]:
    """Image and pixel AUROC in percent; None where they are not defined.

    Raises:
        DataError: training diverged, or a mask can't be read or is not of its picture's size.
    """
    found = trial.inspections(trial.head())
    pixels, features = Pixels(), trial.features
    for picture, inspection, shape in zip(features.labelled, found, features.shapes, strict=True):
        pixels.add(picture, inspection, height=shape[0], width=shape[1])
    image = metrics.auroc(trial.labels, np.array([inspection.score for inspection in found]))
    return {"image": percent(image), "pixel": percent(metrics.pixel_auroc(pixels.masks, pixels.maps))}
