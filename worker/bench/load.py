"""`sightline bench line`: the whole line under open-loop load, beside its own engine alone, in one run."""

import platform
import statistics
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import psutil

from model.parts import sizes_of
from worker.bench.alone import Alone, EverySize, Steady
from worker.bench.arrivals import Captured, OneByOne, Poisson, Saturate
from worker.bench.child import PATIENCE_S
from worker.bench.harvest import Entry, outcome
from worker.bench.plant import WORKER, Plant, PlantSettings
from worker.bench.report import Cost, Idle, LineBench, Load, Spent
from worker.bench.usage import Usage, cpu_by_thread
from worker.errors import WorkerError
from worker.gauges import INFER_CPU

PAIRS = 3  # of the engine alone and the saturated line, each for a third of a load's time, or
LEAST_BATCHES = 10
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


def bench_line(
    plant: PlantSettings, load: LoadSettings, *, progress: Progress = lambda what, done, total: None
) -> LineBench:
    """Measures the engine alone, the saturated line, the idle line, and each load.

    Raises:
        DataError, BundleError: pictures or a bundle that can't be used.
        ResultsUnavailable: there is no redis-server.
        WorkerError: a process ended, or hangs.
    """
    with tempfile.TemporaryDirectory(prefix="sightline-bench-") as folder:
        progress("setting up", 0, 1)
        with Plant(plant, Path(folder)) as opened:
            progress("setting up", 1, 1)
            return LineRun(opened, load, progress).run()


class LineRun:
    """One run over a plant. One thread."""

    def __init__(self, plant: Plant, load: LoadSettings, progress: Progress) -> None:
        self.plant, self.load, self.progress = plant, load, progress

    def run(self) -> LineBench:
        """Everything, in the order in which it is shown."""
        plant, load = self.plant, self.load
        batch_s = self._every_size()
        best = max(batch_s, key=lambda size: size / batch_s[size])
        engine, line_fps, cost = self._pairs(best, max(load.seconds / PAIRS, LEAST_BATCHES * max(batch_s.values())))
        ratio = statistics.median(fps / alone.fps for alone, fps in zip(engine, line_fps, strict=True))
        engine_fps = statistics.median(alone.fps for alone in engine)
        capacity = load.rate or engine_fps
        budget_ms = load.budget_ms or budget_of(batch_s)
        idle = self._idle(batch_s[1])
        loads = tuple(self._loaded(share, number, capacity, budget_ms) for number, share in enumerate(load.loads))
        if code := plant.stop_worker():
            raise WorkerError(f"the worker ended with exit code {code}: {plant.processes.last_words(WORKER)}")
        plant.ledger.book(plant.harvest.take())
        return LineBench(
            model=self.label,
            machine=f"{platform.machine()}, {psutil.cpu_count()} CPUs",
            settings=plant.settings,
            batch_ms={size: took * 1000 for size, took in batch_s.items()},
            engine_batch=best,
            engine_fps=engine_fps,
            line_fps=statistics.median(line_fps),
            ratio=ratio,
            capacity_fps=capacity,
            budget_ms=budget_ms,
            seconds=load.seconds,
            frames=plant.ledger.frames,
            missing=plant.ledger.missing,
            duplicates=plant.ledger.duplicates,
            cost=cost,
            idle=idle,
            loads=loads,
        )

    # -- the engine alone, and the saturated line --------------------------------------------------------------------

    def _every_size(self) -> dict[int, float]:
        """Seconds of a batch, by size."""
        self.label: str = self._ask(None)
        self.progress("engine", 0, 1)
        sizes: dict[int, float] = self._ask(EverySize(sizes_of(self.plant.settings.max_batch), ROUNDS))
        self.progress("engine", 1, 1)
        return sizes

    def _ask(self, order: object) -> Any:
        self.plant.engine.tell(order)
        return self.plant.engine.answer(10 * PATIENCE_S)

    def _pairs(self, size: int, stretch_s: float) -> tuple[list[Alone], list[float], Cost]:
        """The engine and the line by turns, so that a noisy machine is noisy for both."""
        self._saturate(stretch_s)  # nobody meets anything for the first time when it counts
        engine, line_fps, costs = list[Alone](), list[float](), list[dict[str, float]]()
        for pair in range(PAIRS):
            self.progress("saturated", pair, PAIRS)
            engine.append(self._ask(Steady(size, stretch_s)))
            before = self._cpu_s()
            captured, entries = self._saturate(stretch_s)
            after = self._cpu_s()
            line_fps.append(steady_fps(captured, entries))
            costs.append({name: (after[name] - before.get(name, 0.0)) / len(entries) * 1e6 for name in after})
        self.progress("saturated", PAIRS, PAIRS)
        spent = {name: statistics.median(cost.get(name, 0.0) for cost in costs) for name in costs[0]}
        return engine, line_fps, cost_of(spent, engine)

    def _saturate(self, seconds: float) -> tuple[list[Captured], list[Entry]]:
        plant = self.plant
        window = max(8, 4 * plant.settings.max_batch // len(plant.names))
        plant.begin([Saturate(seconds, window)] * len(plant.names))
        return plant.finish(seconds)

    def _cpu_s(self) -> dict[str, float]:
        """Seconds of processor time so far: `whole` worker and its threads, `batches`, `camera` (all), `redis`."""
        pids = self.plant.pids()
        worker, redis = pids.pop(WORKER), pids.pop("redis")
        cameras_s = sum(map(_whole_s, pids.values()))
        spent = {**cpu_by_thread(worker), "whole": Usage.of(worker).cpu_s, "camera": cameras_s}
        return {**spent, "redis": _whole_s(redis), "batches": self.plant.worker_metric(f"{INFER_CPU}_total")}

    # -- idle, and loaded --------------------------------------------------------------------------------------------

    def _idle(self, batch1_s: float) -> Idle:
        plant, orders = self.plant, [OneByOne(0.0, 0, 0.0)] * len(self.plant.names)
        orders[0] = OneByOne(self.load.seconds, IDLE_FRAMES, gap_s=max(0.02, 2 * batch1_s))
        plant.begin(orders)
        found = outcome(*plant.finish(self.load.seconds, self._tell("idle", self.load.seconds)), budget_ms=None)
        if found.p50_ms is None:
            raise WorkerError("no frame of the idle line was judged")
        return Idle(found.judged, found.p50_ms, found.p50_ms / (batch1_s * 1000), found.stages_us)

    def _loaded(self, share: float, number: int, capacity: float, budget_ms: float) -> Load:
        plant, warm_s = self.plant, WARM * self.load.seconds
        total_s, cameras = warm_s + self.load.seconds, len(plant.names)
        starts_ns = time.monotonic_ns() + int(AHEAD_S * 1e9)
        order = Poisson(starts_ns, share * capacity / cameras, total_s, budget_ms, seed=())
        seeds = [(plant.settings.seed, number, camera) for camera in range(cameras)]
        before = {name: Usage.of(pid) for name, pid in plant.pids().items()}
        plant.begin([replace(order, seed=seed) for seed in seeds])
        captured, entries = plant.finish(AHEAD_S + total_s, self._tell(f"load {share:g}", total_s))
        after = {name: Usage.of(pid) for name, pid in plant.pids().items()}
        from_ns = starts_ns + time.time_ns() - time.monotonic_ns() + int(warm_s * 1e9)
        until_ns = from_ns + int(self.load.seconds * 1e9)
        found = outcome(captured, entries, from_ns=from_ns, until_ns=until_ns, budget_ms=budget_ms)
        return Load(
            load=share,
            offered_fps=found.frames / self.load.seconds,
            achieved_fps=found.judged / self.load.seconds,
            in_time_fps=found.in_time / self.load.seconds,
            outcome=found,
            processes={name: _spent(before[name], after[name]) for name in before},
        )

    def _tell(self, what: str, seconds: float) -> Callable[[float], None]:
        return lambda gone_s: self.progress(what, int(min(gone_s, seconds)), int(seconds))


def _whole_s(pid: int) -> float:
    return sum(cpu_by_thread(pid).values()) or Usage.of(pid).cpu_s


def cost_of(spent: dict[str, float], engine: Sequence[Alone]) -> Cost:
    """What a frame costs, from microseconds by thread and process as `LineRun` counts them."""
    threads = dict(spent)
    worker_us, batches_us = threads.pop("whole"), threads.pop("batches")
    beside = {name: threads.pop(name) for name in ("camera", "redis")}
    decode_us = statistics.median(alone.decode_us for alone in engine)
    items = {name: us for name, us in threads.items() if name != "torch"}
    if items:
        items["main"] = max(0.0, items["main"] - batches_us)
        items["prepare"] = max(0.0, items["prepare"] - decode_us)
    return Cost(worker_us, statistics.median(alone.cpu_us for alone in engine), threads, {**items, **beside})


def engine_alone(plant: Plant) -> dict[int, float]:
    """Seconds of a batch, by size. Its process ends with that: from here on nobody but the line is there."""
    plant.engine.tell(EverySize(sizes_of(plant.settings.max_batch), ROUNDS))
    batch_s: dict[int, float] = plant.engine.answer(10 * PATIENCE_S)
    plant.engine.__exit__()
    return batch_s


def budget_of(batch_s: Mapping[int, float]) -> float:
    """A frame's, milliseconds, if nobody names one: four of the largest batches."""
    return max(LEAST_BUDGET_MS, round(BUDGET_BATCHES * max(batch_s.values()) * 1000))


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
