"""Table 5: one class of CIFAR-10 is normal, the nine others are novel; the score is the map's maximum (Eq. 11)."""

from dataclasses import replace
from typing import Any

import numpy as np
from torch import Tensor

from model import metrics
from model.features import anomaly_maps
from model.modes import choose_device
from model.reproduce import paper
from model.reproduce.cifar import Classes, read_classes
from model.reproduce.outcome import IMAGE, Outcome, Row, mean_of, over_seeds
from model.reproduce.store import Store
from model.reproduce.study import Study, Training, Variant, training_of
from model.reproduce.tables import how
from model.reproduce.trial import build, extract, extraction_key, percent, train_head
from model.simplenet import SimpleNet

SIZE = 64
"""Pixels, with our recipe. On training pictures of the first five classes (200 a class to learn from, 100 to judge, 300
steps, ResNet-18) 64 px had a mean AUROC of 73.3 %, 224 px one of 67.9 %. The paper's own size is not known to us."""


class Novelty:
    """One-class cells of a data set; the test pictures' features are extracted once for all of them.

    Raises:
        DataError: the data or the store can't be used.
    """

    def __init__(self, study: Study) -> None:
        self.study = study
        self.store = Store(study.out, "table5")
        self.classes: Classes = read_classes(study.data)
        self._test: tuple[object, Tensor] | None = None
        self._train: tuple[object, Tensor] | None = None

    def cell(self, label: int, seed: int) -> float | None:
        """Image AUROC in percent with one class as the normal one, over the whole test set.

        Raises:
            DataError: weights or pictures that can't be had.
        """
        name = self.classes.names[label]
        pictures = int((self.classes.train.labels == label).sum())
        training = training_of(self.study, Variant(""), pictures=pictures, seed=seed)
        settings = {"data": self.classes.identity, "normal": name, **training.identity()}
        if (stored := self.store.get(settings)) is not None:
            return _known(stored)
        network = build(training)
        train, test = self._features(label, training, network)
        head = train_head(self.study, training, network, train, checkpoint=self.store.checkpoint(settings))
        scores = anomaly_maps(head, test, device=choose_device(self.study.device)).max(axis=1)
        novel = self.classes.test.labels != label
        figures = {"image": percent(metrics.auroc(novel, scores.astype(np.float64)))}
        self.store.put(settings, figures)
        return _known(figures)

    def _features(self, label: int, training: Training, network: SimpleNet) -> tuple[Tensor, Tensor]:
        key = extraction_key(training)
        if self._test is None or self._test[0] != key:
            self._test = (key, extract(self.study, training, network, self.classes.test.images))
        if self._train is None or self._train[0] != (key, label):
            self._train = None  # two at once may not fit into memory
            self._train = ((key, label), extract(self.study, training, network, self.classes.train.of(label)))
        return self._train[1], self._test[1]


def table5(study: Study) -> Outcome:
    """By normal class, and their mean.

    Raises:
        DataError: something that it needs can't be had.
    """
    if study.recipe == "ours" and study.size is None:
        study = replace(study, size=SIZE)
    novelty = Novelty(study)
    names, rows = novelty.classes.names, []
    for label, name in enumerate(names):
        cells = []
        for seed in range(study.seeds):
            cells.append(novelty.cell(label, seed))
            study.progress("cells", label * study.seeds + seed + 1, len(names) * study.seeds)
        rows.append(Row(name, {IMAGE: over_seeds(cells)}, {IMAGE: None}))
    mean = mean_of([row.ours[IMAGE] for row in rows])
    rows.append(Row(f"mean of {len(rows)}", {IMAGE: mean}, {IMAGE: paper.CIFAR10_MEAN if len(names) == 10 else None}))
    title = f"Table 5: one-class novelty ({study.chosen_backbone}, {how(study)})"
    counts = f"{len(novelty.classes.train.labels)} training and {len(novelty.classes.test.labels)} test pictures"
    notes = (f"{counts}; CIFAR-10 has 50000 and 10000. The paper's input size is not known to us",)
    return Outcome("table5", title, (IMAGE,), tuple(rows), notes)


def _known(figures: dict[str, Any]) -> float | None:
    known: float | None = figures["image"]
    return known
