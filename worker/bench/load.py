"""`sightline bench line`: the whole line under open-loop load, beside its own engine alone, in one run."""

import platform
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import psutil

from worker.bench.alone import Alone, EverySize, Steady
from worker.bench.arrivals import Captured, OneByOne, Poisson, Saturate
from worker.bench.child import PATIENCE_S
from worker.bench.harvest import Entry, Outcome, outcome
from worker.bench.stage import WORKER, Stage, StageSettings
from worker.bench.usage import Usage, cpu_by_thread
from worker.errors import WorkerError

PAIRS = 3  # of the engine alone and the saturated line
ROUNDS = 15
BUDGET_BATCHES = 4  # a budget, if nobody names one: so many of the largest batches, and
LEAST_BUDGET_MS = 50.0
WARM = 0.2  # of a time that is measured, before it
IDLE_FRAMES = 300
AHEAD_S = 0.3  # all cameras have their order before the first frame is due
START_SHARE = 0.25  # of a saturated stretch, until every batch is full
MIB = 2**20

Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class LoadSettings:
    """What the line is put through.

    Attributes:
        loads: shares of the capacity.
        rate: frames a second that load 1 stands for; None: what the engine does alone at its best size of a batch.
        budget_ms: of each frame under load; None: four of the largest batches.
        seconds: of each load; all else takes a part of that.
    """

    loads: tuple[float, ...] = (0.5, 0.8, 1.0, 1.5)
    rate: float | None = None
    budget_ms: float | None = None
    seconds: float = 8.0


@dataclass(frozen=True)
class Spent:
    """What a process used meanwhile."""

    cpu_s: float
    resident_start_mib: float
    resident_end_mib: float


@dataclass(frozen=True)
class Load:
    """What one load came to. Its warm-up is counted nowhere but in the run's `missing` and `duplicates`.

    Attributes:
        load: share of the capacity that was asked for.
        offered_fps: frames a second that were due.
        achieved_fps: that were judged, late ones too.
        in_time_fps: that were judged and stored within their budget.
        outcome: of the frames.
        processes: of the line, warm-up included.
    """

    load: float
    offered_fps: float
    achieved_fps: float
    in_time_fps: float
    outcome: Outcome
    processes: dict[str, Spent]

    def to_json(self) -> dict[str, Any]:
        """For machines."""
        flat = asdict(self)
        return {**flat.pop("outcome"), **flat}


@dataclass(frozen=True)
class Idle:
    """Frames one at a time, long gaps between them.

    Attributes:
        frames: how many.
        p50_ms: capture to stored.
        over_batch1: p50 over the engine's own time for one frame.
        stages_us: medians.
    """

    frames: int
    p50_ms: float
    over_batch1: float
    stages_us: dict[str, int]


@dataclass(frozen=True)
class Cost:
    """Processor time of the worker at a saturated line, microseconds a frame.

    Attributes:
        worker_us: of the whole process.
        engine_us: of the engine alone: decoding, contract, network, score.
        overhead_us: the difference.
        threads_us: the worker's, by thread; empty where the system does not tell.
    """

    worker_us: float
    engine_us: float
    overhead_us: float
    threads_us: dict[str, float]


@dataclass(frozen=True)
class LineBench:
    """What `sightline bench line` found.

    Attributes:
        model: bundle and device.
        machine: for people.
        settings: of the line.
        batch_ms: of the engine alone, by size of a batch: medians.
        engine_batch: the size with the most frames a second.
        engine_fps: frames a second of that size, the engine alone: median of the pairs.
        line_fps: verdicts a second of the saturated line: likewise.
        ratio: of the two: median of the pairs' own ratios.
        capacity_fps: what loads are shares of: `engine_fps`, or the rate that was asked for.
        budget_ms: of each frame under load.
        seconds: of each load.
        frames: that were captured in all.
        missing: of them, without a verdict.
        duplicates: verdicts too many.
        cost: of the worker.
        idle: the idle line.
        loads: the loaded line.
    """

    model: str
    machine: str
    settings: StageSettings
    batch_ms: dict[int, float]
    engine_batch: int
    engine_fps: float
    line_fps: float
    ratio: float
    capacity_fps: float
    budget_ms: float
    seconds: float
    frames: int
    missing: int
    duplicates: int
    cost: Cost
    idle: Idle
    loads: tuple[Load, ...]

    @property
    def whole(self) -> bool:
        """Whether each frame has exactly one verdict."""
        return not (self.missing or self.duplicates)

    def to_json(self) -> dict[str, Any]:
        """For machines."""
        settings = {
            key: str(value) if isinstance(value, Path) else value for key, value in asdict(self.settings).items()
        }
        cost = {"overhead_us": self.cost.overhead_us, "worker_cpu_us": self.cost.worker_us}
        cost |= {"engine_cpu_us": self.cost.engine_us}
        flat = {key: value for key, value in asdict(self).items() if key not in ("cost", "loads", "settings")}
        extra = {"batch1_ms": self.batch_ms[1], **cost, "threads_us": self.cost.threads_us}
        return {**flat, **extra, "settings": settings, "loads": [load.to_json() for load in self.loads]}


def bench_line(
    stage: StageSettings, load: LoadSettings, *, progress: Progress = lambda what, done, total: None
) -> LineBench:
    """Measures the engine alone, the saturated line, the idle line, and each load.

    Raises:
        DataError, BundleError: pictures or a bundle that can't be used.
        ResultsUnavailable: there is no redis-server.
        WorkerError: a process ended, or hangs.
    """
    with tempfile.TemporaryDirectory(prefix="sightline-bench-") as folder:
        progress("setting up", 0, 1)
        with Stage(stage, Path(folder)) as opened:
            progress("setting up", 1, 1)
            return LineRun(opened, load, progress).run()


class LineRun:
    """One run over a stage. One thread."""

    def __init__(self, stage: Stage, load: LoadSettings, progress: Progress) -> None:
        self.stage, self.load, self.progress = stage, load, progress

    def run(self) -> LineBench:
        """Everything, in the order in which it is shown."""
        stage, load = self.stage, self.load
        batch_s = self._every_size()
        best = max(batch_s, key=lambda size: size / batch_s[size])
        engine, line_fps, cost = self._pairs(best)
        ratio = statistics.median(fps / alone.fps for alone, fps in zip(engine, line_fps, strict=True))
        engine_fps = statistics.median(alone.fps for alone in engine)
        capacity = load.rate or engine_fps
        budget_ms = load.budget_ms or max(LEAST_BUDGET_MS, round(BUDGET_BATCHES * max(batch_s.values()) * 1000))
        idle = self._idle(batch_s[1])
        loads = tuple(self._loaded(share, number, capacity, budget_ms) for number, share in enumerate(load.loads))
        if code := stage.stop_worker():
            raise WorkerError(f"the worker ended with exit code {code}: {stage.processes.last_words(WORKER)}")
        stage.ledger.book(stage.harvest.take())
        return LineBench(
            model=self.label,
            machine=f"{platform.machine()}, {psutil.cpu_count()} CPUs",
            settings=stage.settings,
            batch_ms={size: took * 1000 for size, took in batch_s.items()},
            engine_batch=best,
            engine_fps=engine_fps,
            line_fps=statistics.median(line_fps),
            ratio=ratio,
            capacity_fps=capacity,
            budget_ms=budget_ms,
            seconds=load.seconds,
            frames=stage.ledger.frames,
            missing=stage.ledger.missing,
            duplicates=stage.ledger.duplicates,
            cost=cost,
            idle=idle,
            loads=loads,
        )

    # -- the engine alone, and the saturated line --------------------------------------------------------------------

    def _every_size(self) -> dict[int, float]:
        """Seconds of a batch, by size."""
        self.label: str = self._ask(None)
        self.progress("engine", 0, 1)
        sizes: dict[int, float] = self._ask(EverySize(sizes_of(self.stage.settings.max_batch), ROUNDS))
        self.progress("engine", 1, 1)
        return sizes

    def _ask(self, order: object) -> Any:
        self.stage.engine.tell(order)
        return self.stage.engine.answer(10 * PATIENCE_S)

    def _pairs(self, size: int) -> tuple[list[Alone], list[float], Cost]:
        """The engine and the line by turns, so that a noisy machine is noisy for both."""
        stretch_s = self.load.seconds / PAIRS
        self._saturate(stretch_s)  # nobody meets anything for the first time when it counts
        engine, line_fps, costs = list[Alone](), list[float](), list[dict[str, float]]()
        for pair in range(PAIRS):
            self.progress("saturated", pair, PAIRS)
            engine.append(self._ask(Steady(size, stretch_s)))
            fps, cost = self._saturate(stretch_s)
            line_fps.append(fps)
            costs.append(cost)
        self.progress("saturated", PAIRS, PAIRS)
        threads = {name: statistics.median(cost.get(name, 0.0) for cost in costs) for name in costs[0]}
        worker_us, engine_us = threads.pop("whole"), statistics.median(alone.cpu_us for alone in engine)
        return engine, line_fps, Cost(worker_us, engine_us, worker_us - engine_us, threads)

    def _saturate(self, seconds: float) -> tuple[float, dict[str, float]]:
        """Frames a second, and microseconds of the worker's time for each: `whole`, and by thread."""
        stage = self.stage
        window = max(8, 4 * stage.settings.max_batch // len(stage.names))
        pid = stage.pids()[WORKER]
        whole, threads = Usage.of(pid).cpu_s, cpu_by_thread(pid)
        stage.begin([Saturate(seconds, window)] * len(stage.names))
        captured, entries = stage.finish(seconds)
        spent = {name: now - threads.get(name, 0.0) for name, now in cpu_by_thread(pid).items()}
        spent["whole"] = Usage.of(pid).cpu_s - whole
        return steady_fps(captured, entries), {name: took / len(entries) * 1e6 for name, took in spent.items()}

    # -- idle, and loaded --------------------------------------------------------------------------------------------

    def _idle(self, batch1_s: float) -> Idle:
        stage, orders = self.stage, [OneByOne(0.0, 0, 0.0)] * len(self.stage.names)
        orders[0] = OneByOne(self.load.seconds, IDLE_FRAMES, gap_s=max(0.02, 2 * batch1_s))
        stage.begin(orders)
        found = outcome(*stage.finish(self.load.seconds, self._tell("idle", self.load.seconds)), budget_ms=None)
        if found.p50_ms is None:
            raise WorkerError("no frame of the idle line was judged")
        return Idle(found.judged, found.p50_ms, found.p50_ms / (batch1_s * 1000), found.stages_us)

    def _loaded(self, share: float, number: int, capacity: float, budget_ms: float) -> Load:
        stage, warm_s = self.stage, WARM * self.load.seconds
        total_s, cameras = warm_s + self.load.seconds, len(stage.names)
        starts_ns = time.monotonic_ns() + int(AHEAD_S * 1e9)
        order = Poisson(starts_ns, share * capacity / cameras, total_s, budget_ms, seed=())
        seeds = [(stage.settings.seed, number, camera) for camera in range(cameras)]
        before = {name: Usage.of(pid) for name, pid in stage.pids().items()}
        stage.begin([replace(order, seed=seed) for seed in seeds])
        captured, entries = stage.finish(AHEAD_S + total_s, self._tell(f"load {share:g}", total_s))
        after = {name: Usage.of(pid) for name, pid in stage.pids().items()}
        from_ns = starts_ns + time.time_ns() - time.monotonic_ns() + int(warm_s * 1e9)
        until_ns = from_ns + int(self.load.seconds * 1e9)
        found = outcome(captured, entries, from_ns=from_ns, until_ns=until_ns, budget_ms=budget_ms)
        rates = (count / self.load.seconds for count in (found.frames, found.judged, found.in_time))
        return Load(share, *rates, found, {name: _spent(before[name], after[name]) for name in before})

    def _tell(self, what: str, seconds: float) -> Callable[[float], None]:
        return lambda gone_s: self.progress(what, int(min(gone_s, seconds)), int(seconds))


def sizes_of(max_batch: int) -> tuple[int, ...]:
    """Sizes of a batch that are measured: 1, 2, 4... and the largest."""
    return tuple(sorted({2**power for power in range(max_batch.bit_length())} | {max_batch}))


def steady_fps(captured: Sequence[Captured], entries: Sequence[Entry]) -> float:
    """Verdicts a second while the line is saturated: the first quarter, and what follows the last capture, left out.

    Counted from one batch's storing to another's, so that no batch counts for the time before it.

    Raises:
        WorkerError: too few verdicts to say.
    """
    due = [int(ns) for frames in captured for ns in frames.due_ns[[0, -1]]]
    first_ns = min(due) + int(START_SHARE * (max(due) - min(due)))
    times = sorted(entry.stored_ns for entry in entries if first_ns <= entry.stored_ns <= max(due))
    if not times or times[0] == times[-1]:
        raise WorkerError("too few frames were judged to tell how fast the line is: give it more seconds")
    return sum(stored > times[0] for stored in times) / (times[-1] - times[0]) * 1e9


def _spent(before: Usage, after: Usage) -> Spent:
    return Spent(after.cpu_s - before.cpu_s, before.resident_bytes / MIB, after.resident_bytes / MIB)
