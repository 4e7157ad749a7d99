"""`sightline bench faults`: workers and Redis are killed again and again, and every frame still has one verdict."""

import random
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from enum import IntEnum
from pathlib import Path
from typing import Any

from worker.bench.rig import Rig
from worker.bench.tally import Tally, stored_entries, tally
from worker.errors import WorkerError

WORKERS = 2
KILLS = 20  # of each worker, in runs of 1,000 frames and more
RESTARTS = 3
FRAMES_A_KILL = 50  # so many at least for each time that one worker is killed
RETAIN_FRAMES = 64  # the camera keeps close to its workers: frames published are frames done, but for these
SLOW_MS = 10.0
FEED_S = 0.002

Progress = Callable[[str, int, int], None]


class What(IntEnum):
    """What is done to the line. At the same frame Redis comes back first."""

    REDIS_BACK = 0
    KILL = 1
    REDIS_DOWN = 2


@dataclass(frozen=True, order=True)
class Fault:
    """One blow, once so many frames are published.

    Attributes:
        at: frames.
        what: is done.
        worker: that is killed; 0 for Redis.
    """

    at: int
    what: What
    worker: int = 0


@dataclass(frozen=True)
class FaultReport:
    """What came of it.

    Attributes:
        tally: frames against verdicts, counted in the stream.
        worker_kills: each with at least one frame in hand.
        redis_restarts: each after a kill.
        resent: frames that had to be taken back from a worker.
        seconds: from the first frame to the last verdict.
    """

    tally: Tally
    worker_kills: int
    redis_restarts: int
    resent: int
    seconds: float

    def to_json(self) -> dict[str, Any]:
        """For machines."""
        return {
            **asdict(self.tally),
            "worker_kills": self.worker_kills,
            "redis_restarts": self.redis_restarts,
            "resent": self.resent,
            "seconds": round(self.seconds, 1),
            "fps": round(self.tally.frames / self.seconds, 1),
        }


def schedule(frames: int, rng: random.Random) -> list[Fault]:
    """When what happens, by frames published: at the same places in the run on every machine.

    Each worker is killed once every 50 frames, 20 times at most; Redis three times. The last tenth of the frames
    is left alone, so that there is always one left to be in hand.
    """
    first, last = frames // 20, frames * 9 // 10
    kills = max(1, min(KILLS, frames // FRAMES_A_KILL))
    faults = [Fault(rng.randrange(first, last), What.KILL, worker) for worker in range(WORKERS) for _ in range(kills)]
    part = (last - first) // RESTARTS
    for number in range(RESTARTS):
        down = first + number * part + rng.randrange(part // 2)
        back = down + 1 + rng.randrange(part // 4)
        faults += [Fault(down, What.REDIS_DOWN), Fault(back, What.REDIS_BACK)]
    return sorted(faults)


class FaultRun:
    """One run: publishes frames and deals the blows in between. One thread.

    Args:
        rig: the line.
        frames: to publish.
        rng: of everything that happens by chance.
        progress: told `what, done, total`.
    """

    def __init__(self, rig: Rig, frames: int, rng: random.Random, progress: Progress) -> None:
        self.rig, self.frames, self.rng, self.progress = rig, frames, rng, progress
        self.kills = self.restarts = 0

    def run(self) -> None:
        """Publishes all frames, deals all blows, waits for the last verdict.

        Raises:
            WorkerError: a worker ended by itself, or a blow could not be dealt.
        """
        faults = schedule(self.frames, self.rng)
        while len(self.rig.scores) < self.frames:
            while faults and faults[0].at <= len(self.rig.scores):
                self._deal(faults.pop(0))
            self.rig.expect_alive()
            self._publish()
        self._redis_back()
        self.rig.publisher.drain(60.0)
        self.rig.stop_workers()  # whatever a worker still had to say is in the stream before it is counted

    def _publish(self) -> None:
        self.rig.capture()
        self.progress("frames", len(self.rig.scores), self.frames)

    def _deal(self, fault: Fault) -> None:
        if fault.what is What.KILL:
            self._kill(fault.worker)
        elif fault.what is What.REDIS_DOWN:
            self._redis_down()
        else:
            self._redis_back()

    def _kill(self, worker: int) -> None:
        """Kills a worker with a frame in hand; it starts again under its own name or, as often, under another."""
        if not all(self.rig.running(number) for number in range(WORKERS)):
            self._redis_back()  # one waits for it; without another worker nobody would take frames
        self.rig.await_worker(worker)
        while not self.rig.kill_holding(worker):
            if self.rig.in_hand(worker) == set():
                self._publish_one_more()
                time.sleep(FEED_S)  # the other one takes some of them: a few go a long way, all at once do not
            self.rig.await_worker(worker)  # where nothing runs for seconds, it may count as dead and come again
        self.kills += 1
        if self.rng.random() < 0.5:
            self.rig.rename_worker(worker)
        if self.rig.redis_up:  # a worker does not start without
            self.rig.start_worker(worker)

    def _publish_one_more(self) -> None:
        if len(self.rig.scores) >= self.frames:
            raise WorkerError("the frames ran out before a worker could be killed with one in hand: run more frames")
        self._publish()

    def _redis_down(self) -> None:
        for worker in range(WORKERS):  # one that is still starting would end without Redis
            self.rig.await_worker(worker)
        self.rig.kill_redis()

    def _redis_back(self) -> None:
        if self.rig.redis_up:
            return
        self.rig.start_redis()
        self.restarts += 1


def run_faults(frames: int, *, seed: int, progress: Progress = lambda what, done, total: None) -> FaultReport:
    """Breaks a line of its own while it judges so many frames.

    Args:
        frames: 100 at least.
        seed: of pictures and blows; when exactly a blow falls is up to the machine.
        progress: told `what, done, total`.

    Raises:
        ResultsUnavailable: there is no redis-server.
        WorkerError: a worker ended by itself, or a blow could not be dealt.
    """
    rng = random.Random(seed)  # noqa: S311 - blows need no secrecy
    with (
        tempfile.TemporaryDirectory(prefix="sightline-bench-") as folder,
        Rig(
            Path(folder), workers=WORKERS, seed=seed, policy="block", retain_frames=RETAIN_FRAMES, slow_ms=SLOW_MS
        ) as rig,
    ):
        run = FaultRun(rig, frames, rng, progress)
        started = time.monotonic()
        run.run()
        return FaultReport(
            tally=tally(stored_entries(rig.url, rig.line), rig.scores),
            worker_kills=run.kills,
            redis_restarts=run.restarts,
            resent=rig.publisher.counts()["resent"],
            seconds=time.monotonic() - started,
        )
