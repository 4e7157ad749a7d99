"""One cell: train a head on features that are extracted once, then score the test pictures from their own."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from model.dataset import TestPicture, good_pictures, test_pictures
from model.errors import DataError
from model.features import extract_features, spread
from model.fitting import HeadTraining, fit
from model.images import Image, read_image
from model.modes import choose_device
from model.reproduce.study import NAMED_WEIGHTS, Study, Training
from model.simplenet import Head, SimpleNet


class Pictures(Sequence[Image]):
    """Pictures that are read when they are asked for; their shapes are kept.

    Attributes:
        shapes: `(H, W, ...)` by place, of those that have been read.
    """

    def __init__(self, paths: Sequence[Path]) -> None:
        self.paths = list(paths)
        self.shapes: dict[int, tuple[int, ...]] = {}

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: Any) -> Any:
        """One picture.

        Raises:
            DataError: it can't be read.
        """
        image = read_image(self.paths[index])
        self.shapes[index] = image.shape
        return image


@dataclass(frozen=True)
class Features:
    """A backbone's features of one category.

    Attributes:
        train: `(N, h * w, C)` of the good pictures.
        test: `(M, h * w, C)` of the labelled ones.
        grid: `(h, w)`.
        labelled: the test pictures, in order.
        shapes: `(H, W, ...)` of the test pictures, in order.
    """

    train: Tensor
    test: Tensor
    grid: tuple[int, int]
    labelled: list[TestPicture]
    shapes: list[tuple[int, ...]]


class Extractor:
    """Features of categories; the last ones are kept, for cells that differ in the head alone."""

    def __init__(self, study: Study) -> None:
        self.study = study
        self._last: tuple[object, Features] | None = None

    def of(self, category: Path, training: Training, network: SimpleNet) -> Features:
        """The features of a category, as this network's extractor sees it.

        Raises:
            DataError: pictures that are missing or can't be read, or features that are not finite.
        """
        key = (category, extraction_key(training))
        if self._last is None or self._last[0] != key:
            self._last = None  # two at once may not fit into memory
            self._last = (key, self._extract(category, training, network))
        return self._last[1]

    def _extract(self, category: Path, training: Training, network: SimpleNet) -> Features:
        labelled = test_pictures(category)
        seen = Pictures([picture.path for picture in labelled])
        train = extract(self.study, training, network, Pictures(good_pictures(category)))
        test = extract(self.study, training, network, seen)
        grid = training.architecture.grid(training.preprocessing.crop)
        return Features(train, test, grid, labelled, [seen.shapes[index] for index in range(len(seen))])


def extraction_key(training: Training) -> tuple[object, ...]:
    """What the features of a picture depend on."""
    architecture, settings = training.architecture, training.settings
    seed = settings.seed if settings.weights == "random" else None
    of_network = (architecture.backbone, architecture.levels, architecture.patch_size)
    return (*of_network, settings.weights, seed, training.preprocessing.model_dump_json())


def extract(study: Study, training: Training, network: SimpleNet, images: Sequence[Image]) -> Tensor:
    """`(N, h * w, C)` float32 features, on the CPU; beyond the study's budget in a file."""
    return extract_features(
        network.extractor,
        training.preprocessing,
        images,
        device=choose_device(study.device),
        progress=study.progress,
        budget_bytes=study.cache_bytes,
        folder=study.out,
    )


def build(training: Training) -> SimpleNet:
    """The network with the head that its seed starts with.

    Raises:
        DataError: weights that can't be had or don't fit.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(training.settings.seed)
        return training.architecture.build(weights=training.settings.weights, seed=training.settings.seed)


def prepare(study: Study, training: Training, network: SimpleNet, features: Tensor) -> HeadTraining:
    """A head about to be trained on `(N, h * w, C)` features."""
    settings = training.resolved(spread(features))
    return HeadTraining(network.head, features, settings, device=choose_device(study.device))


def train_head(
    study: Study, training: Training, network: SimpleNet, features: Tensor, *, checkpoint: Path | None = None
) -> Head:
    """The head that is kept, in evaluation mode on the CPU.

    Args:
        study: device and progress.
        training: recipe.
        network: whose head is trained.
        features: `(N, h * w, C)`.
        checkpoint: file that an interrupted training is taken up from; gone afterwards.

    Raises:
        DataError: training diverged.
    """
    kept = fit(prepare(study, training, network, features), progress=study.progress, checkpoint=checkpoint)
    if checkpoint is not None:
        checkpoint.unlink(missing_ok=True)
    return kept


def percent(share: float | None) -> float | None:
    """0..1 as 0..100."""
    return None if share is None else 100 * share


def categories(data: Path) -> list[Path]:
    """`data` itself if it is in MVTec layout, else those of its folders that are, by name.

    Raises:
        DataError: there is none.
    """
    if (data / "train" / "good").is_dir():
        return [data]
    found = sorted(path.parent.parent for path in data.glob("*/train/good") if path.is_dir()) if data.is_dir() else []
    if not found:
        raise DataError(f"{data} is neither a category in MVTec layout (train/good, test/...) nor a folder of some")
    return found


def weights_exist(training: Training) -> str | None:
    """None if the network can be built, else why not, in a sentence."""
    if training.settings.weights in NAMED_WEIGHTS[1:]:
        return None
    try:
        build(training)
    except DataError as error:
        return str(error)
    return None
