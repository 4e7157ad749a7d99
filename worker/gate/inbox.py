"""Everything that happens to a gateway, in the order in which it happened. Each event has the time of its coming."""

import threading
import time
from collections import deque
from dataclasses import dataclass

from producers.frame import FrameTag
from worker.gate.plc import Request
from worker.verdict import Verdict

AT_MOST = 10_000
"""Verdicts and headers; what else comes is little, and bounded by whoever puts it."""


@dataclass(frozen=True)
class LeaseHeld:
    """Redis says that this gateway has the gate.

    Attributes:
        until_us: monotonic; if Redis does not say so again, it ends then.
        anew: whether nobody had it just before.
        offset_us: how far Redis's clock is ahead of the monotonic one, at most.
        unsure_us: by how much less it may be ahead.
    """

    until_us: int
    anew: bool
    offset_us: int
    unsure_us: int


@dataclass(frozen=True)
class LeaseTaken:
    """Another gateway has the gate.

    Attributes:
        holder: its name.
    """

    holder: str


@dataclass(frozen=True)
class Reading:
    """Every verdict that is stored from now on will be read."""


@dataclass(frozen=True)
class ResultsLost:
    """Verdicts may be missing.

    Attributes:
        why: one sentence.
    """

    why: str


Event = LeaseHeld | LeaseTaken | Reading | ResultsLost | Verdict | FrameTag | Request
"""A `FrameTag` is a header that was seen on a live topic."""


def now_us() -> int:
    """The monotonic clock, microseconds."""
    return time.monotonic_ns() // 1000


class Inbox:
    """A bounded queue. Any thread puts; one takes. Only verdicts and headers are ever dropped."""

    def __init__(self) -> None:
        self._events: deque[tuple[int, Event]] = deque()
        self._there = threading.Condition()
        self._dropped = 0

    def put(self, event: Event) -> None:
        """Notes an event, with the time. Beyond `AT_MOST` a verdict or header is dropped, and `take` says so."""
        with self._there:
            if len(self._events) >= AT_MOST and isinstance(event, Verdict | FrameTag):
                self._dropped += 1
                return
            self._events.append((now_us(), event))
            self._there.notify()

    @property
    def half_full(self) -> bool:
        """Whether requests had better wait in their link, which tells a PLC when it is overloaded."""
        return len(self._events) >= AT_MOST // 2

    def clear(self) -> None:
        """Forgets what has come: it was meant for somebody who is gone."""
        with self._there:
            self._events.clear()

    def take(self, until_us: int) -> tuple[list[tuple[int, Event]], int]:
        """Everything that has come, as soon as there is something, or nothing at `until_us`.

        Returns:
            The events with their times, and how many were dropped since the last call.
        """
        with self._there:
            if not self._events:
                self._there.wait(max(0, until_us - now_us()) / 1e6)
            events, dropped = list(self._events), self._dropped
            self._events.clear()
            self._dropped = 0
        return events, dropped
