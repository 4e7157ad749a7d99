"""Processes that send bursts of frames when they are told to: a publisher, and plain sockets to compare it with.

No torch in here: a publisher's memory is measured as it is beside a camera.
"""

import time
from collections.abc import Callable
from multiprocessing.connection import Connection

import numpy as np
import zmq

from producers.daemon import configure_logging
from producers.frame import Image
from producers.memory import collect_garbage_rarely, keep_freed_memory
from producers.publisher import FramePublisher, PublisherSettings
from worker.bench.child import PATIENCE_S, Child, serve
from worker.errors import WorkerError

SHAPE = (256, 256, 3)
SLOWEST_FPS = 20.0  # slower than this a burst is given up: something hangs

Burst = Callable[[int], int]
"""Sends or takes so many frames; returns how many of them it could not."""


class Burster(Child):
    """A process of its own that does a burst whenever it is told to: it runs `publish`, `push` or `pull`."""

    _patience_s = PATIENCE_S

    def ready(self) -> None:
        """Waits until it is up.

        Raises:
            WorkerError: it ended, or is not up in time.
        """
        self.answer()

    def begin(self, frames: int) -> None:
        """Tells it to begin a burst."""
        self._patience_s = PATIENCE_S + frames / SLOWEST_FPS
        self.tell(frames)

    def finish(self) -> None:
        """Waits for the end of the burst.

        Raises:
            WorkerError: it ended, or hangs, or could not do all frames.
        """
        left = self.answer(self._patience_s)
        if left:
            raise WorkerError(f"the {self.name} could not do {left} frames of its burst")


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
        collect_garbage_rarely()  # likewise

        def burst(frames: int) -> int:
            image = picture()
            for _ in range(frames):
                publisher.publish(image, copy=False)  # as `sightline camera` does, and `push` below
            return publisher.drain(PATIENCE_S)

        serve(pipe, burst)


def push(endpoint: str, parts: list[bytes], pipe: Connection) -> None:
    """Sends the same message over a plain PUSH socket; a burst ends when the last one is handed over."""
    with zmq.Context() as context, context.socket(zmq.PUSH) as socket:
        socket.setsockopt(zmq.LINGER, 0)
        socket.connect(endpoint)

        def burst(frames: int) -> int:
            for _ in range(frames):
                socket.send_multipart(parts, copy=False)
            return 0

        serve(pipe, burst)


def pull(endpoint: str, pipe: Connection) -> None:
    """Takes messages from a plain PULL socket; a burst ends when the last one is here."""
    with zmq.Context() as context, context.socket(zmq.PULL) as socket:
        socket.bind(endpoint)

        def burst(frames: int) -> int:
            for _ in range(frames):
                socket.recv_multipart()
            return 0

        serve(pipe, burst)


def picture() -> Image:
    """What every burst sends: `SHAPE`, uint8, black."""
    return np.zeros(SHAPE, np.uint8)
