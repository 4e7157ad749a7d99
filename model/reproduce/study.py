"""How a table is made again: the recipe, the backbone and its weights, the data, and what identifies them."""

import hashlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, get_args

from model.bundle import Architecture
from model.errors import DataError
from model.features import CACHE_BYTES, Progress
from model.plan import PAPER_BACKBONE, Plan
from model.preprocessing import Preprocessing
from model.settings import TrainSettings

Recipe = Literal["paper", "ours"]
NAMED_WEIGHTS = ("imagenet", "own", "random")
OUR_BACKBONE, OUR_SIZE = "resnet18", 224


@dataclass(frozen=True)
class Study:
    """What all cells of a table share.

    Every good picture trains, as in the paper: AUROC needs no threshold, so nothing is held out.

    Attributes:
        data: see the table.
        recipe: `paper` (section 4.3 to the letter) or `ours` (what `sightline train` does without flags).
        backbone: by default the recipe's own.
        weights: `imagenet`, `random`, a file, or a folder with a file for each backbone, `resnet18*.pth` and so on.
        seeds: how often each cell is trained.
        steps: optimiser steps; by default as the recipe has it.
        size: side of the network's input in pixels, with the recipe `ours` alone.
        device: `auto`, `cpu` or `cuda`.
        cache_bytes: features beyond this lie in a file in `out`.
        out: folder of results.
        progress: told what is going on.
        tell: told what a person should know, a sentence each.

    Raises:
        DataError: an unknown recipe, or `size` beside the recipe `paper`.
    """

    data: Path
    out: Path
    recipe: str = "paper"
    backbone: str | None = None
    weights: str = "imagenet"
    seeds: int = 1
    steps: int | None = None
    size: int | None = None
    device: str = "auto"
    cache_bytes: int = CACHE_BYTES
    progress: Progress = field(default=lambda what, done, total: None, compare=False)
    tell: Callable[[str], None] = field(default=lambda sentence: None, compare=False)

    def __post_init__(self) -> None:
        if self.recipe not in get_args(Recipe):
            raise DataError(f"unknown recipe {self.recipe!r}: choose paper or ours")
        if self.recipe == "paper" and self.size is not None:
            raise DataError("--size and --recipe paper contradict each other: the paper fixes it")

    @property
    def chosen_backbone(self) -> str:
        """The backbone of every table but the one that compares them."""
        return self.backbone or (PAPER_BACKBONE if self.recipe == "paper" else OUR_BACKBONE)


@dataclass(frozen=True)
class Variant:
    """One row of a table: what it changes in the recipe.

    Attributes:
        label: of the row.
        architecture: fields of `Architecture`.
        settings: fields of `TrainSettings`.
        sigma_times: factor on the recipe's anomaly noise.
    """

    label: str
    architecture: Mapping[str, Any] = field(default_factory=dict)
    settings: Mapping[str, Any] = field(default_factory=dict)
    sigma_times: float = 1.0


@dataclass(frozen=True)
class Training:
    """One cell's training, decided before a picture is read.

    Attributes:
        architecture: the network.
        preprocessing: from picture to input.
        settings: the recipe; sigma may still wait for the features.
        sigma_times: factor on it.
    """

    architecture: Architecture
    preprocessing: Preprocessing
    settings: TrainSettings
    sigma_times: float

    def resolved(self, spread: float) -> TrainSettings:
        """With sigma as a number, for features of this spread."""
        settings = self.settings.resolved(spread)
        return replace(settings, sigma=(settings.sigma or 0.0) * self.sigma_times)

    def identity(self) -> dict[str, Any]:
        """For `Store`: whatever changes here makes another cell. The weights are named by what they hold."""
        return {
            "architecture": self.architecture.model_dump(mode="json"),
            "preprocessing": self.preprocessing.model_dump(mode="json"),
            "training": {**asdict(self.settings), "weights": weights_identity(self.settings.weights)},
            "sigma_at_spread_one": self.resolved(1.0).sigma,
        }


def training_of(study: Study, variant: Variant, *, pictures: int, seed: int) -> Training:
    """What a cell trains.

    Args:
        study: the recipe.
        variant: what differs from it.
        pictures: good ones that train.
        seed: of this cell.

    Raises:
        DataError: weights that are not there, or values that a network can't have.
    """
    backbone = variant.architecture.get("backbone", study.chosen_backbone)
    flags = {"backbone": backbone, "weights": weights_for(backbone, study.weights), "seed": seed}
    if study.recipe == "ours":
        flags |= {"size": str(study.size or OUR_SIZE)}
    plan = Plan.of(flags, preset="paper" if study.recipe == "paper" else None)
    settings = plan.settings_for(pictures, 0)
    steps = settings.steps if study.steps is None else study.steps
    return Training(
        architecture=Architecture.model_validate({**plan.architecture.model_dump(), **variant.architecture}),
        preprocessing=plan.preprocessing,
        settings=replace(settings, steps=steps, **variant.settings),
        sigma_times=variant.sigma_times,
    )


def weights_for(backbone: str, weights: str) -> str:
    """The weights of one backbone, as `build_backbone` takes them.

    Args:
        backbone: its name.
        weights: a name, a file, or a folder in which a file's name begins with the backbone's.

    Raises:
        DataError: there is no such file, or none of this backbone in the folder.
    """
    folder = Path(weights)
    if weights in NAMED_WEIGHTS or folder.is_file():
        return weights
    if not folder.is_dir():
        raise DataError(f"no weights file at {weights}")
    found = sorted(path for path in folder.glob(f"{backbone}*") if path.suffix in (".pth", ".safetensors"))
    if not found:
        raise DataError(f"{folder} holds no weights of {backbone}: expected {backbone}*.pth or .safetensors")
    return str(found[0])


def weights_identity(weights: str) -> str:
    """A name as it is, a file by its content, wherever it lies.

    Raises:
        DataError: there is no such file.
    """
    if weights in NAMED_WEIGHTS:
        return weights
    try:
        with Path(weights).open("rb") as file:
            return f"sha256:{hashlib.file_digest(file, 'sha256').hexdigest()}"
    except OSError as error:
        raise DataError(f"weights file {weights} can't be read: {error.strerror}") from error


def data_identity(folder: Path, parts: Iterable[str] = ("train", "test", "ground_truth")) -> str:
    """Data by the names and sizes of its files; cheap, and blind to a change that keeps both.

    Args:
        folder: of the data.
        parts: files and folders in it that count; results may lie beside them.
    """
    digest = hashlib.sha256()
    below = [path for part in parts for path in (folder / part, *(folder / part).rglob("*"))]
    for path in sorted(path for path in below if path.is_file()):
        digest.update(f"{path.relative_to(folder).as_posix()} {path.stat().st_size}\n".encode())
    return digest.hexdigest()[:16]
