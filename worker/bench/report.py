"""What `sightline bench line` found."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from worker.bench.harvest import Outcome
from worker.bench.plant import PlantSettings


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
    """Processor time at a saturated line, microseconds a frame.

    Attributes:
        worker_us: of the whole worker.
        engine_us: of the engine alone, in a process of its own: decoding, contract, network, score.
        threads_us: the worker's, by thread; empty where the system does not tell.
        items_us: what a frame costs outside decoding and network: the worker's threads, `main` without its batches and
            `prepare` without what decoding costs alone; and the processes beside it, `camera` and `redis`.
    """

    worker_us: float
    engine_us: float
    threads_us: dict[str, float]
    items_us: dict[str, float]

    @property
    def overhead_us(self) -> float:
        """A frame's own overhead, in all processes together."""
        return sum(self.items_us.values())


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
    settings: PlantSettings
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
        flat = {key: value for key, value in asdict(self).items() if key not in ("cost", "loads", "settings")}
        extra = {
            "batch1_ms": self.batch_ms[1],
            "overhead_us": self.cost.overhead_us,
            "overhead_items_us": self.cost.items_us,
            "worker_cpu_us": self.cost.worker_us,
            "engine_cpu_us": self.cost.engine_us,
            "threads_us": self.cost.threads_us,
        }
        return {**flat, **extra, "settings": settings, "loads": [load.to_json() for load in self.loads]}
