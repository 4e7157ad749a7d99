"""The ring of results, as the PLC of `sightline bench gate` takes it: each once, none skipped unnoticed. Pure."""

from collections.abc import Callable

from worker.gate.status import MAX_COUNTER, PartResult, Status


class Results:
    """Takes results out of the ring, in the order of their counters.

    Args:
        log: takes what happened, when (ns since the epoch), and whatever else is known of it.

    Attributes:
        counter: of the newest result that was taken; 0: none yet.
    """

    def __init__(self, log: Callable[..., None]) -> None:
        self._log = log
        self.counter = 0
        self._ring: dict[int, PartResult] = {}  # as it was last read
        self._doubtful = True  # whether the counters may have begun anew

    def interrupted(self) -> None:
        """There was no link for a while: behind the next one may stand a gateway that counts from 1."""
        self._doubtful = True

    def is_new(self, result: PartResult) -> bool:
        """Whether this result was not taken yet."""
        return not _same(self._ring.get(result.counter), result)

    def take(self, status: Status, now_ns: int) -> list[PartResult]:
        """The new ones. A gap among them is written to the log, and so is a result that has become another one."""
        if self._doubtful and not any(_same(self._ring.get(result.counter), result) for result in status.results):
            self._ring, self.counter = {}, 0
            self._log("anew", now_ns, counter=status.counter)
        self._doubtful = False
        for result in status.results:
            if result.counter in self._ring and self.is_new(result):
                self._log("changed", now_ns, counter=result.counter)
        new = [result for result in status.results if result.counter not in self._ring]
        for result in new:
            if self.counter and (missing := _between(self.counter % MAX_COUNTER + 1, result.counter)):
                self._log("missing", now_ns, counters=missing, overrun=status.overrun)
            self.counter = result.counter
        self._ring = {result.counter: result for result in status.results}
        return new


def _same(known: PartResult | None, result: PartResult) -> bool:
    return known is not None and (known.trigger, known.opens) == (result.trigger, result.opens)


def _between(first: int, end: int) -> list[int]:
    """Counters from `first` until before `end`."""
    return [(first - 1 + more) % MAX_COUNTER + 1 for more in range((end - first) % MAX_COUNTER)]
