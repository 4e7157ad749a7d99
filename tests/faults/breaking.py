"""Null workers that break at a step of their own choosing. Each `build` runs in the worker's process.

The steps of a frame within a worker, in order: `STEPS`.
"""

import signal
import threading
import time
from collections.abc import Callable, Sequence
from typing import Literal, get_args

from model.engine import Engine, Inspection
from model.images import Image
from worker.batcher import ReceivedFrame
from worker.bench.null import NullPipeline, null_infer
from worker.link import GoneFrame
from worker.settings import WorkerSettings
from worker.sink import Judged, ResultSink

Step = Literal["received", "batched", "inferred", "before the write", "after the write"]
STEPS: tuple[Step, ...] = get_args(Step)

Watch = Callable[[Step, int], None]
"""Called at each step with the number of frames that pass it."""


class WatchedSink(ResultSink):
    """A sink that says when it writes."""

    watch: Watch = staticmethod(lambda step, frames: None)

    def store(self, judged: Sequence[Judged]) -> list[str]:
        self.watch("before the write", len(judged))
        answers = super().store(judged)
        self.watch("after the write", len(judged))
        return answers


class WatchedPipeline(NullPipeline):
    """A null worker that says where its frames are."""

    def __init__(self, settings: WorkerSettings, watch: Watch) -> None:
        def infer(frames: Sequence[tuple[Engine, Image]]) -> list[Inspection]:
            watch("batched", len(frames))
            inspections = null_infer(frames)
            watch("inferred", len(frames))
            return inspections

        sink = WatchedSink.of(settings)
        assert isinstance(sink, WatchedSink)
        sink.watch = watch
        super().__init__(settings, sink=sink, infer=infer)
        deliver = self.intake._deliver

        def watched(items: list[ReceivedFrame | GoneFrame]) -> None:
            if frames := sum(isinstance(item, ReceivedFrame) for item in items):
                watch("received", frames)
            deliver(items)

        self.intake._deliver = watched


def signalled(settings: WorkerSettings, *, step: Step, number: int, after: int) -> NullPipeline:
    """A worker that sends itself a signal once, when its `after`-th frame is at a step."""
    seen = 0

    def watch(where: Step, frames: int) -> None:
        nonlocal seen
        if where == step:
            before, seen = seen, seen + frames
            if before < after <= seen:
                signal.pthread_kill(threading.get_ident(), number)  # to this thread: it goes no further

    return WatchedPipeline(settings, watch)


def failing(settings: WorkerSettings) -> NullPipeline:
    """A worker whose engine fails on every frame, at once."""

    def watch(where: Step, frames: int) -> None:
        if where == "batched":
            raise RuntimeError("no such device")

    return WatchedPipeline(settings, watch)


def slow(settings: WorkerSettings, *, batch_s: float) -> NullPipeline:
    """A worker whose engine needs so long for a batch."""

    def watch(where: Step, frames: int) -> None:
        if where == "batched":
            time.sleep(batch_s)

    return WatchedPipeline(settings, watch)


def clock_stepped(settings: WorkerSettings, *, step_s: float, after: int) -> NullPipeline:
    """A worker whose wall clock jumps once it has received so many frames."""
    seen = 0

    def watch(where: Step, frames: int) -> None:
        nonlocal seen
        if where == "received":
            seen += frames
            if seen == after:
                step_wall_clock(step_s)

    return WatchedPipeline(settings, watch)


def step_wall_clock(step_s: float) -> None:
    """Makes the wall clock of this process jump; its monotonic clock goes on."""
    time_ns, seconds = time.time_ns, time.time
    time.time_ns = lambda: time_ns() + int(step_s * 1e9)
    time.time = lambda: seconds() + step_s
