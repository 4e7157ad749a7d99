"""A bundle against labelled pictures: every one of them scored by the very engine that runs on the line."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from model import anomaly_map
from model.bundle import Bundle
from model.calibration import Calibration
from model.dataset import TestPicture, read_image, read_mask
from model.engine import Engine, Inspection
from model.errors import DataError
from model.metrics import auroc


@dataclass(frozen=True)
class Evaluation:
    """What came of it.

    Attributes:
        scores: by path relative to the data's root.
        image_auroc: None without both good and bad pictures.
        pixel_auroc: pooled over all pixels of all pictures, in each picture's own resolution; a good picture counts as
            normal everywhere, a defective one without a mask is left out; None without any mask.
        false_reject_rate: share of the good ones above the bundle's threshold; None without good ones.
        miss_rate: share of the bad ones at or below it; None without bad ones.
        good: pictures without a defect.
        bad: pictures with one.
        skipped: what could not be judged, a sentence each.
    """

    scores: dict[str, float]
    image_auroc: float | None
    pixel_auroc: float | None
    false_reject_rate: float | None
    miss_rate: float | None
    good: int
    bad: int
    skipped: list[str]


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
    engine = Engine.of(bundle, device=device)
    judged: list[tuple[TestPicture, Inspection]] = []
    labels, maps, skipped = [], [], []
    for done, picture in enumerate(pictures):
        try:
            image = read_image(picture.path)
            bundle.manifest.contract.check(image)
            inspection = engine.inspect([image])[0]
            judged.append((picture, inspection))
            if picture.mask is not None or not picture.defective:
                label = _mask(picture, image.shape[0], image.shape[1])
                labels.append(label.ravel())
                maps.append(_frame_map(inspection, label.shape[0], label.shape[1]).ravel())
        except DataError as error:
            skipped.append(f"{picture.path}: {error}" if str(picture.path) not in str(error) else str(error))
        progress("pictures", done + 1, len(pictures))
    if not judged:
        raise DataError(f"not one picture in {root} could be judged; the first: {skipped[0]}")
    scores = np.array([inspection.score for _, inspection in judged])
    bad = np.array([picture.defective for picture, _ in judged])
    return Evaluation(
        scores={picture.path.relative_to(root).as_posix(): inspection.score for picture, inspection in judged},
        image_auroc=auroc(bad, scores),
        pixel_auroc=auroc(np.concatenate(labels), np.concatenate(maps)) if labels else None,
        false_reject_rate=_share_failing(scores[~bad], bundle.manifest.calibration),
        miss_rate=None if not bad.any() else 1 - (_share_failing(scores[bad], bundle.manifest.calibration) or 0.0),
        good=int((~bad).sum()),
        bad=int(bad.sum()),
        skipped=skipped,
    )


def _mask(picture: TestPicture, height: int, width: int) -> NDArray[np.bool_]:
    if picture.mask is None:
        return np.zeros((height, width), np.bool_)
    mask = read_mask(picture.mask)
    if mask.shape != (height, width):
        raise DataError(f"{picture.mask} is {mask.shape[1]} x {mask.shape[0]} pixels, its picture {width} x {height}")
    return mask


def _frame_map(inspection: Inspection, height: int, width: int) -> anomaly_map.Grid:
    smooth = anomaly_map.smooth(inspection.grid, inspection.size)
    return anomaly_map.place(smooth, box=inspection.box, height=height, width=width)


def _share_failing(scores: NDArray[np.float64], calibration: Calibration) -> float | None:
    return float(np.mean([not calibration.passes(score) for score in scores])) if len(scores) else None
