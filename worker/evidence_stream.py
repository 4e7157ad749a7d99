"""Pictures of rejected parts in Redis, for dashboards that see no disk: the stream `{line}:evidence`, bounded by bytes.

An entry has `id, reason, verdict` (JSON) and `png`. What verdicts need of Redis's memory must be there beside it.
"""

import time
from collections.abc import Callable
from importlib.resources import files

from producers.frame import FrameId
from worker.errors import ResultsUnavailable
from worker.line import LineKeys, Server
from worker.settings import WorkerSettings
from worker.verdict import Reason

KEEP = files("worker").joinpath("evidence.lua").read_text(encoding="utf-8")
REST_S = 5.0  # after a failure Redis is not asked: what waits for the disk must not wait for its timeouts


class EvidenceStream:
    """Keeps the newest pictures of a line within so many bytes, whichever worker they are of. One thread at a time.

    Args:
        url: of Redis.
        line: name of the line.
        timeout_s: for one answer.
        max_bytes: of pictures and their verdicts; beyond that the oldest leave.
        keep_s: older ones leave, too; without new ones, all of them.
        clock: monotonic seconds.
    """

    fault = "redis"

    def __init__(
        self,
        url: str,
        line: str,
        *,
        timeout_s: float,
        max_bytes: int,
        keep_s: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._server, self._key, self._clock = Server(url, timeout_s=timeout_s), LineKeys(line).evidence, clock
        self._max_bytes, self._keep_ms = max_bytes, int(keep_s * 1000)
        self._rests_until = 0.0

    @classmethod
    def of(cls, settings: WorkerSettings) -> "EvidenceStream":
        """That of a worker's settings. Not connected yet."""
        return cls(
            settings.redis.get_secret_value(),
            settings.line,
            timeout_s=settings.redis_timeout_s,
            max_bytes=settings.evidence_max_bytes,
            keep_s=settings.keep_results_s,
        )

    def keep(self, frame: FrameId, reason: Reason, *, png: bytes, line: bytes) -> bool:
        """Writes one picture, and lets the oldest go if need be. Returns False if it is too large to be kept.

        Args:
            frame: that it is of.
            reason: that the frame was rejected for.
            png: the picture.
            line: its verdict, JSON.

        Raises:
            ResultsUnavailable: no answer, or one of late. The picture may have been written.
        """
        if len(png) + len(line) > self._max_bytes:
            return False
        if self._clock() < self._rests_until:
            raise ResultsUnavailable("Redis gave no answer a moment ago")
        args = [self._max_bytes, self._keep_ms, str(frame), reason.word, line, png]
        try:
            self._server.run_script(KEEP, keys=[self._key], args=args, replicas=0)
        except ResultsUnavailable:
            self._rests_until = self._clock() + REST_S
            raise
        return True

    def close(self) -> None:
        """Closes the connection."""
        self._server.close()
