"""A line to be broken: one camera, null workers in processes of their own, and a real Redis that survives a crash."""

import os
import random
import signal
import time
import uuid
from collections.abc import Callable, Sequence
from functools import partial
from multiprocessing.process import BaseProcess
from pathlib import Path
from types import TracebackType

import numpy as np
from pydantic import SecretStr

from model.engine import Engine, Inspection
from model.images import Image
from producers.publisher import FramePublisher, PublisherSettings
from producers.settings import Policy
from worker.bench.null import RECIPE, NullEngine, NullPipeline, null_infer, start_null_worker
from worker.demo.processes import Processes, free_ports, signals_put_off
from worker.errors import WorkerError
from worker.settings import CameraSettings, WorkerSettings

CAMERA = "bench"
DEFECTS = 1 / 3
SIDE = 16  # pixels: what travels is of no account here
PATIENCE_S = 30.0
SETTLED_S = 0.06  # by then the publisher has heard what a stopped worker had said: each message wakes its thread

Worker = tuple[str, str]
"""A worker's name and incarnation."""


class Rig:
    """The line. A context manager: nothing that it starts outlives it. One thread, but for `capture`.

    Args:
        folder: for Redis's append-only file and the logs.
        workers: how many.
        seed: of the pictures.
        policy: of the camera, when too much is unanswered.
        retain_frames: likewise.
        slow_ms: a batch takes a random time up to this, so that frames are in hand whenever a worker is killed.
    """

    def __init__(
        self, folder: Path, *, workers: int, seed: int, policy: Policy, retain_frames: int, slow_ms: float
    ) -> None:
        self._redis_port, work, live = free_ports(3)
        self.line = "bench"
        self.url = f"redis://127.0.0.1:{self._redis_port}/0"
        self._work = f"tcp://127.0.0.1:{work}"
        self._publisher_settings = PublisherSettings(
            camera=CAMERA,
            work=self._work,
            live=f"tcp://127.0.0.1:{live}",
            recipe=RECIPE,
            policy=policy,
            retain_frames=retain_frames,
            heartbeat_s=2.0,
        )
        self._processes = Processes(folder)
        self._build = partial(_slow_pipeline, slow_ms)
        self._pixels = random.Random(seed)  # noqa: S311 - draws pictures
        self.scores: dict[str, float] = {}
        self.redis_up = False
        self._names = [f"w{number + 1}" for number in range(workers)]
        self._workers: list[BaseProcess | None] = [None] * workers
        self._dead: set[Worker] = set()

    def __enter__(self) -> "Rig":
        try:
            self.publisher = FramePublisher(self._publisher_settings)
            self.start_redis()
            for number in range(len(self._workers)):
                self.await_worker(number)
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for process in self._workers:
            if process is not None and process.is_alive():
                process.kill()
                process.join()
        if hasattr(self, "publisher"):
            self.publisher.close()
        self._processes.__exit__(kind, error, trace)

    # -- frames ------------------------------------------------------------------------------------------------------

    def capture(self) -> None:
        """Publishes one frame, a third of them defects, and notes what the null engine says of its pixels."""
        defect = self._pixels.random() < DEFECTS
        level = self._pixels.randrange(128, 256) if defect else self._pixels.randrange(128)
        image = np.full((SIDE, SIDE, 3), level, np.uint8)
        frame = self.publisher.publish(image)
        (inspection,) = null_infer([(NullEngine(), image)])
        self.scores[str(frame)] = inspection.score

    # -- workers -----------------------------------------------------------------------------------------------------

    def start_worker(self, number: int) -> None:
        """Starts a worker; it isn't here at once."""
        settings = WorkerSettings(
            line=self.line,
            redis=SecretStr(self.url),
            cameras={CAMERA: CameraSettings(endpoint=self._work, recipe=RECIPE)},
            name=self._names[number],
            ping_s=0.5,
            log_level="error",
        )
        with signals_put_off():
            self._workers[number] = start_null_worker(settings, self._build)

    def rename_worker(self, number: int) -> None:
        """Its next start is under a name of its own, as a scheduler gives it to whatever stands in for another."""
        self._names[number] = f"w{number + 1}-{uuid.uuid4().hex[:8]}"

    def in_hand(self, number: int) -> set[str] | None:
        """Frames that this worker was sent and hasn't answered; None while it isn't here."""
        for worker, frames in self.publisher.in_hand().items():
            if worker[0] == self._names[number] and worker not in self._dead:
                return frames
        return None

    def await_worker(self, number: int) -> None:
        """Waits until the publisher knows it.

        Raises:
            WorkerError: it does not come, or it has ended by itself.
        """
        self.wait(lambda: self.in_hand(number) is not None, f"worker {self._names[number]} does not come")

    def kill_holding(self, number: int) -> bool:
        """Kills a worker if it holds a frame at that very moment; otherwise it goes on.

        It is stopped first, so that it can't answer between the look and the kill. What counts as held was sent
        before that, and is unanswered once everything that it had said is heard.
        """
        process = self._workers[number]
        before = self.in_hand(number)
        if process is None or process.pid is None or not before:
            return False
        os.kill(process.pid, signal.SIGSTOP)
        time.sleep(SETTLED_S)
        if not before & (self.in_hand(number) or set()):
            os.kill(process.pid, signal.SIGCONT)
            return False
        self._dead |= {worker for worker in self.publisher.in_hand() if worker[0] == self._names[number]}
        os.kill(process.pid, signal.SIGKILL)
        process.join()
        self._workers[number] = None
        return True

    def stop_workers(self) -> None:
        """Asks them to drain and leave."""
        for process in self._workers:
            if process is not None:
                process.terminate()
        for process in self._workers:
            if process is not None:
                process.join(PATIENCE_S)

    # -- Redis -------------------------------------------------------------------------------------------------------

    def kill_redis(self) -> None:
        """Ends Redis as a crash does."""
        self._processes.kill("redis")
        self.redis_up = False

    def start_redis(self) -> None:
        """Starts Redis with what it had, waits until it answers, and starts the workers that are not running."""
        self._processes.redis(self._redis_port, "--appendonly", "yes", "--appendfsync", "always")
        self.redis_up = True
        for number, process in enumerate(self._workers):
            if process is None:
                self.start_worker(number)

    # -- time --------------------------------------------------------------------------------------------------------

    def wait(self, condition: Callable[[], bool], otherwise: str, patience_s: float = PATIENCE_S) -> None:
        """Waits for something to become true.

        Raises:
            WorkerError: it does not, or a worker has ended by itself.
        """
        ends = time.monotonic() + patience_s
        while not condition():
            self.expect_alive()
            if time.monotonic() > ends:
                raise WorkerError(otherwise)
            time.sleep(0.002)

    def expect_alive(self) -> None:
        """Raises `WorkerError` if a worker has ended by itself."""
        for name, process in zip(self._names, self._workers, strict=True):
            if process is not None and not process.is_alive():
                raise WorkerError(f"worker {name} ended by itself, exit code {process.exitcode}")

    def running(self, number: int) -> bool:
        """Whether this worker has been started, and not killed since."""
        return self._workers[number] is not None


def _slow_pipeline(slow_ms: float, settings: WorkerSettings) -> NullPipeline:
    """A null worker whose batches take a random time."""

    def infer(frames: Sequence[tuple[Engine, Image]]) -> list[Inspection]:
        time.sleep(random.uniform(0, slow_ms) / 1000)  # noqa: S311 - a pause
        return null_infer(frames)

    return NullPipeline(settings, infer=infer)
