"""Micro-batching: work-conserving, earliest deadline first. DESIGN: "Micro-batching"."""

import heapq
import math
from collections.abc import Callable, Hashable, Iterator
from dataclasses import dataclass, field
from itertools import count
from typing import Generic, TypeVar

from producers.frame import FrameHeader, Payload


@dataclass(frozen=True)
class ReceivedFrame:
    """A frame that a worker holds.

    Attributes:
        header: as received, already validated.
        payload: as received, not decoded yet.
        recipe: that it is judged with; the header's, or the camera's default.
        received: monotonic seconds.
        wire_us: from capture to receipt, microseconds.
        deadline: monotonic seconds; infinite without a budget.
    """

    header: FrameHeader
    payload: Payload
    recipe: str
    received: float
    wire_us: int
    deadline: float = math.inf


F = TypeVar("F", bound=ReceivedFrame)


@dataclass
class Batcher(Generic[F]):
    """Forms micro-batches from waiting frames, earliest deadline first.

    Takes frames that are prepared, hands batches to the engine. Never sleeps and owns no thread: the caller passes the
    time. No timer ever holds a frame back: whenever the engine is free it gets what is waiting.

    Attributes:
        max_batch: frames in a batch at most.
        group: of a frame: those of one group go through the network together.
        cost_s: seconds from now until the verdicts of a batch are stored: of so many frames, of which this is one.
    """

    max_batch: int
    group: Callable[[F], Hashable]
    cost_s: Callable[[F, int], float]
    _groups: dict[Hashable, list[tuple[float, int, F]]] = field(default_factory=dict)
    _order: Iterator[int] = field(default_factory=count)

    def __len__(self) -> int:
        return sum(len(group) for group in tuple(self._groups.values()))  # a copy: other threads may ask

    def add(self, frame: F) -> None:
        """Takes in one frame."""
        heapq.heappush(self._groups.setdefault(self.group(frame), []), (frame.deadline, next(self._order), frame))

    def take(self, now: float) -> tuple[list[F], list[F]]:
        """The next batch, empty if nothing waits; and the frames whose budget can't be met any more, to be refused.

        A frame that was taken back from another worker (attempt 2 and later) gets a batch of its own, so that one that
        breaks workers breaks nothing else.
        """
        expired = self._pop_hopeless(now)
        waiting = [group for group in self._groups.values() if group]
        most_urgent = min(waiting, key=lambda group: group[0][:2], default=None)
        return self._fill(most_urgent, now) if most_urgent else [], expired

    def take_all(self) -> list[F]:
        """All that waits, for somebody else: there is no engine any more."""
        waiting = [frame for group in self._groups.values() for _, _, frame in group]
        self._groups.clear()
        return waiting

    def _fill(self, group: list[tuple[float, int, F]], now: float) -> list[F]:
        first = heapq.heappop(group)[2]
        chosen = [first]
        while group and len(chosen) < self.max_batch and first.header.attempt == 1:
            in_time = now + self.cost_s(first, len(chosen) + 1) <= first.deadline  # it is the earliest
            if group[0][2].header.attempt > 1 or not in_time:
                break
            chosen.append(heapq.heappop(group)[2])
        return chosen

    def _pop_hopeless(self, now: float) -> list[F]:
        hopeless = []
        for name, group in list(self._groups.items()):
            while group and group[0][0] < now + self.cost_s(group[0][2], 1):
                hopeless.append(heapq.heappop(group)[2])
            if not group:
                del self._groups[name]  # a recipe that was replaced leaves nothing behind
        return hopeless
