"""`sightline bench soak`: the loaded line for a long time; nothing of it may grow."""

import statistics
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from worker.bench.arrivals import Order, Poisson, Saturate
from worker.bench.harvest import Outcome, outcome
from worker.bench.load import AHEAD_S, MIB, Progress, budget_of, engine_alone
from worker.bench.plant import Plant, PlantSettings
from worker.bench.usage import Usage, open_descriptors

LOAD = 0.8
RETAIN_FRAMES = 64  # by the default a camera's heap could grow by 100 MiB before it has its size
SETTLED_S = 300.0  # or a tenth of a shorter time: until then every heap may find its size
MOST_GROWTH = 0.05
LEAST_GROWTH_MIB = 1.0  # less is a matter of an allocator's pages: a twentieth of a small Redis
SETTLING_S = 1.0
SHARE = 0.2  # of what follows: its beginning is compared with its end
SAMPLES = 300
LEAST_SAMPLE_S, MOST_SAMPLE_S = 0.5, 5.0
LEAST_ROUND_S, MOST_ROUND_S = 2.0, 60.0


@dataclass(frozen=True)
class Sample:
    """One look at every process.

    Attributes:
        at_s: since the beginning.
        resident_bytes: by process.
        descriptors: likewise.
    """

    at_s: float
    resident_bytes: dict[str, int]
    descriptors: dict[str, int]


@dataclass(frozen=True)
class Growth:
    """What became of one process.

    Attributes:
        start_mib: resident memory once the line had settled: the median of a fifth of the time.
        end_mib: likewise, at the end.
        growth: end over start, as a share beyond 1.
        descriptors_start: open ones once the line had settled, at most.
        descriptors_end: likewise, at the end.
    """

    start_mib: float
    end_mib: float
    growth: float
    descriptors_start: int
    descriptors_end: int

    def fault(self, name: str) -> str | None:
        """What is wrong with it, as a sentence; None if nothing is."""
        if self.growth > MOST_GROWTH and self.end_mib - self.start_mib > LEAST_GROWTH_MIB:
            return f"the {name} grew from {self.start_mib:.0f} to {self.end_mib:.0f} MiB"
        if self.descriptors_end > self.descriptors_start:
            return f"the {name} had {self.descriptors_start} open descriptors, then {self.descriptors_end}"
        return None


@dataclass(frozen=True)
class SoakReport:
    """What came of it.

    Attributes:
        seconds: that it took.
        rate: frames a second.
        frames: that were captured.
        missing: of them, without a verdict.
        duplicates: verdicts too many.
        verdicts: by reason.
        p99_ms: from capture to stored: the median over stretches.
        processes: by name.
    """

    seconds: float
    rate: float
    frames: int
    missing: int
    duplicates: int
    verdicts: dict[str, int]
    p99_ms: float | None
    processes: dict[str, Growth]

    @property
    def fault(self) -> str | None:
        """What is wrong, as one sentence; None if nothing is."""
        faults = [f"{self.missing} frames have no verdict"] if self.missing else []
        faults += [f"there are {self.duplicates} verdicts too many"] if self.duplicates else []
        faults += [said for name, growth in self.processes.items() if (said := growth.fault(name))]
        return "; ".join(faults) or None

    def to_json(self) -> dict[str, Any]:
        """For machines."""
        return {**asdict(self), "fault": self.fault}


def run_soak(
    plant: PlantSettings,
    seconds: float,
    *,
    load: float = LOAD,
    rate: float | None = None,
    budget_ms: float | None = None,
    progress: Progress = lambda what, done, total: None,
) -> SoakReport:
    """Loads a line of its own for a long time.

    Args:
        plant: what the line is made of.
        seconds: that it goes on.
        load: share of the capacity.
        rate: frames a second that load 1 stands for; None: what the engine does alone at its best size of a batch.
        budget_ms: of each frame; None: four of the largest batches.
        progress: told `what, done, total`.

    Raises:
        DataError, BundleError: pictures or a bundle that can't be used.
        ResultsUnavailable: there is no redis-server.
        WorkerError: a process ended, or hangs.
    """
    plant = replace(plant, retain_frames=RETAIN_FRAMES)
    with tempfile.TemporaryDirectory(prefix="sightline-bench-") as folder, Plant(plant, Path(folder)) as opened:
        batch_s = engine_alone(opened)
        fps = rate or max(size / took for size, took in batch_s.items())
        budget = budget_ms or budget_of(batch_s)
        soak = Soak(opened, seconds, rate=load * fps, budget_ms=budget, progress=progress)
        soak.settle(batch1_ms=batch_s[1] * 1000)
        return soak.run()


class Soak:
    """One run over a plant. One thread.

    Args:
        plant: the line.
        seconds: that it goes on.
        rate: frames a second.
        budget_ms: of each frame.
        progress: told `what, done, total`.
    """

    def __init__(self, plant: Plant, seconds: float, *, rate: float, budget_ms: float, progress: Progress) -> None:
        self.plant, self.seconds, self.rate, self.budget_ms = plant, seconds, rate, budget_ms
        self.progress = progress
        self._samples: list[Sample] = []
        self._sample_s = min(MOST_SAMPLE_S, max(LEAST_SAMPLE_S, seconds / SAMPLES))

    def settle(self, *, batch1_ms: float) -> None:
        """Goes all ways once that may open or keep something the first time: full batches, budgets that run out."""
        plant = self.plant
        window = max(8, 4 * plant.settings.max_batch // len(plant.names))
        self._at_once(Saturate(SETTLING_S, window))
        for budget_ms in (1.0, batch1_ms, 2 * batch1_ms):
            self._at_once(Poisson(time.monotonic_ns(), max(20.0, self.rate), SETTLING_S, budget_ms, seed=(0,)))

    def _at_once(self, order: Order) -> None:
        self.plant.begin([order] * len(self.plant.names))
        self.plant.finish(SETTLING_S)

    def run(self) -> SoakReport:
        """Stretch after stretch, each until its last verdict, so that no list of frames grows here or in a camera."""
        started, verdicts, p99 = time.monotonic(), Counter[str](), list[float]()
        stretch_s = min(MOST_ROUND_S, max(LEAST_ROUND_S, self.seconds / 10))
        number = 0
        while (left := self.seconds - (time.monotonic() - started)) > 0:
            found = self._stretch(number, min(stretch_s, max(LEAST_ROUND_S, left)), started)
            verdicts.update(found.verdicts)
            p99 += [found.p99_ms] if found.p99_ms is not None else []
            number += 1
        ledger = self.plant.ledger
        return SoakReport(
            seconds=time.monotonic() - started,
            rate=self.rate,
            frames=ledger.frames,
            missing=ledger.missing,
            duplicates=ledger.duplicates,
            verdicts=dict(verdicts.most_common()),
            p99_ms=statistics.median(p99) if p99 else None,
            processes=grown(self._samples, settled_s=min(SETTLED_S, self.seconds / 10)),
        )

    def _stretch(self, number: int, seconds: float, started: float) -> Outcome:
        plant, cameras = self.plant, len(self.plant.names)
        starts_ns = time.monotonic_ns() + int(AHEAD_S * 1e9)
        seeds = [(plant.settings.seed, number, camera) for camera in range(cameras)]
        plant.begin([Poisson(starts_ns, self.rate / cameras, seconds, self.budget_ms, seed) for seed in seeds])
        captured, entries = plant.finish(AHEAD_S + seconds, self._look(started))
        return outcome(captured, entries, budget_ms=self.budget_ms)

    def _look(self, started: float) -> Callable[[float], None]:
        def look(_: float) -> None:
            at_s = time.monotonic() - started
            if self._samples and at_s - self._samples[-1].at_s < self._sample_s:
                return
            pids = self.plant.pids()
            resident = {name: Usage.of(pid).resident_bytes for name, pid in pids.items()}
            self._samples.append(Sample(at_s, resident, {name: open_descriptors(pid) for name, pid in pids.items()}))
            self.progress("soaking, s", int(min(at_s, self.seconds)), int(self.seconds))

        return look


def grown(samples: Sequence[Sample], *, settled_s: float) -> dict[str, Growth]:
    """What became of each process since the line had settled.

    Args:
        samples: in order.
        settled_s: what came before is left out.
    """
    settled = [sample for sample in samples if sample.at_s >= settled_s] or list(samples[-1:])
    some = max(1, int(len(settled) * SHARE))
    first, last = settled[:some], settled[-some:]
    return {name: _growth(name, first, last) for name in (settled[0].resident_bytes if settled else ())}


def _growth(name: str, first: Sequence[Sample], last: Sequence[Sample]) -> Growth:
    start, end = (statistics.median(sample.resident_bytes[name] for sample in part) for part in (first, last))
    descriptors = [max(sample.descriptors[name] for sample in part) for part in (first, last)]
    return Growth(start / MIB, end / MIB, end / start - 1, *descriptors)
