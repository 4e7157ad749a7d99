"""Micro-batching: work-conserving, earliest deadline first. DESIGN: "Micro-batching"."""

import heapq
import math
from collections import deque
from collections.abc import Callable, Hashable, Iterator
from dataclasses import dataclass, field
from itertools import count
from typing import Generic, TypeVar

from producers.frame import FrameHeader, Payload
from producers.protocol import comes_too_late


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


OVERLOAD_S, OVERLOAD_BATCHES = 1.0, 16  # how long a loss is remembered: the longer of the two
SOONER = 0.2  # of a frame's share of a batch's time, which may be spent for the first of a few to go sooner
LEAST_GAIN = 1.02  # in frames a second, for a frame that could have been met

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
        overloaded: two batches' worth of frames were given up of late, and since then never less than half a one.
    """

    max_batch: int
    group: Callable[[F], Hashable]
    cost_s: Callable[[F, int], float]
    overloaded: bool = False
    _groups: dict[Hashable, list[tuple[float, int, F]]] = field(default_factory=dict)
    _order: Iterator[int] = field(default_factory=count)
    _lost: deque[float] = field(default_factory=deque)  # when frames were given up, of late
    _memory_s: float = OVERLOAD_S

    def __len__(self) -> int:
        return sum(len(group) for group in tuple(self._groups.values()))  # a copy: other threads may ask

    def add(self, frame: F) -> None:
        """Takes in one frame."""
        heapq.heappush(self._groups.setdefault(self.group(frame), []), (frame.deadline, next(self._order), frame))

    def least_s(self, cost_s: float) -> float:
        """Seconds of its budget that a frame must have left: at overload, when others can take its place.

        It would wait while one batch is in the engine, and then allow of no full one. Any thread.

        Args:
            cost_s: seconds until the verdicts of a batch of `max_batch` are stored.
        """
        return 2 * cost_s if self.overloaded else 0.0

    def turns_away(self, frame: ReceivedFrame, cost_s: float, now: float) -> bool:
        """Whether a frame that is not added yet is given up, because less than that is left. Any thread."""
        least_s = self.least_s(cost_s)
        too_late = comes_too_late(frame.deadline - now, budget_ms=frame.header.budget_ms, least_s=least_s)
        if too_late:
            self.missed(1, now)
        return too_late

    def missed(self, frames: int, now: float) -> None:
        """So many frames expired before they were added: else overload would seem to be over by what is done about it.

        Any thread.
        """
        self._lost.extend([now] * frames)

    def take(self, now: float) -> tuple[list[F], list[F]]:
        """The next batch, empty if nothing waits; and the frames whose budget can't be met any more, to be refused.

        A frame that was taken back from another worker (attempt 2 and later) gets a batch of its own, so that one that
        breaks workers breaks nothing else.
        """
        expired = self._pop_hopeless(now)
        waiting = [group for group in self._groups.values() if group]
        most_urgent = min(waiting, key=lambda group: group[0][:2], default=None)
        if most_urgent:
            full_s = self.cost_s(most_urgent[0][2], self.max_batch)
            self._memory_s = max(OVERLOAD_S, OVERLOAD_BATCHES * full_s)
        self._look_at_losses(now, len(expired))
        if most_urgent and self.overloaded:
            expired += self._shed(most_urgent, now)
        return self._fill(most_urgent, now) if most_urgent else [], expired

    def take_all(self) -> list[F]:
        """All that waits, for somebody else: there is no engine any more."""
        waiting = [frame for group in self._groups.values() for _, _, frame in group]
        self._groups.clear()
        return waiting

    def _fill(self, group: list[tuple[float, int, F]], now: float) -> list[F]:
        most = self._enough(group)
        first = heapq.heappop(group)[2]
        chosen = [first]
        while group and len(chosen) < most and first.header.attempt == 1:
            in_time = now + self.cost_s(first, len(chosen) + 1) <= first.deadline  # it is the earliest
            if group[0][2].header.attempt > 1 or not in_time:
                break
            chosen.append(heapq.heappop(group)[2])
        return chosen

    def _enough(self, group: list[tuple[float, int, F]]) -> int:
        """How many of them to take: the fewest that need about as little time each as can be.

        The first then go sooner, and the others hardly later. The more wait, the less that is worth.
        """
        most = min(len(group), self.max_batch)
        if most == self.max_batch:
            return most  # a line that is full has no time for more wake-ups
        each_s = [self.cost_s(group[0][2], frames) / frames for frames in range(1, most + 1)]
        about_s = min(each_s) * (1 + SOONER * (1 - most / self.max_batch))
        return next(frames for frames, cost_s in enumerate(each_s, 1) if cost_s <= about_s)

    def _look_at_losses(self, now: float, lost: int) -> None:
        self.missed(lost, now)
        while self._lost and now - self._lost[0] > self._memory_s:
            self._lost.popleft()
        self.overloaded = len(self._lost) >= (0.5 if self.overloaded else 2) * self.max_batch

    def _shed(self, group: list[tuple[float, int, F]], now: float) -> list[F]:
        """Takes out the most urgent frames, if fewer of them make for a batch of more frames a second.

        At overload each frame has just enough time left for a batch of one: to save it costs several that come after.
        """
        queue = sorted(group)
        best, rate, size = 0, 0.0, 0
        for first, (deadline, _, frame) in enumerate(queue):
            if frame.header.attempt > 1 or math.isinf(deadline):
                break
            most = min(self.max_batch, len(queue) - first)
            while size < most and now + self.cost_s(frame, size + 1) <= deadline:
                size += 1  # a later deadline allows no smaller a batch
            size = max(1, min(size, most))
            if size / self.cost_s(frame, size) > rate * LEAST_GAIN:
                best, rate = first, size / self.cost_s(frame, size)
        return [heapq.heappop(group)[2] for _ in range(best)]

    def _pop_hopeless(self, now: float) -> list[F]:
        hopeless = []
        for name, group in list(self._groups.items()):
            while group and group[0][0] < now + self.cost_s(group[0][2], 1):
                hopeless.append(heapq.heappop(group)[2])
            if not group:
                del self._groups[name]  # a recipe that was replaced leaves nothing behind
        return hopeless
