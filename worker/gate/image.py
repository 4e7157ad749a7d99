"""The newest status as registers, and what of it a PLC may still see. Both links show it."""

import time
from collections.abc import Callable
from dataclasses import replace

from worker.gate.registers import encode
from worker.gate.status import Status

STALE_S = 1.0


class Image:
    """Holds the newest status alone: what it replaces is gone, whether a PLC saw it or not.

    A status that nobody renews ages: after `stale_s` the gateway shows as offline, and nothing stands at the gate,
    whatever was decided before. The heartbeat stands still from the start. Any thread may show and ask.

    Args:
        stale_s: seconds that a status holds.
        clock: monotonic seconds.
    """

    def __init__(self, *, stale_s: float = STALE_S, clock: Callable[[], float] = time.monotonic) -> None:
        self._stale_s, self._clock = stale_s, clock
        self._shown = (Status(), clock())  # swapped as one
        self._encoded: tuple[Status, int, list[int]] | None = None

    def show(self, status: Status) -> None:
        """From now on, this status."""
        self._shown = (status, self._clock())

    def registers(self, taken: int) -> list[int]:
        """All registers, of one status. The list is the caller's: it must not change it.

        Args:
            taken: sequence of the last command block that was taken.
        """
        status, shown_s = self._shown
        if self._clock() - shown_s > self._stale_s:
            status = offline(status)
        encoded = self._encoded
        if encoded is None or encoded[0] is not status or encoded[1] != taken:
            self._encoded = encoded = (status, taken, encode(status, taken))
        return encoded[2]

    def farewell(self, taken: int) -> list[int]:
        """What a PLC that keeps its registers should keep: nothing that opens."""
        return encode(offline(self._shown[0]), taken)


def offline(status: Status) -> Status:
    """The same results, of a gateway that is not there."""
    return replace(status, online=False, synchronised=False, at_gate=None)
