"""The results that a PLC is shown, and the handshake by which it says that it has taken them. Pure."""

from collections import deque

from worker.gate.status import MAX_COUNTER, RING, PartResult


def counter_of(ordinal: int) -> int:
    """The counter of the n-th result, n from 1: it runs to 65535 and then from 1 again."""
    return (ordinal - 1) % MAX_COUNTER + 1 if ordinal else 0


class Ring:
    """The newest results, each under its counter.

    A result is lost if it leaves the ring before a PLC has acknowledged it or a newer one. `overrun` says so for as
    long as the newest acknowledged result is older than the lost one: a PLC that acknowledges what it has read, and
    nothing else, sees the bit before it can clear it.

    Attributes:
        overruns: results lost.
    """

    def __init__(self) -> None:
        self.results: deque[PartResult] = deque(maxlen=RING)
        self.overruns = 0
        self._made = self._taken = 0  # ordinals: results ever made, the newest acknowledged

    @property
    def next_counter(self) -> int:
        """For the next result."""
        return counter_of(self._made + 1)

    @property
    def counter(self) -> int:
        """Of the newest result; 0: there is none."""
        return counter_of(self._made)

    @property
    def acknowledged(self) -> int:
        """Of the newest result that was acknowledged; 0: none."""
        return counter_of(self._taken)

    @property
    def overrun(self) -> bool:
        """Whether a result has left the ring that was not acknowledged."""
        return self._made - self._taken > RING

    def add(self, result: PartResult) -> None:
        """Shows a result, made with `next_counter`."""
        self.results.append(result)
        self._made += 1
        self.overruns += self.overrun

    def acknowledge(self, counter: int) -> bool:
        """The PLC has taken every result up to this one. Returns whether there is such a result, and it is news."""
        if not 1 <= counter <= MAX_COUNTER:
            return False
        ordinal = self._made - (self.counter - counter) % MAX_COUNTER
        if ordinal <= self._taken:
            return False
        self._taken = ordinal
        return True
