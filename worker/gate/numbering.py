"""The numbers that triggers carry: the next, one twice, some skipped, or a jump. Pure."""

from collections import deque
from dataclasses import dataclass

from worker.gate.status import MAX_TRIGGER

REMEMBERED = 16


@dataclass(frozen=True)
class Step:
    """What a number is, after the ones before it.

    Attributes:
        doubled: it has come before, or has been given up as skipped: no new part.
        skipped: numbers between the last one and it; 0 for a jump.
        jump: it does not follow: nobody knows how many parts were missed.
    """

    doubled: bool = False
    skipped: int = 0
    jump: bool = False


class Numbering:
    """Follows one counter of parts, 0 to 2**32 - 1 and round again.

    Args:
        skip: so many may be missing; more are a jump.
    """

    def __init__(self, skip: int) -> None:
        self._skip = skip
        self._last: deque[int] = deque(maxlen=REMEMBERED)

    def restart(self) -> None:
        """Any number may come next."""
        self._last.clear()

    def forget_all_but_last(self) -> None:
        """Old numbers may come again as new ones, because the PLC may have begun anew; the very last may not."""
        while len(self._last) > 1:
            self._last.popleft()

    def step(self, number: int) -> Step:
        """What this number is; a doubled one leaves everything as it was."""
        if number in self._last:
            return Step(doubled=True)
        missing = (number - self._last[-1] - 1) % (MAX_TRIGGER + 1) if self._last else 0
        if missing > self._skip:
            self._last.clear()
            self._last.append(number)
            return Step(jump=True)
        self._last.extend((number - back) % (MAX_TRIGGER + 1) for back in range(missing, -1, -1))
        return Step(skipped=missing)
