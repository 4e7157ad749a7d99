"""Where verdicts end: written to the result stream, each frame's once. DESIGN: "Results in Redis".

`ResultSink` talks to Redis. `ResultWriter` owns the thread that does so, and the bounded queue of verdicts that wait.
"""

import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

import structlog

from producers.frame import FrameId
from worker.errors import ResultsUnavailable
from worker.line import LineKeys, connect, redis_errors
from worker.settings import WorkerSettings
from worker.verdict import Verdict

log = structlog.get_logger("sink")

SEEN_TTL_S = 30 * 86_400
BATCH = 64  # verdicts a script: Redis serves nobody else while one runs


@dataclass(frozen=True)
class Judged:
    """A verdict that waits to be stored, and when it was judged (monotonic seconds)."""

    verdict: Verdict
    judged: float


class ResultSink:
    """Stores verdicts, each frame's once. One thread at a time.

    Args:
        url: of Redis.
        line: name of the line.
        timeout_s: for one answer.
        keep_s: entries older than this are trimmed.
        max_results: entries at most.
    """

    def __init__(self, url: str, line: str, *, timeout_s: float, keep_s: float, max_results: int) -> None:
        self.url = url
        self.keys = LineKeys(line)
        self._redis = connect(url, timeout_s=timeout_s)
        self._script = self._redis.register_script(files("worker").joinpath("once.lua").read_text(encoding="utf-8"))
        self._bounds = (SEEN_TTL_S, int(keep_s * 1000), max_results)
        self._offset_us = 0

    @classmethod
    def of(cls, settings: WorkerSettings) -> "ResultSink":
        """The sink that a worker's settings name. Nothing is connected yet."""
        return cls(
            settings.redis.get_secret_value(),
            settings.line,
            timeout_s=settings.redis_timeout_s,
            keep_s=settings.keep_results_s,
            max_results=settings.max_results,
        )

    def sample_clock(self) -> None:
        """Learns how far Redis's clock is from this machine's monotonic one.

        Raises:
            ResultsUnavailable: no answer.
        """
        with redis_errors(self.url):
            before = time.monotonic()
            seconds, micros = self._redis.time()
            middle = (before + time.monotonic()) / 2
        self._offset_us = seconds * 1_000_000 + micros - int(middle * 1e6)

    def redis_us(self, mono: float) -> int:
        """A monotonic time, in seconds, on Redis's clock: microseconds since the epoch."""
        return int(mono * 1e6) + self._offset_us

    def store(self, judged: Sequence[Judged]) -> list[str]:
        """Stores verdicts with one script.

        Returns:
            For each, `stored`, `late` (a pass that came too late and became a fail), `duplicate` (the frame has a
            verdict already) or `error: ...`, Redis's own words.

        Raises:
            ResultsUnavailable: no answer. The script may have run; storing the same again is safe.
        """
        keys = [self.keys.results]
        args: list[str | bytes | int] = [*self._bounds, len(judged[0].verdict.to_fields())]
        for item in judged:
            frame = item.verdict.tag.id
            keys.append(self.keys.seen(frame))
            valid_until = item.verdict.valid_until_us
            args += [frame.seq & 0xFFFF, "" if valid_until is None else valid_until, self.redis_us(item.judged)]
            for name, value in item.verdict.to_fields().items():
                args += [name, value]
        with redis_errors(self.url):
            answers = self._script(keys=keys, args=args)
        return [_word(answer) for answer in answers]

    def heartbeat(self, name: str, fields: Mapping[Any, str], *, ttl_s: int) -> None:
        """Says that a worker is online: a hash that expires unless it is written again.

        Raises:
            ResultsUnavailable: no answer.
        """
        with redis_errors(self.url):
            pipe = self._redis.pipeline(transaction=True)
            pipe.hset(self.keys.worker(name), mapping=fields)
            pipe.expire(self.keys.worker(name), ttl_s)
            pipe.execute()

    def close(self) -> None:
        """Closes the connection."""
        self._redis.close()


def _word(answer: list[bytes]) -> str:
    word, detail = answer[0].decode(), answer[1].decode(errors="replace")
    return f"error: {detail}" if word == "error" else word


class ResultWriter:
    """The thread that stores verdicts, in the order in which they were judged.

    Takes verdicts from the work loop, tells `stored` once they are in Redis. While Redis is away they wait in memory,
    `limit` at most: `full` then tells the intake to take no more frames.

    Args:
        sink: owned by this thread from `start` on.
        worker: name, for the heartbeat.
        limit: verdicts that wait at most.
        stored: called with the ids of each stored batch, from this thread.
    """

    def __init__(self, sink: ResultSink, worker: str, *, limit: int, stored: Callable[[list[FrameId]], None]) -> None:
        self.counts: Counter[str] = Counter()
        self._sink, self._worker, self._limit, self._stored = sink, worker, limit, stored
        self._waiting: deque[Judged] = deque()
        self._changed = threading.Condition()
        self._stop = False
        self._away_since: float | None = None
        self._next_heartbeat = 0.0
        self._thread = threading.Thread(target=self._run, name="sink", daemon=True)

    def start(self) -> None:
        """Starts the thread."""
        self._thread.start()

    def put(self, verdict: Verdict, *, now: float) -> None:
        """Hands over a verdict, judged now."""
        with self._changed:
            self._waiting.append(Judged(verdict, now))
            self._changed.notify()

    @property
    def full(self) -> bool:
        """Whether as many verdicts wait as may."""
        return len(self._waiting) >= self._limit

    def drain(self, timeout_s: float) -> int:
        """Waits until every verdict is stored. Returns how many still wait when the time is up."""
        with self._changed:
            self._changed.wait_for(lambda: not self._waiting, timeout_s)
            return len(self._waiting)

    def close(self) -> None:
        """Ends the thread; what still waits is given up."""
        with self._changed:
            self._stop = True
            self._changed.notify()
        self._thread.join()
        self._sink.close()

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._waiting or self._stop, timeout=1.0)
                if self._stop:
                    return
                batch = [self._waiting[index] for index in range(min(BATCH, len(self._waiting)))]
            try:
                self._beat()
                stored = self._store(batch) if batch else 0
            except ResultsUnavailable as error:
                self._away(str(error))
                stored = 0
            if batch and not stored:
                with self._changed:
                    self._changed.wait_for(lambda: self._stop, timeout=0.2)

    def _beat(self) -> None:
        if time.monotonic() >= self._next_heartbeat:
            self._sink.sample_clock()
            fields = {"heartbeat_ns": str(time.time_ns()), **{key: str(value) for key, value in self.counts.items()}}
            self._sink.heartbeat(self._worker, fields, ttl_s=10)
            self._next_heartbeat = time.monotonic() + 2

    def _store(self, batch: list[Judged]) -> int:
        """Stores a batch. What Redis refused stays at the head of the queue, so that order is kept."""
        words = self._sink.store(batch)
        refused = next((word for word in words if word.startswith("error")), None)
        done = [item.verdict.tag.id for item, word in zip(batch, words, strict=True) if not word.startswith("error")]
        self.counts.update(word for word in words if not word.startswith("error"))
        left = [item for item, word in zip(batch, words, strict=True) if word.startswith("error")]
        with self._changed:
            for _ in batch:
                self._waiting.popleft()
            self._waiting.extendleft(reversed(left))
            self._changed.notify_all()
        self._stored(done)
        if refused is None:
            self._back()
        else:
            self._away(refused)
        return len(done)

    def _away(self, why: str) -> None:
        if self._away_since is None:
            self._away_since = time.monotonic()
            log.error("Redis takes no verdicts: they wait in memory and the gate rejects every part", why=why)

    def _back(self) -> None:
        if self._away_since is not None:
            log.info("Redis takes verdicts again", away_s=round(time.monotonic() - self._away_since, 1))
            self._away_since = None
