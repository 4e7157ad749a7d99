"""The bundles a worker judges with: one engine a recipe, tried out, warmed and measured before it judges anything."""

import math
import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import structlog

from model.bundle import MANIFEST, Bundle, Manifest, read_bundle
from model.engine import Engine
from model.errors import BundleError
from model.golden import check_golden
from model.images import Image
from model.parts import batch_seconds, fastest
from model.processors import use_own_cpus
from producers.frame import RECIPE_NAME
from worker.errors import RecipeMissing

log = structlog.get_logger("recipes")

Stamp = tuple[tuple[str, int, int, int], ...]
"""What a bundle's files look like from outside: path, inode, size and time of change of each. Another bundle, another
stamp."""


@dataclass(frozen=True)
class BatchCost:
    """What batches take.

    Attributes:
        single_s: seconds for a batch of one.
        further_s: seconds for each frame more that goes through the network at once with it.
        best: frames that do so at most; a larger batch goes through in parts.
    """

    single_s: float
    further_s: float
    best: int

    @classmethod
    def of(cls, seconds: Mapping[int, float]) -> "BatchCost":
        """From seconds by size of a batch, that of one among them."""
        best = fastest(seconds)
        single_s = min(seconds[1], seconds[best])
        return cls(single_s, (seconds[best] - single_s) / max(1, best - 1), best)

    def seconds(self, frames: int) -> float:
        """For a batch of so many."""
        parts = math.ceil(frames / self.best)
        return parts * self.single_s + (frames - parts) * self.further_s


@dataclass(frozen=True)
class Recipe:
    """One recipe, ready. The network itself is not kept: the engine has what it needs of it.

    Attributes:
        label: of its bundle.
        manifest: likewise; its threshold is that of the engine's mode.
        engine: the network, on its device.
        cost: of its batches, measured.
        stamp: of its bundle, from before it was read; empty if it lies nowhere.
    """

    label: str
    manifest: Manifest
    engine: Engine
    cost: BatchCost
    stamp: Stamp = ()

    @property
    def runs_on_torch_threads(self) -> bool:
        """Whether torch's own threads share its batches: neither a GPU nor another runtime's."""
        mode = self.engine.trunk.mode
        return mode.device == "cpu" and mode.runtime == "torch"

    def costs_as_much_as(self, other: Engine, manifest: Manifest) -> bool:
        """Whether that engine has the very same work to do, only with other numbers."""
        return _work_of(self.engine, self.manifest) == _work_of(other, manifest)


@dataclass(frozen=True)
class EngineBuilder:
    """How this worker makes engines of bundles.

    Attributes:
        device: `auto`, `cpu` or `cuda`.
        engine: `auto`, `torch` or `openvino`.
        max_batch: frames in a batch at most.
    """

    device: str
    engine: str
    max_batch: int

    def prepare(self, path: Path, beside: Iterable[Recipe] = (), *, before: Recipe | None = None) -> Recipe:
        """Reads a bundle, tries it on its golden images, warms and measures its engine.

        Args:
            path: of the bundle.
            beside: recipes that are ready. If one of them has the same work to do, its cost is believed.
            before: the one whose place it takes on a running line. Likewise, and first: what would be measured beside a
                busy line is the line.

        Raises:
            BundleError: it is damaged, or misjudges a golden image.
            DataError: no such device or engine here.
        """
        stamp = stamp_of(path)
        bundle = read_bundle(path)
        chosen = bundle.on(self.device, self.engine)
        engine = Engine.of(chosen, device=self.device)
        golden = check_golden(path, chosen, engine)
        ready = [before, *beside] if before else list(beside)
        alike = next((recipe for recipe in ready if recipe.costs_as_much_as(engine, chosen.manifest)), None)
        picture = _picture(chosen.manifest)
        cost = alike.cost if alike else BatchCost.of(batch_seconds(engine, picture, self.max_batch))
        engine.at_once = cost.best
        if alike is None or engine.trunk is not alike.engine.trunk:
            for frames in range(1, cost.best):  # no size is met for the first time on the line
                engine.inspect([picture] * frames)
        engine.inspect([picture] * cost.best)  # nor a head
        self._tell(bundle, engine, golden, cost)
        return Recipe(bundle.label, chosen.manifest, engine, cost, stamp)

    def _tell(self, bundle: Bundle, engine: Engine, golden: int, cost: BatchCost) -> None:
        log.info(
            "recipe is warm",
            model=bundle.label,
            device=str(engine.device),
            engine=bundle.choice(self.device, self.engine).why,
            golden_images=golden,
            batch=cost.best,
            **{f"batch_{frames}_ms": round(cost.seconds(frames) * 1000, 1) for frames in (1, cost.best)},
        )


@dataclass(frozen=True)
class Tried:
    """A bundle that is good.

    Attributes:
        label: of it.
        digest: sha256, hexadecimal.
        threshold: in the mode that this machine takes.
        golden_images: how many it has; it judges all of them rightly.
        engine: the mode, and why that one.
    """

    label: str
    digest: str
    threshold: float
    golden_images: int
    engine: str

    @property
    def sentence(self) -> str:
        """For people."""
        golden = (
            f"it judges its {self.golden_images} golden images rightly" if self.golden_images else "no golden images"
        )
        return f"{self.label}, threshold {self.threshold:.4g}, {golden}; {self.engine}"

    def to_json(self) -> dict[str, str | float | int]:
        """For machines."""
        return asdict(self)


def try_out(path: Path, *, device: str, engine: str) -> Tried:
    """Reads a bundle and judges its golden images, as a worker does before it uses one.

    Raises:
        BundleError: it is damaged, or misjudges a golden image.
        DataError: no such device or engine here.
    """
    use_own_cpus()
    bundle = read_bundle(path)
    chosen = bundle.on(device, engine)
    golden = check_golden(path, chosen, Engine.of(chosen, device=device))
    threshold = chosen.manifest.calibration.threshold
    return Tried(bundle.label, bundle.digest, threshold, golden, bundle.choice(device, engine).why)


def load_recipes(
    folder: Path, needed: Iterable[str], *, device: str, engine: str = "auto", max_batch: int
) -> dict[str, Recipe]:
    """Every bundle in `folder`, by the name of its directory.

    Args:
        folder: one directory a recipe.
        needed: recipes that must be there.
        device: `auto`, `cpu` or `cuda`.
        engine: `auto`, `torch` or `openvino`.
        max_batch: frames in a batch at most.

    Raises:
        RecipeMissing: a needed recipe has no bundle.
        BundleError: a bundle is damaged, misjudges a golden image, or lies under a name that no recipe can have.
        DataError: no such device or engine here.
    """
    use_own_cpus()
    builder = EngineBuilder(device, engine, max_batch)
    found = find_bundles(folder)
    for name in sorted(set(needed) - found.keys()):
        raise RecipeMissing(f"recipe {name} has no bundle: expected {folder / name}/manifest.json")
    recipes: dict[str, Recipe] = {}
    for name, path in found.items():
        check_name(name)
        recipes[name] = builder.prepare(path, recipes.values())
    return recipes


def find_bundles(folder: Path) -> dict[str, Path]:
    """The bundles in `folder`, by the name of their directories; those that begin with a dot are none."""
    found = sorted(path.parent for path in folder.glob(f"*/{MANIFEST}"))
    return {path.name: path for path in found if not path.name.startswith(".")}


def check_name(name: str) -> None:
    """Raises `BundleError` unless a recipe can have this name: cameras and publishers are told it."""
    if not re.fullmatch(RECIPE_NAME, name):
        raise BundleError(f"no recipe can be named {name!r}: letters, digits, dots, dashes and underscores, 64 at most")


def stamp_of(path: Path) -> Stamp:
    """What the bundle at `path` looks like; only its files' entries are read. Empty if it is not there."""
    try:
        real = path.resolve(strict=True)
        files = [(str(file), file.stat()) for file in sorted(real.rglob("*")) if not file.is_dir()]
    except OSError:  # it is being exchanged at this very moment: the next look sees what has become of it
        return ()
    return tuple(_entry(name, found) for name, found in files)


def _entry(name: str, found: os.stat_result) -> tuple[str, int, int, int]:
    return name, found.st_ino, found.st_size, found.st_mtime_ns


def _work_of(engine: Engine, manifest: Manifest) -> tuple[object, ...]:
    """What decides how long a batch takes."""
    trunk = engine.trunk
    return trunk.mode, trunk.size, trunk.device, manifest.architecture, manifest.preprocessing.resize, manifest.contract


def _picture(manifest: Manifest) -> Image:
    """Noise of the kind that the bundle expects."""
    contract = manifest.contract
    shape = (contract.height[0], contract.width[0], 3)[: 2 if contract.channels == 1 else 3]
    rng = np.random.default_rng(0)
    return rng.integers(0, 255, shape).astype(contract.dtype)
