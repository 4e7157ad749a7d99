"""The numbers that triggers carry: the next, one twice, some skipped, or a jump. Pure."""

from collections import deque
from dataclasses import dataclass

from worker.gate.status import MAX_TRIGGER

REMEMBERED = 16
AGAIN_US = 2_000_000
"""A number that comes again sooner is the same trigger, sent twice; later, a PLC that began anew with it."""


@dataclass(frozen=True)
class Step:
    """What a number is, after the ones before it.

    Attributes:
        doubled: it is the last one once more: no new part.
        skipped: the numbers between the last one and it; none for a jump.
        jump: it does not follow: nobody knows how many parts were missed.
    """

    doubled: bool = False
    skipped: tuple[int, ...] = ()
    jump: bool = False


class Numbering:
    """Follows one counter of parts, 0 to 2**32 - 1 and round again.

    A number from before the last one is a jump as well. It may be a trigger that was held up, or that of a PLC that has
    lost its count: then it is another part than the one that had this number first.

    Args:
        skip: so many may be missing; more are a jump.
    """

    def __init__(self, skip: int) -> None:
        self._skip = skip
        self._last: int | None = None
        self._last_us = 0
        self._skipped: deque[int] = deque(maxlen=REMEMBERED)

    def restart(self) -> None:
        """Any number may come next."""
        self._last = None

    def gave_up(self, number: int) -> bool:
        """Whether this number was skipped lately."""
        return number in self._skipped

    def step(self, number: int, now_us: int) -> Step:
        """What this number is; a doubled one leaves everything as it was."""
        last, again = self._last, now_us - self._last_us <= AGAIN_US
        if number == last and again:
            return Step(doubled=True)
        missing = 0 if last is None else (number - last - 1) % (MAX_TRIGGER + 1)
        self._last, self._last_us = number, now_us
        if missing > self._skip:
            self._skipped.clear()
            return Step(jump=True)
        skipped = tuple((number - back) & MAX_TRIGGER for back in range(missing, 0, -1))
        self._skipped.extend(skipped)
        return Step(skipped=skipped)
