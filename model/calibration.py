"""From the scores of held-out good pictures to a threshold with a stated false-reject rate.

Split-conformal: Vovk, Gammerman and Shafer, "Algorithmic Learning in a Random World" (2005); the spread over
calibration sets is Beta(n + 1 - k, k), Vovk, "Conditional validity of inductive conformal predictors" (2012).
"""

import math
from collections.abc import Sequence

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from model.errors import DataError

KEPT_SCORES = 1000
"""Scores that a bundle keeps at most: enough to notice later that the line's have moved."""


class Calibration(BaseModel):
    """A threshold and what it promises.

    Attributes:
        threshold: a picture passes if its score is at or below it.
        median: of the calibration scores; severity 0.
        low: smallest calibration score.
        high: largest calibration score.
        images: n, the number of held-out good pictures.
        rank: k, the threshold is the k-th smallest score.
        false_reject_rate: a, the largest chance of rejecting the next exchangeable good part, on average over
            calibration sets.
        false_reject_upper_95: with 95 % confidence this very set's rate is below it.
        scores: of the held-out pictures, ascending, `KEPT_SCORES` at most; empty in bundles that were made before they
            were kept.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    threshold: float
    median: float
    low: float
    high: float
    images: int
    rank: int
    false_reject_rate: float
    false_reject_upper_95: float
    scores: tuple[float, ...] = Field(default=(), max_length=KEPT_SCORES)

    @field_validator("scores")
    @classmethod
    def _ascending(cls, scores: tuple[float, ...]) -> tuple[float, ...]:
        if list(scores) != sorted(scores):
            raise ValueError("the calibration scores must ascend")
        return scores

    @model_validator(mode="after")
    def _threshold_above_median(self) -> "Calibration":
        if self.threshold <= self.median:
            raise ValueError(f"threshold {self.threshold} is not above the median good score {self.median}")
        return self

    def promise(self) -> str:
        """What the threshold is worth, for people."""
        return (
            f"threshold from {self.images} held out; on average at most {self.false_reject_rate:.1%} of good parts "
            f"fail (this very threshold: below {self.false_reject_upper_95:.1%} with 95 % confidence)"
        )

    def passes(self, score: float) -> bool:
        """True if and only if the score is finite and at or below the threshold. NaN fails."""
        return math.isfinite(score) and score <= self.threshold

    def severity(self, score: float) -> float:
        """0 at the median good score, 1 at the threshold, above 1 for a reject."""
        return (score - self.median) / (self.threshold - self.median)


def rate_and_rank(n: int, false_reject_rate: float | None) -> tuple[float, int]:
    """The false-reject rate a, by default the larger of 1 % and 1 / (n + 1), and the rank k = ceil((n + 1)(1 - a)).

    Raises:
        DataError: fewer than two held-out pictures, a rate that is none, or one that n pictures can't promise.
    """
    if n < 2:
        raise DataError(f"a threshold needs at least two held-out good pictures, there are {n}")
    smallest = 1 / (n + 1)
    rate = max(0.01, smallest) if false_reject_rate is None else false_reject_rate
    if not 0 < rate < 1:
        raise DataError(f"a false-reject rate lies between 0 and 1, not at {rate:g}")
    rank = math.ceil(round((n + 1) * (1 - rate), 9))  # rounded: (n + 1)(1 - 1 / (n + 1)) must be n, not n + 1e-16
    if not 1 <= rank <= n:
        raise DataError(
            f"a false-reject rate of {rate:g} can't be promised from {n} held-out good pictures: "
            f"the smallest possible is {smallest:.4g}"
        )
    return rate, rank


def calibrate(scores: Sequence[float], *, rejected: int = 0, false_reject_rate: float | None = None) -> Calibration:
    """Threshold = k-th smallest score, k = ceil((n + 1)(1 - a)).

    Args:
        scores: of good pictures that were used for nothing else.
        rejected: how many more there were that fail whatever the threshold; n counts them too.
        false_reject_rate: a, in (0, 1); by default the larger of 1 % and 1 / (n + 1).

    Raises:
        DataError: n is too small for the rate, too many are rejected anyway, a score is not finite, or the scores are
            all alike.
    """
    from scipy.special import betaincinv  # a worker reads calibrations and makes none: it starts sooner without

    n = len(scores) + rejected
    rate, rank = rate_and_rank(n, false_reject_rate)
    if not np.isfinite(scores).all():
        raise DataError("a held-out good picture has a score that is not finite")
    if rank > len(scores):
        raise DataError(f"a false-reject rate of {rate:g} can't be: {rejected} of {n} good pictures fail anyway")
    ordered = sorted(scores)
    threshold, median = float(ordered[rank - 1]), float(np.median(ordered))
    if threshold <= median:
        why = f"the {n} scores are all alike" if ordered[0] == ordered[-1] else f"at a rate of {rate:g} it can't be"
        raise DataError(f"threshold {threshold:g} is not above the median good score: {why}")
    return Calibration(
        threshold=threshold,
        median=median,
        low=float(ordered[0]),
        high=float(ordered[-1]),
        images=n,
        rank=rank,
        false_reject_rate=rate,
        false_reject_upper_95=float(betaincinv(n + 1 - rank, rank, 0.95)),
        scores=tuple(sorted(_thinned(scores))),
    )


def _thinned(scores: Sequence[float]) -> list[float]:
    """`KEPT_SCORES` of them at most, picked by their place alone: what is kept is as exchangeable as all of them."""
    step = max(1.0, len(scores) / KEPT_SCORES)
    return [float(scores[int(place * step)]) for place in range(min(len(scores), KEPT_SCORES))]
