"""`sightline bench swap`: a recipe gets another bundle while the line is loaded, and no frame may notice."""

import json
import shutil
import statistics
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from worker.bench.arrivals import Captured, Poisson
from worker.bench.harvest import JUDGED, Entry, Outcome, outcome
from worker.bench.load import AHEAD_S, WARM, Progress, budget_of, engine_alone
from worker.bench.plant import RECIPE, Plant, PlantSettings
from worker.errors import WorkerError
from worker.versions import activate

AFTER_S = 1.0  # what the swap itself leaves behind is over by then


@dataclass(frozen=True)
class Swap:
    """One swap under load.

    Attributes:
        before: frames due before the new bundle lay in its place.
        during: frames due from then on, until a while after its first verdict.
        swap_s: from its being put in place until its first verdict.
        by_model: verdicts of judged frames by the label of the bundle.
        mixed: verdicts of the old bundle that were stored more than a batch's time after the new one's first.
    """

    before: Outcome
    during: Outcome
    swap_s: float
    by_model: dict[str, int]
    mixed: int


@dataclass(frozen=True)
class SwapReport:
    """What came of several.

    Attributes:
        rate: frames a second.
        budget_ms: of each.
        ratio: p99 during the swap over p99 before it: median of the swaps.
        ratios: of each.
        frames: that were captured.
        missing: of them, without a verdict.
        duplicates: verdicts too many.
        swaps: one by one.
    """

    rate: float
    budget_ms: float
    ratio: float
    ratios: tuple[float, ...]
    frames: int
    missing: int
    duplicates: int
    swaps: tuple[Swap, ...]

    @property
    def whole(self) -> bool:
        """Whether each frame has exactly one verdict, of a bundle that was in use."""
        return not (self.missing or self.duplicates or any(swap.mixed for swap in self.swaps))

    def to_json(self) -> dict[str, Any]:
        """For machines."""
        return asdict(self)


def bench_swap(
    settings: PlantSettings,
    *,
    load: float = 0.8,
    swaps: int = 3,
    seconds: float = 20.0,
    progress: Progress = lambda what, done, total: None,
) -> SwapReport:
    """Loads a line of its own, and changes its recipe again and again.

    Args:
        settings: of the line.
        load: share of what the engine does alone at its best size of a batch.
        swaps: how many.
        seconds: before each swap, and again for it.
        progress: told `what, done, total`.

    Raises:
        DataError, BundleError: pictures or a bundle that can't be used.
        ResultsUnavailable: there is no redis-server.
        WorkerError: a process ended or hangs, or a bundle was not taken in that time.
    """
    with tempfile.TemporaryDirectory(prefix="sightline-bench-") as folder, Plant(settings, Path(folder)) as plant:
        batch_s = engine_alone(plant)
        rate = load * max(size / took for size, took in batch_s.items())
        budget_ms = budget_of(batch_s)
        done = []
        for number in range(swaps):
            progress("swapping", number, swaps)
            done.append(_swap(plant, number, rate=rate, budget_ms=budget_ms, seconds=seconds))
        progress("swapping", swaps, swaps)
        ratios = tuple(_ratio(swap) for swap in done)
        ledger = plant.ledger
        return SwapReport(
            rate=rate,
            budget_ms=budget_ms,
            ratio=statistics.median(ratios),
            ratios=ratios,
            frames=ledger.frames,
            missing=ledger.missing,
            duplicates=ledger.duplicates,
            swaps=tuple(done),
        )


def _swap(plant: Plant, number: int, *, rate: float, budget_ms: float, seconds: float) -> Swap:
    warm_s, cameras = WARM * seconds, len(plant.names)
    newer = another_bundle(plant.folder / "recipes" / RECIPE, plant.folder / f"newer-{number}", note=f"swap {number}")
    starts_ns = time.monotonic_ns() + int(AHEAD_S * 1e9)
    total_s = warm_s + 2 * seconds
    seeds = [(plant.settings.seed, number, camera) for camera in range(cameras)]
    plant.begin([Poisson(starts_ns, rate / cameras, total_s, budget_ms, seed) for seed in seeds])
    put = _PutInPlace(newer, plant.folder / "recipes", after_s=AHEAD_S + warm_s + seconds)
    captured, entries = plant.finish(AHEAD_S + total_s, put.look)
    utc_ns = time.time_ns() - time.monotonic_ns()
    return swap_of(captured, entries, from_ns=starts_ns + utc_ns + int(warm_s * 1e9), put_ns=put.at_ns)


class _PutInPlace:
    """Activates a bundle once its time has come, as `sightline recipe activate` does."""

    def __init__(self, bundle: Path, folder: Path, *, after_s: float) -> None:
        self._bundle, self._folder, self._after_s = bundle, folder, after_s
        self.at_ns = 0

    def look(self, gone_s: float) -> None:
        if not self.at_ns and gone_s >= self._after_s:
            activate(self._bundle, self._folder, RECIPE, lambda path: None)  # it is good: it was made here
            self.at_ns = time.time_ns()


def swap_of(captured: Sequence[Captured], entries: Sequence[Entry], *, from_ns: int, put_ns: int) -> Swap:
    """What the verdicts say of a swap.

    Args:
        captured: what the cameras did.
        entries: every verdict.
        from_ns: what was due before is left out; UTC since the epoch, like `put_ns`.
        put_ns: when the new bundle lay in its place.

    Raises:
        WorkerError: no verdict is of the new bundle, or there is none to compare with.
    """
    judged = sorted((entry for entry in entries if entry.reason in JUDGED), key=lambda entry: entry.stored_ns)
    models = Counter(entry.model for entry in judged)
    firsts = {entry.model: entry.stored_ns for entry in reversed(judged)}
    newest = max(firsts, key=lambda model: firsts[model], default="")
    first_ns = firsts.get(newest, 0)
    if len(models) < 2 or first_ns <= put_ns:
        raise WorkerError("the new bundle was not taken within that time: give it more seconds")
    slack_ns = max(sum(entry.latency_us.values()) for entry in judged) * 1000
    return Swap(
        before=outcome(captured, entries, from_ns=from_ns, until_ns=put_ns, budget_ms=None),
        during=outcome(captured, entries, from_ns=put_ns, until_ns=first_ns + int(AFTER_S * 1e9), budget_ms=None),
        swap_s=(first_ns - put_ns) / 1e9,
        by_model=dict(models),
        mixed=sum(entry.model != newest and entry.stored_ns > first_ns + slack_ns for entry in judged),
    )


def another_bundle(bundle: Path, out: Path, *, note: str) -> Path:
    """A copy with the same weights that is another bundle by its digest: its manifest says something else."""
    shutil.copytree(bundle.resolve(), out)
    manifest = json.loads((out / "manifest.json").read_text(encoding="utf-8"))
    manifest["provenance"]["note"] = note
    (out / "manifest.json").write_text(json.dumps(manifest), encoding="utf-8")
    return out


def _ratio(swap: Swap) -> float:
    if not swap.before.p99_ms or not swap.during.p99_ms:
        raise WorkerError("too few frames were judged around a swap to compare: give it more seconds")
    return swap.during.p99_ms / swap.before.p99_ms
