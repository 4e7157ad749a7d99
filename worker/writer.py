"""The thread that stores verdicts, and the verdicts that wait for it. DESIGN: "Redis away".

What Redis may answer, and what is then done, stands in `worker.faults`.
"""

import math
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Sequence

import structlog

from worker.errors import ResultsUnavailable
from worker.faults import UNKNOWN, Fault, Policy, fault_of
from worker.sink import Judged, ResultSink
from worker.verdict import Verdict

log = structlog.get_logger("sink")

BATCH = 64  # verdicts a script: Redis serves nobody else while one runs
RETRY_S = 0.2
ASIDE_RETRY_S = 1.0
HEARTBEAT_S = 2.0
ONLINE_S = 10  # without a heartbeat for this long a worker is offline


Stored = tuple[Judged, str]
"""A verdict, and what became of it."""


class ResultWriter:
    """Stores verdicts in the order in which they were judged.

    Takes verdicts from the work loop, tells `stored` once they are in Redis. While Redis is away they wait in memory,
    `limit` at most: `full` then tells the intake to take no more frames. A verdict that can't be written for a reason
    of its own is set aside and tried again each second: it loses its place, and the others lose nothing.

    Args:
        sink: owned by this thread from `start` on.
        worker: name, for the heartbeat.
        limit: verdicts that wait at most.
        stored: called from this thread with what Redis has now: each verdict, and `stored`, `late` or `duplicate`.
    """

    def __init__(self, sink: ResultSink, worker: str, *, limit: int, stored: Callable[[list[Stored]], None]) -> None:
        self.counts: Counter[str] = Counter()
        self._sink, self._worker, self._limit, self._stored = sink, worker, limit, stored
        self._waiting: deque[Judged] = deque()
        self._aside: deque[Judged] = deque()  # changed by the thread alone
        self._aside_due = 0.0
        self._batch = BATCH
        self._changed = threading.Condition()
        self._stop = False
        self._away_since: float | None = None
        self._said: set[tuple[str, str]] = set()  # what about, which fault
        self._next_heartbeat = 0.0
        self._took = -math.inf  # when Redis last took something; not since it last refused
        self._thread = threading.Thread(target=self._run, name="sink", daemon=True)

    def start(self) -> None:
        """Starts the thread."""
        self._thread.start()

    def put(self, verdict: Verdict, *, now: float) -> None:
        """Hands over a verdict, judged now."""
        self.put_all([Judged(verdict, now)])

    def put_all(self, batch: Sequence[Judged]) -> None:
        """Hands over a batch at once: one by one, the first would wake the thread to store it alone."""
        with self._changed:
            self._waiting.extend(batch)
            self._changed.notify()

    @property
    def waiting(self) -> int:
        """Verdicts that are not stored yet."""
        return len(self._waiting) + len(self._aside)

    @property
    def set_aside(self) -> int:
        """Those of them that wait for a reason of their own."""
        return len(self._aside)

    @property
    def reachable(self) -> bool:
        """Whether Redis took the last heartbeat or write, and that not so long ago that this worker looks offline."""
        return time.monotonic() - self._took < ONLINE_S

    @property
    def alive(self) -> bool:
        """Whether the thread runs."""
        return self._thread.is_alive()

    @property
    def full(self) -> bool:
        """Whether as many verdicts wait as may."""
        return self.waiting >= self._limit

    def drain(self, timeout_s: float) -> int:
        """Waits until every verdict is stored. Returns how many still wait when the time is up."""
        with self._changed:
            self._changed.wait_for(lambda: not self.waiting, timeout_s)
            return self.waiting

    def close(self) -> None:
        """Ends the thread; what still waits is given up."""
        with self._changed:
            self._stop = True
            self._changed.notify()
        self._thread.join()
        self._sink.close()

    # -- the thread --------------------------------------------------------------------------------------------------

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._waiting or self._stop, timeout=self._idle_s())
                if self._stop:
                    return
            if not self._turn():
                with self._changed:
                    self._changed.wait_for(lambda: self._stop, timeout=RETRY_S)

    def _idle_s(self) -> float:
        due = min(self._aside_due, self._next_heartbeat) if self._aside else self._next_heartbeat
        return max(0.0, min(1.0, due - time.monotonic()))

    def _turn(self) -> bool:
        """Stores a batch, tries what was set aside, shows that it lives. Returns False if the line must wait."""
        try:
            took = self._store_next() and self._store_aside()
        except ResultsUnavailable as error:
            self._away(error.fault, str(error))
            return False
        self._beat()
        return took

    def _store_next(self) -> bool:
        """Stores from the head of the queue. What the whole line waits for stays there, so that order is kept."""
        batch = [self._waiting[index] for index in range(min(self._batch, len(self._waiting)))]
        if not batch:
            return True
        outcome = self._ask(batch)
        stays = [item for item, word in outcome if _blocks(word)]
        with self._changed:
            self._aside.extend(item for item, word in outcome if _is_own(word))
            for _ in batch:
                self._waiting.popleft()
            self._waiting.extendleft(reversed(stays))
        return self._report(outcome)

    def _store_aside(self) -> bool:
        """Tries each verdict that was set aside, alone: none of them stands in another's way."""
        if not self._aside or time.monotonic() < self._aside_due:
            return True
        self._aside_due = time.monotonic() + ASIDE_RETRY_S
        for _ in range(min(BATCH, len(self._aside))):
            outcome = self._ask([self._aside[0]])
            (item, word) = outcome[0]
            if not _blocks(word):
                with self._changed:
                    self._aside.popleft()
                    self._aside.extend([item] if _is_own(word) else [])
            if not self._report(outcome):
                return False
            if not word.startswith("error"):
                self._aside_due = 0.0  # the way is free: go on at once
        return True

    def _ask(self, batch: list[Judged]) -> list[tuple[Judged, str]]:
        """What Redis says of each verdict.

        After a failure the next batch is one verdict, then two, then four: if the failure is one verdict's own, though
        Redis's answer doesn't say so, that verdict comes to stand alone and is known by it.

        Raises:
            ResultsUnavailable: it takes none of them.
        """
        try:
            words = self._sink.store(batch)
        except Exception as error:  # also what nobody foresaw: this thread must not end while verdicts wait
            fault = error.fault if isinstance(error, ResultsUnavailable) else UNKNOWN
            self._batch = 1
            if fault.policy is Policy.ASIDE and len(batch) == 1:
                return [(batch[0], f"error: {error}")]
            raise ResultsUnavailable(str(error), fault=fault) from error
        self._batch = min(BATCH, 2 * self._batch)
        return list(zip(batch, words, strict=True))

    def _report(self, outcome: list[tuple[Judged, str]]) -> bool:
        """Tells what is stored, and says what is not. Returns False if the whole line must wait."""
        done = [(item, word) for item, word in outcome if not word.startswith("error")]
        self.counts.update(word for _, word in done)
        with self._changed:
            self._changed.notify_all()
        self._stored(done)
        for item, word in outcome:
            if _is_own(word):
                self._set_aside(item, word)
        blocked = next((word for _, word in outcome if _blocks(word)), None)
        if blocked is not None:
            self._away(fault_of(blocked), blocked)
        elif done:
            self._back()
        return blocked is None

    def _beat(self) -> None:
        """Says that this worker is online, and learns Redis's clock. A heartbeat that fails holds no verdict up."""
        if time.monotonic() < self._next_heartbeat:
            return
        self._next_heartbeat = time.monotonic() + HEARTBEAT_S
        counts = {**self.counts, "waiting": self.waiting, "set_aside": len(self._aside)}
        fields = {"heartbeat_ns": str(time.time_ns()), **{key: str(value) for key, value in counts.items()}}
        try:
            self._sink.sample_clock()
            self._sink.heartbeat(self._worker, fields, ttl_s=ONLINE_S)
        except ResultsUnavailable as error:
            self._took = -math.inf
            self._say("heartbeat", error.fault, str(error), "the heartbeat can't be written: this worker looks offline")
        else:
            self._took = time.monotonic()
            self._all_is_well("heartbeat")

    # -- what it says: each fault once, until all is well again ------------------------------------------------------

    def _say(self, about: str, fault: Fault, why: str, text: str, **more: object) -> None:
        if (about, fault.name) in self._said:
            return
        self._said.add((about, fault.name))
        say = log.warning if fault.policy in (Policy.WAIT, Policy.FOLLOW) else log.error
        say(text, fault=fault.name, means=fault.means, remedy=fault.remedy, why=why.strip(), **more)

    def _all_is_well(self, about: str) -> None:
        self._said = {said for said in self._said if said[0] != about}

    def _away(self, fault: Fault, why: str) -> None:
        self._took = -math.inf
        if self._away_since is None:
            self._away_since = time.monotonic()
        text = "Redis takes no verdicts: they wait in memory and the gate rejects every part"
        self._say("line", fault, why, text)

    def _back(self) -> None:
        self._took = time.monotonic()
        if self._away_since is not None:
            log.info("Redis takes verdicts again", away_s=round(time.monotonic() - self._away_since, 1))
            self._away_since = None
            self._all_is_well("line")
        if not self._aside:
            self._all_is_well("verdict")

    def _set_aside(self, item: Judged, word: str) -> None:
        text = "a verdict can't be written: it waits and is tried again, and the others go on"
        self._say("verdict", fault_of(word), word, text, frame=str(item.verdict.tag.id))


def _is_own(word: str) -> bool:
    """Whether this answer concerns that verdict alone."""
    return word.startswith("error") and fault_of(word).policy is Policy.ASIDE


def _blocks(word: str) -> bool:
    """Whether this answer concerns the whole line."""
    return word.startswith("error") and fault_of(word).policy is not Policy.ASIDE
