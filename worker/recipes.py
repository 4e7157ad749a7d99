"""The bundles a worker judges with: one engine a recipe, warmed and measured before the worker is ready."""

import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import structlog

from model.bundle import Bundle, read_bundle
from model.engine import Engine
from worker.errors import RecipeMissing

log = structlog.get_logger("recipes")


@dataclass(frozen=True)
class Recipe:
    """One recipe, ready.

    Attributes:
        bundle: what it is judged with.
        engine: the network, on its device.
        single_s: seconds for a batch of one, measured.
        further_s: seconds for each frame more.
    """

    bundle: Bundle
    engine: Engine
    single_s: float
    further_s: float

    def cost_s(self, frames: int) -> float:
        """Seconds for a batch, from the two sizes that were measured."""
        return self.single_s + (frames - 1) * self.further_s


def load_recipes(folder: Path, needed: Iterable[str], *, device: str, max_batch: int) -> dict[str, Recipe]:
    """Every bundle in `folder`, by the name of its directory.

    Args:
        folder: one directory a recipe.
        needed: recipes that must be there.
        device: `auto`, `cpu` or `cuda`.
        max_batch: largest batch to warm.

    Raises:
        RecipeMissing: a needed recipe has no bundle.
        BundleError: a bundle is damaged.
    """
    found = sorted(path.parent for path in folder.glob("*/manifest.json"))
    names = {path.name for path in found if not path.name.startswith(".")}
    for name in sorted(set(needed) - names):
        raise RecipeMissing(f"recipe {name} has no bundle: expected {folder / name}/manifest.json")
    return {name: _ready(read_bundle(folder / name), device=device, max_batch=max_batch) for name in sorted(names)}


def _ready(bundle: Bundle, *, device: str, max_batch: int) -> Recipe:
    engine = Engine.of(bundle, device=device)
    single = _measure(bundle, engine, 1)
    largest = _measure(bundle, engine, max_batch)
    further = max(0.0, (largest - single) / max(1, max_batch - 1))
    log.info(
        "recipe is warm",
        model=bundle.label,
        device=str(engine.device),
        batch_1_ms=round(single * 1000, 1),
        **{f"batch_{max_batch}_ms": round(largest * 1000, 1)},
    )
    return Recipe(bundle, engine, single, further)


def _measure(bundle: Bundle, engine: Engine, frames: int) -> float:
    """Median seconds of three batches, after one that warms."""
    contract = bundle.manifest.contract
    shape = (contract.height[0], contract.width[0], 3)[: 2 if contract.channels == 1 else 3]
    rng = np.random.default_rng(0)
    image = rng.integers(0, 255, shape).astype(contract.dtype)
    times = []
    for _ in range(4):
        started = time.perf_counter()
        engine.inspect([image] * frames)
        times.append(time.perf_counter() - started)
    return sorted(times[1:])[1]
