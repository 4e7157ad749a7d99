"""A bundle against labelled pictures: every one of them scored by the very engine that runs on the line.

Pixels are compared in each picture's own resolution, over the whole frame: maps are smoothed and enlarged
(`anomaly_map`), masks are never resized and count as defective above half of their grey range (`read_mask`). What a
crop never saw has the map's lowest score.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from model import anomaly_map, metrics
from model.anomaly_map import Grid
from model.bundle import Bundle
from model.dataset import TestPicture, display_name, read_image, read_mask
from model.engine import Engine, Inspection
from model.errors import DataError
from model.metrics import Rate

CURVE_POINTS = 500


@dataclass(frozen=True)
class Judged:
    """One picture and what the bundle says of it.

    Attributes:
        name: its path below the data's root.
        picture: labelled.
        inspection: what the network says.
        passed: against the bundle's threshold, and its contract on how pictures look.
    """

    name: str
    picture: TestPicture
    inspection: Inspection = field(compare=False)
    passed: bool

    @property
    def score(self) -> float:
        """Its anomaly score."""
        return self.inspection.score


@dataclass(frozen=True)
class Evaluation:
    """What came of it. A figure is None where it is not defined: without both kinds, or with scores that aren't finite.

    Attributes:
        pictures: that were judged.
        image_auroc: of the scores.
        average_precision: of the scores.
        f1_max: the best F1 of any threshold: what a threshold chosen on these very pictures could reach at most.
        pixel_auroc: pooled over all pixels; a good picture counts as normal everywhere, a defective one without a mask
            is left out.
        pixel_auroc_by_type: by type of defect, each with all good pictures.
        aupro: integrated to a false-positive rate of 0.3.
        false_reject: good pictures that fail at the bundle's threshold.
        miss: bad ones that pass.
        skipped: what could not be judged, a sentence each.
        pro: points of the PRO curve, for drawing.
    """

    pictures: tuple[Judged, ...]
    image_auroc: float | None
    average_precision: float | None
    f1_max: float | None
    pixel_auroc: float | None
    pixel_auroc_by_type: dict[str, float]
    aupro: float | None
    false_reject: Rate
    miss: Rate
    skipped: tuple[str, ...]
    pro: tuple[NDArray[np.float64], NDArray[np.float64]] | None = field(compare=False, repr=False)

    @property
    def scores(self) -> dict[str, float]:
        """By name."""
        return {judged.name: judged.score for judged in self.pictures}

    @property
    def labels(self) -> NDArray[np.bool_]:
        """`(N,)`, true for defective, in the order of `pictures`."""
        return np.array([judged.picture.defective for judged in self.pictures], np.bool_)

    @property
    def pixel_auroc_mean(self) -> float | None:
        """Averaged over types of defect: each counts alike, however large its defects are."""
        areas = list(self.pixel_auroc_by_type.values())
        return float(np.mean(areas)) if areas else None

    def to_json(self) -> dict[str, object]:
        """For machines. Rates come with their 95 % Clopper-Pearson intervals."""
        return {
            "image_auroc": self.image_auroc,
            "pixel_auroc": self.pixel_auroc,
            "pixel_auroc_by_type": self.pixel_auroc_by_type,
            "pixel_auroc_mean": self.pixel_auroc_mean,
            "aupro": self.aupro,
            "average_precision": self.average_precision,
            "f1_max": self.f1_max,
            "false_reject_rate": self.false_reject.value,
            "false_reject_interval": [self.false_reject.low, self.false_reject.high],
            "miss_rate": self.miss.value,
            "miss_interval": [self.miss.low, self.miss.high],
            "good": self.false_reject.trials,
            "bad": self.miss.trials,
            "skipped": list(self.skipped),
            "scores": self.scores,
        }


def evaluate(
    bundle: Bundle,
    root: Path,
    pictures: Sequence[TestPicture],
    *,
    device: str = "auto",
    progress: Callable[[str, int, int], None] = lambda what, done, total: None,
) -> Evaluation:
    """Scores every picture and sums up.

    Args:
        bundle: to judge with.
        root: of the data, for the names of the pictures.
        pictures: labelled.
        device: `auto`, `cpu` or `cuda`.
        progress: told what is going on.

    Raises:
        DataError: not one picture could be judged.
    """
    contract, calibration = bundle.manifest.contract, bundle.manifest.calibration
    engine = Engine.of(bundle, device=device)
    judged: list[Judged] = []
    pixels = Pixels()
    skipped = []
    for done, picture in enumerate(pictures):
        try:
            image = read_image(picture.path)
            contract.check_format(image)
            inspection = engine.inspect([image])[0]
            passed = calibration.passes(inspection.score) and contract.appearance_fault(image) is None
            judged.append(Judged(display_name(picture.path, root), picture, inspection, passed))
            pixels.add(picture, inspection, height=image.shape[0], width=image.shape[1])
        except DataError as error:
            skipped.append(f"{picture.path}: {error}" if str(picture.path) not in str(error) else str(error))
        progress("pictures", done + 1, len(pictures))
    if not judged:
        raise DataError(f"not one picture in {root} could be judged; the first: {skipped[0]}")
    return _summary(judged, pixels, skipped)


@dataclass
class Pixels:
    """Masks and smooth maps of the pictures whose pixels are labelled, each in its picture's own resolution."""

    masks: list[NDArray[np.bool_]] = field(default_factory=list)
    maps: list[Grid] = field(default_factory=list)
    kinds: list[str] = field(default_factory=list)

    def add(self, picture: TestPicture, inspection: Inspection, *, height: int, width: int) -> None:
        """Adds one picture; a defective one without a mask says nothing of its pixels.

        Raises:
            DataError: the mask can't be read, or is not of the picture's size.
        """
        if picture.mask is None and picture.defective:
            return
        mask = np.zeros((height, width), np.bool_) if picture.mask is None else read_mask(picture.mask)
        if mask.shape != (height, width):
            raise DataError(
                f"{picture.mask} is {mask.shape[1]} x {mask.shape[0]} pixels, its picture {width} x {height}"
            )
        smooth = anomaly_map.smooth(inspection.grid, inspection.size)
        self.masks.append(mask)
        self.maps.append(anomaly_map.place(smooth, box=inspection.box, height=height, width=width))
        self.kinds.append(picture.kind)


def _summary(judged: Sequence[Judged], pixels: Pixels, skipped: Sequence[str]) -> Evaluation:
    labels = np.array([one.picture.defective for one in judged], np.bool_)
    scores = np.array([one.score for one in judged], np.float64)
    best = metrics.f1_max(labels, scores)
    failed = [not one.passed for one in judged if not one.picture.defective]
    missed = [one.passed for one in judged if one.picture.defective]
    return Evaluation(
        pictures=tuple(judged),
        image_auroc=metrics.auroc(labels, scores),
        average_precision=metrics.average_precision(labels, scores),
        f1_max=best[0] if best else None,
        pixel_auroc=metrics.pixel_auroc(pixels.masks, pixels.maps),
        pixel_auroc_by_type=metrics.pixel_auroc_by_kind(pixels.masks, pixels.maps, pixels.kinds),
        aupro=metrics.aupro(pixels.masks, pixels.maps),
        false_reject=Rate(sum(failed), len(failed)),
        miss=Rate(sum(missed), len(missed)),
        skipped=tuple(skipped),
        pro=metrics.pro_curve(pixels.masks, pixels.maps, points=CURVE_POINTS),
    )
