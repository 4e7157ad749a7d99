"""`sightline bench away`: Redis is away for a while, the camera goes on, and every frame still has one verdict."""

import tempfile
import threading
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from worker.bench.faults import Progress
from worker.bench.rig import Rig
from worker.bench.tally import Tally, stored_entries, tally

AROUND_S = 2.0  # captured before Redis goes, and after it is back
RETAIN_FRAMES = 512  # as every camera by default
SLOW_MS = 6.0


@dataclass(frozen=True)
class AwayReport:
    """What came of it.

    Attributes:
        tally: frames against verdicts, counted in the stream.
        held: verdicts that waited when Redis came back, at most.
        drained_s: from the start of the Redis that comes back until the last frame captured before it had its verdict.
        longest_gap_ms: between two calls of `publish`: whether the camera ever stopped.
        longest_publish_ms: that one call took: whether it was the line that stopped it, or this machine.
    """

    tally: Tally
    held: int
    drained_s: float
    longest_gap_ms: float
    longest_publish_ms: float

    def to_json(self) -> dict[str, Any]:
        """For machines."""
        return {
            **asdict(self.tally),
            "held": self.held,
            "drained_s": round(self.drained_s, 2),
            "longest_gap_ms": round(self.longest_gap_ms, 1),
            "longest_publish_ms": round(self.longest_publish_ms, 1),
        }


class Capture:
    """A camera that captures at a steady rate in a thread of its own, and notes when. A context manager.

    Args:
        rig: the line.
        rate: frames a second.
    """

    def __init__(self, rig: Rig, rate: float) -> None:
        self.longest_gap_s = self.longest_publish_s = 0.0
        self._rig, self._period_s = rig, 1 / rate
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="capture", daemon=True)

    def __enter__(self) -> "Capture":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        due = last = time.monotonic()
        while not self._stop.wait(max(0.0, due - time.monotonic())):
            now = time.monotonic()
            self.longest_gap_s, last = max(self.longest_gap_s, now - last), now
            self._rig.capture()
            self.longest_publish_s = max(self.longest_publish_s, time.monotonic() - now)
            due += self._period_s


def run_away(
    seconds: float, rate: float, *, seed: int, progress: Progress = lambda what, done, total: None
) -> AwayReport:
    """Runs a line of its own whose Redis is killed and comes back so much later.

    Args:
        seconds: that Redis is away.
        rate: frames a second.
        seed: of the pictures.
        progress: told `what, done, total`.

    Raises:
        ResultsUnavailable: there is no redis-server.
        WorkerError: the worker ended by itself.
    """
    total = int((seconds + 2 * AROUND_S) * rate)
    with (
        tempfile.TemporaryDirectory(prefix="sightline-bench-") as folder,
        Rig(
            Path(folder), workers=1, seed=seed, policy="drop_oldest", retain_frames=RETAIN_FRAMES, slow_ms=SLOW_MS
        ) as rig,
    ):

        def pass_by(seconds: float) -> None:
            ends = time.monotonic() + seconds
            while (left := ends - time.monotonic()) > 0:
                rig.expect_alive()
                progress("frames", len(rig.scores), total)
                time.sleep(min(left, 0.1))

        with Capture(rig, rate) as capture:
            pass_by(AROUND_S)
            rig.kill_redis()
            pass_by(seconds)
            held = rig.publisher.counts()["open"]
            back_ns = time.time_ns()  # before: verdicts may be drained by the time that we see that it answers
            rig.start_redis()
            pass_by(AROUND_S)
        rig.publisher.drain(60.0)
        rig.stop_workers()
        entries = stored_entries(rig.url, rig.line)
        waited = [entry.stored_ms for entry in entries if entry.captured_ns < back_ns]
        return AwayReport(
            tally=tally(entries, rig.scores),
            held=held,
            drained_s=max(0.0, max(waited, default=0) / 1e3 - back_ns / 1e9),
            longest_gap_ms=capture.longest_gap_s * 1000,
            longest_publish_ms=capture.longest_publish_s * 1000,
        )
