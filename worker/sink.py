"""Where verdicts end: written to the result stream, each frame's once. DESIGN: "Results in Redis".

`worker.writer` owns the thread that calls it, and the verdicts that wait.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

from worker.line import SEEN_WINDOW, LineKeys, Server, ShadowKeys
from worker.settings import WorkerSettings
from worker.verdict import Verdict

SEEN_TTL_S = 30 * 86_400
ONCE = files("worker").joinpath("once.lua").read_text(encoding="utf-8")


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
        replicas: how many replicas must have a verdict before it counts as stored.
        keys: where; by default `LineKeys`.
    """

    def __init__(
        self,
        url: str,
        line: str,
        *,
        timeout_s: float,
        keep_s: float,
        max_results: int,
        replicas: int = 0,
        keys: Callable[[str], LineKeys] = LineKeys,
    ) -> None:
        self.url = url
        self.keys = keys(line)
        self._server = Server(url, timeout_s=timeout_s)
        self._replicas = replicas
        self._bounds = (SEEN_TTL_S, int(keep_s * 1000), max_results)
        self._offset_us = 0

    @classmethod
    def of(cls, settings: WorkerSettings, *, shadow: bool = False) -> "ResultSink":
        """The sink that a worker's settings name, or its shadow's, which waits for no replica. Not connected yet."""
        return cls(
            settings.redis.get_secret_value(),
            settings.line,
            timeout_s=settings.redis_timeout_s,
            keep_s=settings.keep_results_s,
            max_results=settings.max_results,
            replicas=1 if settings.durability == "replica" and not shadow else 0,
            keys=ShadowKeys if shadow else LineKeys,
        )

    def sample_clock(self) -> None:
        """Learns how far Redis's clock is from this machine's monotonic one: of three answers the quickest counts.

        Raises:
            ResultsUnavailable: no answer.
        """
        _, self._offset_us = min(self._sample() for _ in range(3))

    def _sample(self) -> tuple[float, int]:
        """How long Redis took to say its time (s), and the offset (us), which is half of that wrong at most."""
        before = time.monotonic()
        seconds, micros = self._server.ask(lambda client: client.time())
        after = time.monotonic()
        return after - before, seconds * 1_000_000 + micros - int((before + after) / 2 * 1e6)

    def redis_us(self, mono: float) -> int:
        """A monotonic time, in seconds, on Redis's clock: microseconds since the epoch."""
        return int(mono * 1e6) + self._offset_us

    def store(self, judged: Sequence[Judged]) -> list[str]:
        """Stores verdicts with one script.

        Returns:
            For each, `stored`, `late` (a pass that came too late and became a fail), `duplicate` (the frame has a
            verdict already) or `error: ` with the key it is about and Redis's own words (`worker.faults.fault_of`).

        Raises:
            ResultsUnavailable: no answer, or too few replicas have them. Storing the same again is safe.
        """
        keys = [self.keys.results]
        rows: list[str | bytes | int] = []
        fields: dict[str, str | bytes] = {}
        for item in judged:
            frame, valid_until = item.verdict.tag.id, item.verdict.valid_until_us
            fields = item.verdict.to_fields()  # the same names for each
            keys.append(self.keys.seen(frame))
            rows += [frame.seq % SEEN_WINDOW, "" if valid_until is None else valid_until, self.redis_us(item.judged)]
            rows += fields.values()
        args = [*self._bounds, len(fields), *fields, *rows]
        answers = self._server.run_script(ONCE, keys=keys, args=args, replicas=self._replicas)
        return [_word(answer) for answer in answers]

    def heartbeat(self, name: str, fields: Mapping[Any, str], *, ttl_s: int) -> None:
        """Says that a worker is online: a hash that expires unless it is written again.

        Raises:
            ResultsUnavailable: no answer.
        """
        key = self.keys.worker(name)

        def write(client: Any) -> None:
            pipe = client.pipeline(transaction=True)  # never a hash without its expiry
            pipe.hset(key, mapping=fields)
            pipe.expire(key, ttl_s)
            pipe.execute()

        self._server.ask(write)

    def close(self) -> None:
        """Closes the connection."""
        self._server.close()


def _word(answer: list[bytes]) -> str:
    word, detail = answer[0].decode(), answer[1].decode(errors="replace")
    return f"error: {detail}" if word == "error" else word
