"""Drift: have the scores of a camera's parts moved away from those that set the threshold? Pure, no clock.

Bets are made that too many scores lie beyond the calibration quantiles. If nothing has moved they are losing ones at
best, and the chance that they ever win a hundredfold is small, however long one looks.
"""

import math
from bisect import bisect_left
from collections.abc import Sequence

from scipy.stats import beta

RATE = 0.01
"""Chance of ever warning while nothing has moved: half for a calibration set that happens to be untypical, half for
the bets (Ville's inequality)."""
WARN_AT = 2 / RATE
LEVELS = (0.5, 0.75, 0.9)
"""Quantiles beyond which scores are counted; for scores that fall, from the other end."""
STAKES = (0.25, 0.75)
"""Shares that are bet: the small one wins on small movements, the large one sooner on large ones."""
DEFECTS = 0.2
"""Share of rejected parts that is no drift."""
REJECTED = 1.03
"""By which a rejected part multiplies at most: hundreds in a row are a drift, dozens are a bad lot."""
CALM_FRAMES = 500
"""With no more than the first stake for so many frames, a warning is over."""
RECENT_FRAMES = 20


class DriftWatch:
    """Compares one camera's scores for one recipe with the calibration scores, frame by frame.

    What is promised: if the good parts' scores are independent draws from the distribution that the calibration
    pictures came from, and at each frame the chance of a defect, which is then rejected, is at most `DEFECTS`, then the
    chance that it ever warns is at most `RATE`, however many frames it sees. After a warning that is over it begins
    anew, with the same promise. What is not: parts that resemble their neighbours more than calibration pictures
    resemble each other (the same part again and again, a lot of its own) are no independent draws. A difference that
    was there from the first frame counts as drift, too: the threshold does not fit it.

    How: of n calibration scores, the share of future scores beyond the k-th is Beta(n + 1 - k, k), which is bounded
    with confidence. From the quantile to this bound is a dead zone: what n pictures cannot tell is no drift. Betting
    that more lie beyond than the bound says is a game that nobody wins on average (a test supermartingale; Shafer,
    "Testing by betting", 2021). A movement may begin at any frame, so the stake is spread over all of them:
    1 / (t (t + 1)) for the t-th.

    All judged parts count. A rejected one counts for little, because defects are no drift; but for something, because a
    line on which everything fails has moved.

    Args:
        scores: of calibration; at least one.

    Attributes:
        warning: whether they have moved.
        recent: severity of late.
    """

    def __init__(self, scores: Sequence[float]) -> None:
        self.warning, self.recent = False, 0.0
        self._scores = scores
        self._begin()

    def _begin(self) -> None:
        self._rising, self._falling = _Bets(self._scores), _Bets([-score for score in self._scores])
        self._frames = self._calm = 0

    @property
    def evidence(self) -> float:
        """What has become of the whole stake, as a power of ten: 0 at the start. Any thread."""
        return math.log10(self._worth())

    @property
    def risen(self) -> bool:
        """Whether it is higher scores that speak for a movement, not lower ones."""
        return self._rising.worth > self._falling.worth

    def add(self, score: float, *, passed: bool, severity: float) -> bool:
        """Takes in one judged frame. Returns whether `warning` has changed.

        Args:
            score: finite.
            passed: whether it is at or below the threshold.
            severity: of that score.
        """
        self.recent += (min(max(severity, -2.0), 2.0) - self.recent) / RECENT_FRAMES
        self._frames += 1
        stake = 1 / (self._frames * (self._frames + 1))
        self._rising.add(score, stake, passed=passed)
        self._falling.add(-score, stake, passed=passed)
        return self._decide(self._worth())

    def _worth(self) -> float:
        return (self._rising.worth + self._falling.worth) / 2 + 1 / (self._frames + 1)  # won, and not yet at stake

    def _decide(self, worth: float) -> bool:
        self._calm = self._calm + 1 if worth < 1 else 0
        if self.warning and self._calm >= CALM_FRAMES:
            self.warning = False
            self._begin()
            return True
        if not self.warning and worth >= WARN_AT:
            self.warning = True
            return True
        return False


class _Bets:
    """Bets that scores rise: one for each quantile and stake, all with the same share.

    Args:
        scores: of calibration.

    Attributes:
        bounds: for each quantile, the share that may lie beyond it.
        factors: by whether the part passed and how many quantiles its score exceeds, what multiplies each bet.
        worth: what they are worth, on average.
    """

    def __init__(self, scores: Sequence[float]) -> None:
        ordered, n = sorted(scores), len(scores)
        ranks = [k for k in (math.ceil(level * (n + 1)) for level in LEVELS) if k <= n] or [n]
        confidence = 1 - RATE / 4 / len(ranks)  # half of the rate, for both directions
        self.bounds = [float(beta.ppf(confidence, n + 1 - k, k)) for k in ranks]
        self._limits = [ordered[k - 1] for k in ranks]
        self.factors = {
            passed: [_factors(self.bounds, beyond, passed=passed) for beyond in range(len(ranks) + 1)]
            for passed in (True, False)
        }
        self._won = [0.0] * len(self.factors[True][0])
        self.worth = 0.0

    def add(self, score: float, stake: float, *, passed: bool) -> None:
        """One frame; `stake` is laid on it and on all that follow."""
        factors = self.factors[passed][bisect_left(self._limits, score)]
        won = [(before + stake) * factor for before, factor in zip(self._won, factors, strict=True)]
        self.worth = sum(won) / len(won)
        if self.worth > 2 * WARN_AT:  # enough: what is won must be lost again soon after all is well
            won = [2 * WARN_AT * part / self.worth for part in won]
            self.worth = 2 * WARN_AT
        self._won = won


def _factors(bounds: Sequence[float], beyond: int, *, passed: bool) -> list[float]:
    """By what a score beyond the first so many quantiles multiplies each bet: 1 on average, at most.

    Args:
        bounds: for each quantile, the share that may lie beyond it.
        beyond: how many quantiles the score exceeds.
        passed: whether its part did.
    """
    lost = 1 - DEFECTS * (REJECTED - 1) / (1 - DEFECTS)  # what rejected parts may win, the others lose
    factors = []
    for place, bound in enumerate(bounds):
        for stake in STAKES:
            won = 1 + stake * (1 / bound - 1)
            factor = lost * (won if place < beyond else 1 - stake)
            factors.append(factor if passed or place >= beyond else min(factor, REJECTED))
    return factors
