"""Drift: have the scores of a camera's parts risen above those that set the threshold? Pure, no clock.

Bets are made that too many scores lie beyond the calibration quantiles. If nothing has moved they are losing ones at
best, and the chance that they ever win a hundredfold is small, however long one looks.
"""

import math
from bisect import bisect_left
from collections.abc import Iterator, Sequence

from scipy.special import betaincinv, ndtr, ndtri

RATE = 0.01
"""Chance of ever warning while nothing has moved: half for a calibration set that happens to be untypical, half for
the bets (Ville's inequality)."""
WARN_AT = 2 / RATE
LEVELS = (0.5, 0.75, 0.9)
"""Quantiles beyond which scores are counted."""
UNIMPORTANT = 0.3
"""A movement that nobody is told of, in standard deviations of good parts' scores, were they normal."""
STAKES = (0.3, 0.9)
"""Shares that are bet: the small one wins on small movements, the large one sooner on large ones."""
DEFECTS = 0.1
"""Share of rejected parts that is no drift."""
REJECTED = 1.2
"""By which a rejected part multiplies at most: sixty in a row are a bad lot, a hundred are a drift."""
PATIENCE_FRAMES = 1000
"""The larger, the less is laid on the first frames and the more on all that come after so many."""
CALM_FRAMES = 500
"""With no more than the first stake for so many frames, a warning is over."""
RECENT_FRAMES = 20


class DriftWatch:
    """Compares one camera's scores for one recipe with the calibration scores, frame by frame.

    What is promised: if the good parts' scores are independent draws from the distribution that the calibration
    pictures came from, or from one that lies higher by `UNIMPORTANT` at most, and at each frame the chance of a defect
    is at most `DEFECTS`, and defects are rejected, then the chance that it ever warns is at most `RATE`, however many
    frames it sees. After a warning that is over it begins anew, with the same promise. What is not: parts that resemble
    their neighbours more than calibration pictures resemble each other (the same part again and again, a lot of its
    own) are no independent draws. A difference that was there from the first frame counts as drift, too: the threshold
    does not fit it.

    How: of n calibration scores, the share of future scores beyond the k-th is Beta(n + 1 - k, k), which is bounded
    with confidence; what n pictures cannot tell is no drift. That bound is raised to what it would be after an
    unimportant movement. Betting that more lie beyond is a game that nobody wins on average (a test supermartingale;
    Shafer, "Testing by betting", 2021). A movement may begin at any frame, so the stake is spread over all of them.

    All judged parts count. A rejected one counts for less, because defects are no drift; but for something, because a
    line on which everything fails has moved. Scores that fall are not watched: where less can be seen, in the dark or
    out of focus, the input contract says so.

    Args:
        scores: of calibration; at least two.

    Attributes:
        warning: whether scores have risen.
        recent: severity of late.
    """

    def __init__(self, scores: Sequence[float]) -> None:
        self.warning, self.recent = False, 0.0
        ordered, n = sorted(scores), len(scores)
        ranks = [k for k in (math.ceil(level * (n + 1)) for level in LEVELS) if k <= n] or [n]
        confidence = 1 - RATE / 2 / len(ranks)
        plausible = [float(betaincinv(n + 1 - k, k, confidence)) for k in ranks]
        self.bounds = [float(ndtr(ndtri(share) + UNIMPORTANT)) for share in plausible]
        self.factors = {
            passed: [list(_factors(self.bounds, beyond, passed=passed)) for beyond in range(len(ranks) + 1)]
            for passed in (True, False)
        }
        self._limits = [ordered[k - 1] for k in ranks]
        self._begin()

    def _begin(self) -> None:
        self._won = [0.0] * len(self.factors[True][0])
        self._frames = self._calm = 0
        self._unspent = self._worth = 1.0

    @property
    def evidence(self) -> float:
        """What has become of the whole stake, as a power of ten: 0 at the start. Any thread."""
        return math.log10(self._worth)

    def add(self, score: float, *, passed: bool, severity: float) -> bool:
        """Takes in one judged frame. Returns whether `warning` has changed.

        Args:
            score: finite.
            passed: whether it is at or below the threshold.
            severity: of that score.
        """
        self.recent += (min(max(severity, -2.0), 2.0) - self.recent) / RECENT_FRAMES
        self._bet(score, self._next_stake(), passed=passed)
        self._calm = self._calm + 1 if self._worth < 1 else 0
        if self.warning and self._calm >= CALM_FRAMES:
            self.warning = False
            self._begin()
            return True
        if not self.warning and self._worth >= WARN_AT:
            self.warning = True
            return True
        return False

    def _next_stake(self) -> float:
        """What is newly laid at this frame. All these together are 1, and late ones are not much smaller."""
        self._frames += 1
        before, self._unspent = self._unspent, math.log(PATIENCE_FRAMES) / math.log(PATIENCE_FRAMES + self._frames)
        return before - self._unspent

    def _bet(self, score: float, stake: float, *, passed: bool) -> None:
        factors = self.factors[passed][bisect_left(self._limits, score)]
        won = [(before + stake) * factor for before, factor in zip(self._won, factors, strict=True)]
        worth = sum(won) / len(won)
        if worth > 2 * WARN_AT:  # enough: what is won must be lost again soon after all is well
            won = [2 * WARN_AT * part / worth for part in won]
            worth = 2 * WARN_AT
        self._won, self._worth = won, worth + self._unspent


def _factors(bounds: Sequence[float], beyond: int, *, passed: bool) -> Iterator[float]:
    """By what a score beyond the first so many quantiles multiplies each bet: 1 on average, at most.

    Args:
        bounds: for each quantile, the share that may lie beyond it.
        beyond: how many quantiles the score exceeds.
        passed: whether its part did.
    """
    lost = 1 - DEFECTS * (REJECTED - 1) / (1 - DEFECTS)  # what defects may win, the others lose
    for place, bound in enumerate(bounds):
        for stake in STAKES:
            factor = lost * (1 + stake * (1 / bound - 1) if place < beyond else 1 - stake)
            yield factor if passed or place >= beyond else min(factor, REJECTED)
