"""The engine alone, in a process of its own: what the line around it is held to.

From raw bytes, as a worker has them: checksum and decoding, the bundle's input contract, the network, the score.
"""

import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np

from model.engine import infer
from model.errors import ContractError, ModelError
from producers.daemon import configure_logging
from producers.errors import BadFrame
from producers.frame import Frame, FrameTag, Picture, decode, frame_of
from producers.memory import keep_freed_memory
from worker.bench.child import serve
from worker.errors import WorkerError
from worker.recipes import Recipe, load_recipes

SESSION = "00000000-0000-0000-0000-000000000000"
WARM = 2


@dataclass(frozen=True)
class EverySize:
    """Measure each size of a batch.

    Attributes:
        sizes: frames in a batch.
        rounds: in turns, so that a noisy machine is noisy for all; the median counts.
    """

    sizes: tuple[int, ...]
    rounds: int


@dataclass(frozen=True)
class Steady:
    """Inspect batches of one size for a while."""

    size: int
    seconds: float


@dataclass(frozen=True)
class Alone:
    """What a steady run came to.

    Attributes:
        fps: frames a second.
        cpu_us: microseconds of processor time a frame.
        decode_us: of them, for checksum, decoding and contract.
    """

    fps: float
    cpu_us: float
    decode_us: float


class Bench:
    """The engine and frames to inspect, each raw bytes with a header."""

    def __init__(self, recipe: Recipe, frames: Sequence[Frame]) -> None:
        self._recipe, self._frames, self._next = recipe, frames, 0
        self._decode_s = 0.0

    def inspect(self, size: int) -> None:
        """One batch, all the way from bytes to scores.

        Raises:
            WorkerError: a picture does not keep the bundle's contract.
        """
        contract, engine = self._recipe.manifest.contract, self._recipe.engine
        images, started_s = [], time.thread_time()
        for _ in range(size):
            frame = self._frames[self._next % len(self._frames)]
            self._next += 1
            try:
                images.append(decode(frame.header, frame.payload))
                contract.check(images[-1])
            except (BadFrame, ContractError) as error:
                raise WorkerError(f"these pictures are none for {self._recipe.label}: {error}") from error
        self._decode_s += time.thread_time() - started_s
        infer([(engine, image) for image in images])

    def every_size(self, order: EverySize) -> dict[int, float]:
        """Median seconds of a batch, by size."""
        times: dict[int, list[float]] = {size: [] for size in order.sizes}
        for _ in range(WARM + order.rounds):
            for size, taken in times.items():
                started = time.perf_counter()
                self.inspect(size)
                taken.append(time.perf_counter() - started)
        return {size: statistics.median(taken[WARM:]) for size, taken in times.items()}

    def steady(self, order: Steady) -> Alone:
        """Frames a second, and what each costs."""
        frames, started, cpu, self._decode_s = 0, time.perf_counter(), time.process_time(), 0.0
        while time.perf_counter() - started < order.seconds:
            self.inspect(order.size)
            frames += order.size
        took = time.perf_counter() - started
        return Alone(frames / took, (time.process_time() - cpu) / frames * 1e6, self._decode_s / frames * 1e6)

    def label(self) -> str:
        """The bundle, and the device that it runs on."""
        return f"{self._recipe.label} on {self._recipe.engine.device}"


def stand_by(
    recipes: Path, recipe: str, pictures: Path, color: str, device: str, engine: str, max_batch: int, pipe: Connection
) -> None:
    """What the process runs: it loads and warms a bundle as a worker does, then measures whatever it is told to.

    Args:
        recipes: folder of bundles.
        recipe: the one to measure.
        pictures: `.npy`, `(n, H, W, C)`.
        color: of them.
        device: as a worker's setting, like `engine` and `max_batch`.
        engine: likewise.
        max_batch: likewise.
        pipe: brings `EverySize` or `Steady`, or None to ask for a label.
    """
    configure_logging("warning")
    keep_freed_memory()
    try:
        bench: Bench | WorkerError = _open(recipes, recipe, pictures, color, device, engine, max_batch)
    except ModelError as error:
        bench = WorkerError(str(error))

    def do(order: EverySize | Steady | None) -> object:
        if isinstance(bench, WorkerError):
            raise bench
        if order is None:
            return bench.label()
        return bench.every_size(order) if isinstance(order, EverySize) else bench.steady(order)

    serve(pipe, do)


def _open(recipes: Path, recipe: str, pictures: Path, color: str, device: str, engine: str, max_batch: int) -> Bench:
    images = np.load(pictures)
    shape = (*images.shape[1:], 1)[:3]
    picture = Picture.model_validate({"encoding": "raw", "shape": shape, "dtype": images.dtype.name, "color": color})
    tag = FrameTag(camera="bench", session=SESSION, seq=0, captured_ns=0, recipe=recipe, simulated=True)
    frames = [frame_of(tag, picture, image.tobytes()) for image in images]
    ready = load_recipes(recipes, [recipe], device=device, engine=engine, max_batch=max_batch)[recipe]
    return Bench(ready, frames)
