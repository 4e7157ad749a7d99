"""The bundles a worker judges with: one engine a recipe, warmed and measured before the worker is ready."""

import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import structlog

from model.bundle import Bundle, Manifest, read_bundle
from model.engine import Engine
from model.images import Image
from model.modes import use_own_cpus
from model.trunk import SharedTrunk
from worker.errors import RecipeMissing

log = structlog.get_logger("recipes")


@dataclass(frozen=True)
class Recipe:
    """One recipe, ready. The network itself is not kept: the engine has what it needs of it.

    Attributes:
        label: of its bundle.
        manifest: likewise; its threshold is that of the engine's mode.
        engine: the network, on its device.
        single_s: seconds for a batch of one, measured.
        further_s: seconds for each frame more.
    """

    label: str
    manifest: Manifest
    engine: Engine
    single_s: float
    further_s: float

    def cost_s(self, frames: int) -> float:
        """Seconds for a batch, from the two sizes that were measured."""
        return self.single_s + (frames - 1) * self.further_s


def load_recipes(
    folder: Path, needed: Iterable[str], *, device: str, engine: str = "auto", max_batch: int
) -> dict[str, Recipe]:
    """Every bundle in `folder`, by the name of its directory.

    Args:
        folder: one directory a recipe.
        needed: recipes that must be there.
        device: `auto`, `cpu` or `cuda`.
        engine: `auto`, `torch` or `openvino`.
        max_batch: largest batch to warm.

    Raises:
        RecipeMissing: a needed recipe has no bundle.
        BundleError: a bundle is damaged.
        DataError: no such device or engine here.
    """
    use_own_cpus()
    found = sorted(path.parent for path in folder.glob("*/manifest.json"))
    names = {path.name for path in found if not path.name.startswith(".")}
    for name in sorted(set(needed) - names):
        raise RecipeMissing(f"recipe {name} has no bundle: expected {folder / name}/manifest.json")
    recipes: dict[str, Recipe] = {}
    for name in sorted(names):
        bundle = read_bundle(folder / name)
        warm = {recipe.engine.trunk for recipe in recipes.values()}
        recipes[name] = _ready(bundle, warm, device=device, engine=engine, max_batch=max_batch)
    return recipes


def _ready(bundle: Bundle, warm: set[SharedTrunk], *, device: str, engine: str, max_batch: int) -> Recipe:
    chosen = bundle.on(device, engine)
    ready = Engine.of(chosen, device=device)
    sizes = range(1, max_batch + 1) if ready.trunk not in warm else ()
    for frames in sizes:  # no size is met for the first time on the line
        ready.inspect([_picture(chosen.manifest)] * frames)
    single = _measure(chosen.manifest, ready, 1)
    largest = _measure(chosen.manifest, ready, max_batch)
    further = max(0.0, (largest - single) / max(1, max_batch - 1))
    log.info(
        "recipe is warm",
        model=bundle.label,
        device=str(ready.device),
        engine=bundle.choice(device, engine).why,
        batch_1_ms=round(single * 1000, 1),
        **{f"batch_{max_batch}_ms": round(largest * 1000, 1)},
    )
    return Recipe(bundle.label, chosen.manifest, ready, single, further)


def _measure(manifest: Manifest, engine: Engine, frames: int) -> float:
    """Median seconds of three batches, after one that warms."""
    image, times = _picture(manifest), []
    for _ in range(4):
        started = time.perf_counter()
        engine.inspect([image] * frames)
        times.append(time.perf_counter() - started)
    return sorted(times[1:])[1]


def _picture(manifest: Manifest) -> Image:
    """Noise of the kind that the bundle expects."""
    contract = manifest.contract
    shape = (contract.height[0], contract.width[0], 3)[: 2 if contract.channels == 1 else 3]
    rng = np.random.default_rng(0)
    return rng.integers(0, 255, shape).astype(contract.dtype)
