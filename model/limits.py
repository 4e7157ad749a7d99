"""What a bundle can't see: the probability of detection of inserted defects, by their size and contrast.

As in non-destructive testing (MIL-HDBK-1823A, hit or miss). Defects are even round spots: real ones differ, so these
figures compare bundles and show where they end; they promise nothing about a scratch.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from model import charts
from model.bundle import Bundle
from model.engine import Engine, Inspection
from model.errors import DataError
from model.features import Progress
from model.images import Image
from model.metrics import Rate
from model.picture import Tile, overlay_of, to_bgr
from model.scoring import JUDGED

SIZES = (0.01, 0.02, 0.04, 0.08, 0.16)
"""Diameters, as shares of the frame's shorter side."""
CONTRASTS = (0.05, 0.1, 0.2, 0.4)
"""Changes of brightness, as shares of the full scale."""
DETECTED = 0.9
"""The probability of detection from which on a size counts as seen."""


@dataclass(frozen=True)
class Cell:
    """Spots of one size and contrast.

    Attributes:
        size: diameter, as a share of the frame's shorter side.
        contrast: change of brightness, as a share of the full scale.
        detection: trials whose picture failed with the spot, and passed without it.
        missed: a picture with a spot that passed all the same, and what the network says of it.
    """

    size: float
    contrast: float
    detection: Rate
    missed: tuple[Image, Inspection] | None = field(default=None, compare=False, repr=False)


@dataclass(frozen=True)
class Limits:
    """What came of it.

    Attributes:
        cells: one a size and contrast, sizes within contrasts, both ascending.
        pictures: good ones that spots were put into.
        failing: good ones that fail without any: left out.
    """

    cells: tuple[Cell, ...]
    pictures: int
    failing: int

    def row(self, contrast: float) -> list[Cell]:
        """The cells of a contrast, by size."""
        return [cell for cell in self.cells if cell.contrast == contrast]

    def smallest(self, contrast: float) -> float | None:
        """The smallest size from which on at least `DETECTED` of all spots are found; None if there is none."""
        seen = None
        for cell in reversed(self.row(contrast)):
            if (cell.detection.value or 0) < DETECTED:
                break
            seen = cell.size
        return seen


def limits(
    bundle: Bundle,
    images: Sequence[Image],
    *,
    trials: int = 40,
    seed: int = 0,
    device: str = "auto",
    progress: Progress = lambda what, done, total: None,
) -> Limits:
    """Puts spots into good pictures, at the same random places for every size and contrast, and judges them.

    Args:
        bundle: to judge with.
        images: good ones of the bundle's format, `(H, W)` grey or `(H, W, 3)` RGB.
        trials: of each size and contrast; pictures take turns.
        seed: of the places.
        device: `auto`, `cpu` or `cuda`.
        progress: told after each judgement.

    Raises:
        DataError: no picture passes without a spot.
    """
    judge = _Judge(bundle, Engine.of(bundle, device=device))
    passing = [image for image in images if judge(image)[0]]
    if not passing:
        raise DataError(f"not one of {len(images)} good pictures passes: there is nothing to put a defect into")
    places = _places(bundle, trials, np.random.default_rng(seed))
    cells: list[Cell] = []
    for contrast in CONTRASTS:
        for size in SIZES:
            found, missed = 0, None
            for trial, place in enumerate(places):
                spotted = with_spot(passing[trial % len(passing)], place, size=size, contrast=contrast)
                passed, inspection = judge(spotted)
                found += not passed
                missed = (spotted, inspection) if passed else missed
                progress("defects", len(cells) * trials + trial + 1, len(CONTRASTS) * len(SIZES) * trials)
            cells.append(Cell(size, contrast, Rate(found, trials), missed))
    return Limits(tuple(cells), len(passing), len(images) - len(passing))


@dataclass(frozen=True)
class _Judge:
    """Judges as the line does: a picture that breaks the input contract fails as well."""

    bundle: Bundle
    engine: Engine

    def __call__(self, image: Image) -> tuple[bool, Inspection]:
        manifest = self.bundle.manifest
        inspection = self.engine.inspect([image])[0]
        looks = manifest.contract.appearance_fault(image) is None
        return manifest.calibration.passes(inspection.score) and looks, inspection


def _places(bundle: Bundle, trials: int, rng: np.random.Generator) -> NDArray[np.float64]:
    """Random places that are judged, `(trials, 2)`: y and x as shares of the frame's height and width."""
    manifest = bundle.manifest
    height, width = manifest.architecture.grid(manifest.preprocessing.crop)
    judged = np.array([[cell == JUDGED for cell in row] for row in manifest.scoring.ignore] or np.ones((height, width)))
    cells = np.argwhere(judged)[rng.integers(0, int(judged.sum()), trials)]
    x, y, wide, high = manifest.preprocessing.box(1, 1)
    inside = (cells + rng.random((trials, 2))) / (height, width)
    return np.asarray(inside * (high, wide) + (y, x))


def with_spot(image: Image, place: NDArray[np.float64], *, size: float, contrast: float) -> Image:
    """A picture with an even round spot: darker where it is bright, brighter where it is dark.

    Args:
        image: `(H, W)` grey or `(H, W, 3)` RGB, uint8 or uint16; stays as it is.
        place: y and x of the spot's middle, as shares of height and width.
        size: its diameter, as a share of the shorter side.
        contrast: its change of brightness, as a share of the full scale.
    """
    height, width = image.shape[:2]
    full = float(np.iinfo(image.dtype).max)
    ys, xs = np.ogrid[:height, :width]
    away = np.hypot(ys + 0.5 - place[0] * height, xs + 0.5 - place[1] * width)
    cover = np.clip(size * min(height, width) / 2 - away + 0.5, 0, 1)  # a pixel's share, at the rim
    inside = image[cover > 0.5] if (cover > 0.5).any() else image
    change = -contrast if inside.mean() > full / 2 else contrast
    spot = cover if image.ndim == 2 else cover[:, :, None]
    changed = np.clip(np.rint(image + change * full * spot), 0, full)
    return changed.astype(image.dtype)  # type: ignore[no-any-return]


def draw(found: Limits) -> bytes:
    """The probability of detection against size, a curve a contrast, as PNG."""
    named = {
        f"contrast {contrast:.0%}": (
            [100 * cell.size for cell in found.row(contrast)],
            [cell.detection.value or 0.0 for cell in found.row(contrast)],
        )
        for contrast in CONTRASTS
    }
    return charts.curves(named, x="diameter, % of the frame's shorter side", y="probability of detection")


def missed_tiles(bundle: Bundle, found: Limits) -> list[Tile]:
    """Spots that passed, the largest and strongest first, each beside its heat map; for a contact sheet."""
    ordered = sorted(found.cells, key=lambda cell: -cell.size * cell.contrast)
    return [
        Tile(
            f"{cell.size:.0%} wide, contrast {cell.contrast:.0%}",
            to_bgr(cell.missed[0]),
            overlay_of(cell.missed[0], cell.missed[1], bundle.manifest.calibration),
        )
        for cell in ordered
        if cell.missed is not None
    ]
