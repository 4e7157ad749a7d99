"""How well a bundle tells good from bad, on labelled pictures: whole pictures first, then their pixels.

Every figure is exact: each distinct score is a threshold, and what has the same score changes sides together.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.special import betaincinv
from sklearn.metrics import average_precision_score, roc_auc_score

from model.errors import DataError

Masks = Sequence[NDArray[np.bool_]]
"""One a picture, `(H, W)`, true on a defect; sizes may vary."""
Maps = Sequence[NDArray[np.floating]]
"""One a picture, `(H, W)` like its mask, higher is more anomalous."""


def auroc(labels: NDArray[np.bool_], scores: NDArray[np.floating]) -> float | None:
    """Area under the ROC curve; None unless both labels occur and every score is finite.

    Args:
        labels: `(N,)`, true for anomalous.
        scores: `(N,)`, higher is more anomalous.
    """
    return float(roc_auc_score(labels, scores)) if _comparable(labels, scores) else None


def average_precision(labels: NDArray[np.bool_], scores: NDArray[np.floating]) -> float | None:
    """Precision, averaged over the steps of recall without interpolation; takes and refuses what `auroc` does."""
    return float(average_precision_score(labels, scores)) if _comparable(labels, scores) else None


def f1_max(labels: NDArray[np.bool_], scores: NDArray[np.floating]) -> tuple[float, float] | None:
    """The best F1 that any threshold reaches, and that threshold; takes and refuses what `auroc` does.

    As on the line, a picture fails above the threshold. It is one of the scores, or `-inf` where failing every picture
    is best; of equally good ones it is the lowest, which misses least.
    """
    if not _comparable(labels, scores):
        return None
    thresholds = _thresholds(scores)
    caught, rejected = _failing(scores[labels], thresholds), _failing(scores[~labels], thresholds)
    f1 = 2 * caught / (caught + rejected + labels.sum())
    best = int(f1.argmax())
    return float(f1[best]), float(thresholds[best])


def error_curve(
    bad: NDArray[np.bool_], scores: NDArray[np.floating]
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Thresholds, the share of good pictures that each rejects, and the share of bad ones that it misses.

    A picture fails if and only if its score is above the threshold or not finite, as `Calibration.passes` has it.
    Between two thresholds the rates are those of the lower one.

    Args:
        bad: `(N,)`, true for anomalous.
        scores: `(N,)`, higher is more anomalous.

    Returns:
        Three times `(K,)`. Thresholds ascend: `-inf`, at which every picture fails, then each distinct finite score.
        The rates are in 0..1; NaN where there is no good, or no bad, picture.
    """
    thresholds = _thresholds(scores)
    good, defective = scores[~bad], scores[bad]
    with np.errstate(invalid="ignore"):  # 0 / 0, the rate of no pictures, shall be NaN
        false_reject = _failing(good, thresholds) / np.float64(good.size)
        miss = (defective.size - _failing(defective, thresholds)) / np.float64(defective.size)
    return thresholds, false_reject, miss


def clopper_pearson(failures: int, trials: int, *, confidence: float = 0.95) -> tuple[float, float]:
    """Exact two-sided interval of a rate (Clopper and Pearson, "The use of confidence or fiducial limits", 1934).

    Args:
        failures: in 0..`trials`.
        trials: independent of each other. None at all say nothing: the interval is then 0 to 1.
        confidence: in 0..1, the least chance that such an interval covers the true rate.

    Raises:
        ValueError: `failures` or `confidence` is out of range.
    """
    if not (0 <= failures <= trials and 0 <= confidence <= 1):
        raise ValueError(
            f"failures must lie in 0 to {trials} and confidence in 0 to 1, not at {failures} and {confidence:g}"
        )
    tail = (1 - confidence) / 2
    low = 0.0 if failures == 0 else betaincinv(failures, trials - failures + 1, tail)
    high = 1.0 if failures == trials else betaincinv(failures + 1, trials - failures, 1 - tail)
    return float(low), float(high)


@dataclass(frozen=True)
class Rate:
    """A share that was counted, and how far from it the true one may be.

    Attributes:
        failures: what was counted, in 0..`trials`.
        trials: how many there could have been.
    """

    failures: int
    trials: int

    @property
    def value(self) -> float | None:
        """In 0..1; None without trials."""
        return self.failures / self.trials if self.trials else None

    @property
    def low(self) -> float:
        """Lower end of the 95 % Clopper-Pearson interval; 0 without trials."""
        return clopper_pearson(self.failures, self.trials)[0]

    @property
    def high(self) -> float:
        """Upper end of the 95 % Clopper-Pearson interval; 1 without trials."""
        return clopper_pearson(self.failures, self.trials)[1]


def pixel_auroc(masks: Masks, maps: Maps) -> float | None:
    """Area under the ROC curve over the pixels of all pictures together.

    Counted from ranks (Mann and Whitney, 1947): of all pairs of a defect pixel and a normal one, the share in which the
    defect scores higher, ties as half. None if either sort is missing or a score is not finite.

    Raises:
        DataError: maps and masks differ in number or size.
    """
    if (pooled := _pooled(masks, maps)) is None:
        return None
    normal, defect = pooled
    levels, pixels = np.unique(defect, return_counts=True)
    below, up_to = np.searchsorted(normal, levels, "left"), np.searchsorted(normal, levels, "right")
    return int((below + up_to) @ pixels) / (2 * normal.size * defect.size)


def pixel_auroc_by_kind(masks: Masks, maps: Maps, kinds: Sequence[str]) -> dict[str, float]:
    """`pixel_auroc` of each kind of defect, over its pictures and all whose kind is `good`; kinds come sorted.

    A kind for which it is None is left out, so also one whose masks are all empty.

    Raises:
        DataError: a map has not the size of its mask.
        ValueError: masks, maps and kinds differ in number.
    """
    pictures = list(zip(kinds, masks, maps, strict=True))
    areas: dict[str, float] = {}
    for kind in sorted(set(kinds) - {"good"}):
        chosen = [(mask, scores) for other, mask, scores in pictures if other in (kind, "good")]
        if (area := pixel_auroc([mask for mask, _ in chosen], [scores for _, scores in chosen])) is not None:
            areas[kind] = area
    return areas


def aupro(masks: Masks, maps: Maps, *, limit: float = 0.3) -> float | None:
    """Area under `pro_curve` up to a false-positive rate of `limit`, in (0, 1], divided by it: 1 is perfect.

    The curve is straight between its points, also where the limit cuts it. None where `pro_curve` is None.

    Raises:
        DataError: the limit is out of range, or maps and masks differ in number or size.
    """
    if not 0 < limit <= 1:
        raise DataError(f"the limit of the false-positive rate must be above 0 and at most 1, not {limit:g}")
    if (curve := pro_curve(masks, maps)) is None:
        return None
    fpr, pro = curve
    within = np.searchsorted(fpr, limit, "right")
    x, y = np.append(fpr[:within], limit), np.append(pro[:within], np.interp(limit, fpr, pro))
    return float(np.sum(np.diff(x) * (y[1:] + y[:-1]))) / 2 / limit


def pro_curve(
    masks: Masks, maps: Maps, *, points: int | None = None
) -> tuple[NDArray[np.float64], NDArray[np.float64]] | None:
    """Per-region overlap against false-positive rate (Bergmann et al., "The MVTec Anomaly Detection Dataset", 2021).

    At a threshold, the rate is the share of all normal pixels that score at or above it; the overlap is the share of a
    region's pixels that do, averaged over the regions of all pictures. A region is a connected component of a mask
    (8 neighbours). None without a region or a normal pixel, or if a score is not finite.

    Args:
        masks: of the pictures; an empty one counts for its normal pixels alone.
        maps: of the pictures.
        points: at least 2, for drawing only: keeps at most so many, evenly spread along the curve. By default every
            corner is there; thresholds that only normal pixels reach lie on the flat pieces between them.

    Returns:
        Rates and overlaps, `(K,)` each, ascending from (0, 0) to (1, 1); points may repeat.

    Raises:
        DataError: maps and masks differ in number or size.
    """
    if (pooled := _pooled(masks, maps)) is None:
        return None
    normal, defect = pooled
    levels, level_of_pixel = np.unique(-defect, return_inverse=True)  # negative: the highest score comes first
    overlap = np.cumsum(np.bincount(level_of_pixel, weights=_shares(masks)))
    above, at_or_above = (normal.size - np.searchsorted(normal, -levels, side) for side in ("right", "left"))
    # Down to the next level normal pixels enter alone, a flat piece; then all pixels of that level at once, a slope.
    fpr = np.concatenate(([0], np.column_stack((above, at_or_above)).ravel(), [normal.size])) / normal.size
    pro = np.repeat(np.concatenate(([0], overlap)), 2) / overlap[-1]
    if points is None:
        return fpr, pro
    kept = np.unique(np.searchsorted(fpr + pro, np.linspace(0, 2, points)))  # neither falls: the sum goes from 0 to 2
    return fpr[kept], pro[kept]


def _pooled(masks: Masks, maps: Maps) -> tuple[NDArray[np.floating], NDArray[np.floating]] | None:
    """Scores of all normal pixels, sorted, for there are many, and of all defect pixels, in the order they come in."""
    if [mask.shape for mask in masks] != [scores.shape for scores in maps]:
        raise DataError("maps and masks differ in number or size")
    if all(mask.all() for mask in masks) or not any(mask.any() for mask in masks):
        return None
    if not all(np.isfinite(scores).all() for scores in maps):
        return None
    normal = np.concatenate([scores[~mask] for mask, scores in zip(masks, maps, strict=True)])
    normal.sort()
    return normal, np.concatenate([scores[mask] for mask, scores in zip(masks, maps, strict=True)])


def _shares(masks: Masks) -> NDArray[np.float64]:
    """What part of its region each defect pixel is, in the order of `_pooled`."""
    shares = []
    for mask in filter(np.any, masks):
        _, regions = cv2.connectedComponents(mask.astype(np.uint8), connectivity=8)
        shares.append(1 / np.bincount(regions.ravel())[regions[mask]])
    return np.concatenate(shares)


def _comparable(labels: NDArray[np.bool_], scores: NDArray[np.floating]) -> bool:
    return bool(labels.any() and not labels.all() and np.isfinite(scores).all())


def _thresholds(scores: NDArray[np.floating]) -> NDArray[np.float64]:
    return np.concatenate(([-np.inf], np.unique(scores[np.isfinite(scores)])))


def _failing(scores: NDArray[np.floating], thresholds: NDArray[np.float64]) -> NDArray[np.intp]:
    """How many scores are above each threshold; one that is not finite is above them all."""
    ordered = np.sort(np.where(np.isfinite(scores), scores, np.inf))
    return ordered.size - np.searchsorted(ordered, thresholds, "right")
