"""Camera processes of `bench line`: frames come when a schedule says, not when the line is ready for them.

An arrival's time is fixed before anything is sent, on a clock that all processes of a machine share, and latency counts
from there: a camera that comes late to its own `publish`, for whatever reason, makes its frames late. Nothing that the
line does can move an arrival. No torch in here: a camera's memory is measured as it is beside a camera.
"""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from producers.daemon import configure_logging
from producers.frame import PartTag, Picture
from producers.memory import collect_garbage_rarely, keep_freed_memory
from producers.publisher import FramePublisher, PublisherSettings
from worker.bench.child import PATIENCE_S, serve

POLL_S = 0.001
LOOKS_A_WINDOW = 4  # in the time that the line takes for so many frames: each look costs time that the line needs
Times = NDArray[np.int64]


@dataclass(frozen=True)
class Captured:
    """The frames of one order: `seq` counts on from `first`.

    Attributes:
        camera: that captured them.
        session: of its publisher.
        first: seq of the first one.
        due_ns: when each was to be captured, UTC since the epoch.
        behind_ns: how much later `publish` was called.
        open: frames that still have no verdict, though the camera waited for them.
    """

    camera: str
    session: str
    first: int
    due_ns: Times
    behind_ns: Times
    open: int


class Camera:
    """A publisher and the pictures that it sends in turn."""

    def __init__(self, publisher: FramePublisher, payloads: list[bytes], picture: Picture) -> None:
        self.publisher = publisher
        self._pixels = (payloads[number % len(payloads)] for number in count())
        self._picture = picture

    @property
    def open(self) -> int:
        """Frames that have no stored verdict yet."""
        return self.publisher.counts()["open"]

    def capture(self, budget_ms: float | None) -> int:
        """Publishes the next picture. Returns its seq."""
        part = PartTag(budget_ms=budget_ms)
        return self.publisher.publish_payload(next(self._pixels), self._picture, part).seq


class Order(Protocol):
    """When frames are captured."""

    def captures(self, camera: Camera, /) -> Iterator[tuple[int, float | None]]:
        """Yields the monotonic time (ns) at which the next frame is due, and its budget, once it is that time."""


@dataclass(frozen=True)
class Poisson:
    """Open loop: arrivals are independent of each other and of the line.

    Attributes:
        starts_ns: monotonic.
        rate: frames a second, on average.
        seconds: that it goes on.
        budget_ms: of each frame.
        seed: of the schedule.
    """

    starts_ns: int
    rate: float
    seconds: float
    budget_ms: float | None
    seed: tuple[int, ...]

    def schedule(self) -> Times:
        """When each frame is due, monotonic ns."""
        rng, most = np.random.default_rng(self.seed), self.rate * self.seconds
        gaps = rng.exponential(1 / self.rate, int(most + 10 * most**0.5 + 10))  # ten deviations: more than enough
        offsets = np.cumsum(gaps)
        return self.starts_ns + (offsets[offsets < self.seconds] * 1e9).astype(np.int64)

    def captures(self, _: Camera, /) -> Iterator[tuple[int, float | None]]:
        """See `Order`. The line is not looked at."""
        for due_ns in self.schedule().tolist():
            time.sleep(max(0, due_ns - time.monotonic_ns()) / 1e9)
            yield due_ns, self.budget_ms


@dataclass(frozen=True)
class Saturate:
    """Closed loop: there is always a frame that waits.

    Attributes:
        seconds: that it goes on.
        window: frames without a verdict, all the time.
    """

    seconds: float
    window: int

    def captures(self, camera: Camera, /) -> Iterator[tuple[int, float | None]]:
        """See `Order`."""
        begins, sent = time.monotonic(), 0
        ends = begins + self.seconds
        while (now := time.monotonic()) < ends:
            if camera.open < self.window:
                sent += 1
                yield int(now * 1e9), None
            else:
                frame_s = (now - begins) / max(1, sent)
                time.sleep(min(ends - now, max(POLL_S, frame_s * self.window / LOOKS_A_WINDOW)))


@dataclass(frozen=True)
class OneByOne:
    """An idle line: each frame comes a while after the one before has its verdict.

    Attributes:
        seconds: that it goes on at most.
        frames: likewise.
        gap_s: between a verdict and the next frame.
    """

    seconds: float
    frames: int
    gap_s: float

    def captures(self, camera: Camera, /) -> Iterator[tuple[int, float | None]]:
        """See `Order`."""
        ends = time.monotonic() + self.seconds
        for _ in range(self.frames):
            while camera.open and time.monotonic() < ends:
                time.sleep(POLL_S)
            time.sleep(self.gap_s)
            if time.monotonic() >= ends:
                return
            yield time.monotonic_ns(), None


def stand_by(settings: PublisherSettings, pictures: Path, color: str, pipe: Connection) -> None:
    """What a camera's process runs: one publisher that does one order after another.

    Args:
        settings: of the publisher.
        pictures: `.npy`, `(n, H, W, C)`: what it sends.
        color: of them.
        pipe: brings orders, takes `Captured`.
    """
    configure_logging("error")  # what becomes of a frame is counted: nobody reads it here
    keep_freed_memory()  # as `sightline camera` does
    images = np.load(pictures)
    shape = (*images.shape[1:], 1)[:3]
    picture = Picture.model_validate({"encoding": "raw", "shape": shape, "dtype": images.dtype.name, "color": color})
    payloads = [image.tobytes() for image in images]
    with FramePublisher(settings) as publisher:
        collect_garbage_rarely()  # likewise
        camera = Camera(publisher, payloads, picture)
        serve(pipe, lambda order: carry_out(order, camera))


def carry_out(order: Order, camera: Camera, *, patience_s: float = PATIENCE_S / 2) -> Captured:
    """Captures what an order says, then waits for the verdicts.

    Args:
        order: when frames are due.
        camera: that captures them.
        patience_s: to wait without a frame judged or stored.
    """
    epoch_ns = time.time_ns() - time.monotonic_ns()  # the two clocks of one machine; read once an order
    due, behind, seqs = list[int](), list[int](), list[int]()
    for due_ns, budget_ms in order.captures(camera):
        behind.append(time.monotonic_ns() - due_ns)
        seqs.append(camera.capture(budget_ms))
        due.append(due_ns + epoch_ns)
    left = camera.publisher.drain(patience_s)
    first = seqs[0] if seqs else 0
    times = (np.array(due, np.int64), np.array(behind, np.int64))
    return Captured(camera.publisher.settings.camera, camera.publisher.session, first, *times, left)
