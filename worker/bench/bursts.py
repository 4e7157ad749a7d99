"""Processes that send bursts of frames when they are told to: a publisher, and plain sockets to compare it with.

No torch in here: a publisher's memory is measured as it is beside a camera.
"""

import contextlib
import multiprocessing
import signal
import time
from collections.abc import Callable
from multiprocessing.connection import Connection

import numpy as np
import zmq

from producers.daemon import configure_logging
from producers.frame import Image
from producers.memory import keep_freed_memory
from producers.publisher import FramePublisher, PublisherSettings
from worker.errors import WorkerError

SHAPE = (256, 256, 3)
PATIENCE_S = 60.0
SLOWEST_FPS = 20.0  # slower than this a burst is given up: something hangs

Burst = Callable[[int], int]
"""Sends or takes so many frames; returns how many of them it could not."""


class Burster:
    """A process of its own that does a burst whenever it is told to. Use it from one thread; a context manager.

    Args:
        name: for errors.
        run: what the process runs: `publish`, `push` or `pull`.
        args: of `run`, without the pipe, which comes last.
    """

    def __init__(self, name: str, run: Callable[..., None], *args: object) -> None:
        context = multiprocessing.get_context("spawn")  # nothing of this process's memory is in the one that's measured
        self.name = name
        self._pipe, theirs = context.Pipe()
        self.process = context.Process(target=run, args=(*args, theirs), daemon=True)
        self.process.start()
        theirs.close()  # so that the pipe breaks when the process does
        self._ends = 0.0

    def __enter__(self) -> "Burster":
        return self

    def __exit__(self, *_: object) -> None:
        self._pipe.close()
        self.process.join(PATIENCE_S / 6)
        if self.process.is_alive():
            self.process.kill()
        self.process.join()

    @property
    def pid(self) -> int:
        """Of the process."""
        return self.process.pid or 0

    def ready(self) -> None:
        """Waits until it is up.

        Raises:
            WorkerError: it ended, or is not up in time.
        """
        self._answer(time.monotonic() + PATIENCE_S)

    def begin(self, frames: int) -> None:
        """Tells it to begin a burst."""
        self._ends = time.monotonic() + PATIENCE_S + frames / SLOWEST_FPS
        self._pipe.send(frames)

    def finish(self) -> None:
        """Waits for the end of the burst.

        Raises:
            WorkerError: it ended, or hangs, or could not do all frames.
        """
        left = self._answer(self._ends)
        if left:
            raise WorkerError(f"the {self.name} could not do {left} frames of its burst")

    def _answer(self, ends: float) -> int:
        try:
            if not self._pipe.poll(max(0.0, ends - time.monotonic())):
                raise WorkerError(f"the {self.name} does not get on with its burst")
            left: int = self._pipe.recv()
        except EOFError as error:
            raise WorkerError(f"the {self.name} has ended: what it said is above") from error
        return left


def seconds(frames: int, *bursters: Burster) -> float:
    """How long a burst takes, until all that take part are done. Those who receive come first."""
    started = time.perf_counter()
    for burster in bursters:
        burster.begin(frames)
    for burster in bursters:
        burster.finish()
    return time.perf_counter() - started


def publish(settings: PublisherSettings, pipe: Connection) -> None:
    """Publishes pictures; a burst ends when every frame's verdict is stored."""
    configure_logging("warning")
    keep_freed_memory()  # as `sightline camera` does
    with FramePublisher(settings) as publisher:

        def burst(frames: int) -> int:
            image = picture()
            for _ in range(frames):
                publisher.publish(image)
            return publisher.drain(PATIENCE_S)

        _serve(pipe, burst)


def push(endpoint: str, parts: list[bytes], pipe: Connection) -> None:
    """Sends the same message over a plain PUSH socket; a burst ends when the last one is handed over."""
    with zmq.Context() as context, context.socket(zmq.PUSH) as socket:
        socket.setsockopt(zmq.LINGER, 0)
        socket.connect(endpoint)

        def burst(frames: int) -> int:
            for _ in range(frames):
                socket.send_multipart(parts, copy=False)
            return 0

        _serve(pipe, burst)


def pull(endpoint: str, pipe: Connection) -> None:
    """Takes messages from a plain PULL socket; a burst ends when the last one is here."""
    with zmq.Context() as context, context.socket(zmq.PULL) as socket:
        socket.bind(endpoint)

        def burst(frames: int) -> int:
            for _ in range(frames):
                socket.recv_multipart()
            return 0

        _serve(pipe, burst)


def picture() -> Image:
    """What every burst sends: `SHAPE`, uint8, black."""
    return np.zeros(SHAPE, np.uint8)


def _serve(pipe: Connection, burst: Burst) -> None:
    """Does bursts until the other end of the pipe is closed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the bench, which ends this process by its pipe
    with contextlib.suppress(EOFError, OSError):  # the other end has closed the pipe, or is no more
        pipe.send(0)
        while True:
            frames: int = pipe.recv()
            pipe.send(burst(frames))
