"""What is counted of each verdict, for `/metrics`. The hot path: a few integers, no lock, nothing allocated.

One thread adds, and a scrape reads: it may see a verdict in one number and not yet in the next, never a torn one.
prometheus-client's own histograms search their buckets one by one under a lock: with 46 of them and 7 stages they cost
several times as much (`sightline bench transport` notices).
"""

import time
from bisect import bisect_left
from collections.abc import Callable, Container, Iterable, Sequence
from typing import TypeVar

from worker.sink import Judged
from worker.verdict import Reason, Verdict

STAGES = ("wire", "queue", "prepare", "infer", "judge", "store", "total")
STAGE_BOUNDS_US = tuple(round(500 * 1.25**step) for step in range(46))
"""From 0.5 ms to 11.5 s, each a quarter above the last. A quantile that is read off is wrong by less than such a step
(a 200 ms budget lies between 180 and 225), wherever the budget lies, for 47 series a stage."""
BATCH_BOUNDS = (1, 2, 4, 8, 16, 32, 64, 128, 256)
OTHER = "other"
"""Label for recipes that this worker does not have: what a peer may write freely must not become a series."""

Item = TypeVar("Item")
Result = TypeVar("Result")


class Histogram:
    """How many values lie between bounds. One thread adds.

    Args:
        bounds: upper ones, inclusive, ascending.
    """

    def __init__(self, bounds: Sequence[int]) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.sum = 0

    def add(self, value: int) -> None:
        """Counts one."""
        self.counts[bisect_left(self.bounds, value)] += 1
        self.sum += value

    def cumulative(self) -> list[int]:
        """For each bound, and then for infinity, how many values are not above it. Any thread."""
        total, below = 0, []
        for count in self.counts:
            total += count
            below.append(total)
        return below


class Observed:
    """Everything that is counted of verdicts and batches.

    Args:
        recipes: names of those that this worker has; the others share one label.

    Attributes:
        recipes: likewise; replaced when a worker learns of others. Names alone: no engine outlives its use here.
        stages: microseconds by stage, and in `total` from capture to stored.
        batches: frames a batch.
        verdicts: as they are stored, by recipe; in each row one number a `Reason`.
        duplicates: verdicts that were refused because their frame has one already.
        taken_over: frames that another worker had before.
        infer_cpu_s: seconds of processor time that the work loop itself spent on batches; torch's threads not counted.
    """

    def __init__(self, recipes: Container[str]) -> None:
        self.stages = {stage: Histogram(STAGE_BOUNDS_US) for stage in STAGES}
        self.batches = Histogram(BATCH_BOUNDS)
        self.verdicts: dict[str, list[int]] = {}
        self.duplicates = self.taken_over = 0
        self.infer_cpu_s = 0.0
        self.recipes = recipes
        self._measured = [(stage, self.stages[stage]) for stage in STAGES[:-2]]  # by the time it is judged
        self._store, self._total = self.stages["store"], self.stages["total"]

    def counting(self, infer: Callable[[Sequence[Item]], Result]) -> Callable[[Sequence[Item]], Result]:
        """The same function, the size of each batch and its processor time noted."""

        def counted(batch: Sequence[Item]) -> Result:
            self.batches.add(len(batch))
            started_s = time.thread_time()
            try:
                return infer(batch)
            finally:
                self.infer_cpu_s += time.thread_time() - started_s

        return counted

    def stored(self, batch: Iterable[tuple[Judged, str]], now: float) -> None:
        """What became of verdicts. The sink's thread alone.

        Args:
            batch: each with Redis's word: `stored`, `late` or `duplicate`.
            now: monotonic seconds.
        """
        for item, word in batch:
            if word == "duplicate":
                self.duplicates += 1
                continue
            verdict = item.verdict
            self._count(verdict, Reason.LATE if word == "late" else verdict.reason)
            if verdict.latency_us:  # a frame that was given up beside the camera has none
                self._time(verdict.latency_us, int((now - item.judged) * 1e6))

    def _count(self, verdict: Verdict, reason: Reason) -> None:
        row = self.verdicts.get(verdict.tag.recipe or OTHER)
        if row is None:
            row = self._row_for(verdict.tag.recipe)
        row[reason] += 1
        if verdict.tag.attempt > 1:
            self.taken_over += 1

    def _row_for(self, recipe: str | None) -> list[int]:
        label = recipe if recipe is not None and recipe in self.recipes else OTHER
        return self.verdicts.setdefault(label, [0] * len(Reason))

    def _time(self, latency_us: dict[str, int], store_us: int) -> None:
        total = store_us
        for stage, histogram in self._measured:
            us = latency_us.get(stage)
            if us is not None:
                histogram.add(us)
                total += us
        self._store.add(store_us)
        self._total.add(total)
