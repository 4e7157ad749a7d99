"""Drawn parts: ground steel plates with milled grooves, good and bad, for the demo and for trials without a camera.

The camera looks down on a piece of a plate that fills its picture. Every plate lies differently and has its own grain
and light, so that a picture can't be told bad by comparing it with the average good one. Defects are drawn onto a plate
that is otherwise as good as any, within the fixed ranges of `DEFECTS`.

Grain and grooves run the same way. That keeps what a good plate looks like simple enough for a backbone with random
weights, so that the demo needs no download; defects are what breaks the pattern.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

SIZE = 256  # pixels, height and width
PITCH = 64.0  # pixels from groove to groove
HALF_WIDTH = 9.0  # of a groove, pixels
GROOVE_CONTRAST = 0.42  # how much darker a groove's floor is than the ground face
MARGIN = 40  # pixels between the frame and a defect's centre

Plane = NDArray[np.float32]
Span = tuple[float, float]

_XS, _YS = (axis.astype(np.float32) - SIZE / 2 for axis in np.meshgrid(np.arange(SIZE), np.arange(SIZE)))


@dataclass(frozen=True)
class DefectRange:
    """How large and how strong a kind of defect is drawn.

    Attributes:
        size: smallest and largest, pixels: a scratch's or missing piece's length, a dent's or stain's radius.
        contrast: smallest and largest change of brightness at its strongest, as a share of the ground face's own.
    """

    size: Span
    contrast: Span


DEFECTS = {
    "dent": DefectRange(size=(13, 20), contrast=(0.25, 0.38)),
    "missing_groove": DefectRange(size=(30, 60), contrast=(GROOVE_CONTRAST, GROOVE_CONTRAST)),
    "scratch": DefectRange(size=(70, 120), contrast=(0.4, 0.5)),
    "stain": DefectRange(size=(16, 28), contrast=(0.27, 0.4)),
}
"""The fixed ranges of each kind, drawn uniformly.

A scratch is 4 to 6 pixels wide and darkens the face, a dent brightens one flank and darkens the other, a stain is a
dull film of its own grey, and a missing piece of a groove is simply as bright as the face.
"""


@dataclass(frozen=True)
class Pose:
    """How a plate lies: one groove's distance from the picture's middle in pixels, and its angle in radians."""

    offset: float
    angle: float

    def along(self) -> Plane:
        """Each pixel's place along the grooves, 0 in the middle of the picture."""
        return np.asarray(_XS * math.cos(self.angle) + _YS * math.sin(self.angle), np.float32)

    def across(self) -> Plane:
        """Each pixel's place across the grooves, 0 in the middle of the groove that `offset` names."""
        return np.asarray(_YS * math.cos(self.angle) - _XS * math.sin(self.angle) - self.offset, np.float32)

    def from_groove(self) -> Plane:
        """Each pixel's signed distance from the middle of the nearest groove."""
        return np.asarray((self.across() + PITCH / 2) % PITCH - PITCH / 2, np.float32)

    def face(self) -> Plane:
        """1 on the ground face, 0 in a groove."""
        return _step(np.asarray(np.abs(self.from_groove()) - HALF_WIDTH, np.float32))


def draw_part(
    rng: np.random.Generator, defect: str | None = None, *, strength: float = 1.0
) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Draws one part.

    Args:
        rng: decides everything that varies.
        defect: a key of `DEFECTS`, or None for a good part.
        strength: of the defect's contrast, as a share of its range.

    Returns:
        The picture `(SIZE, SIZE, 3)` BGR and its mask `(SIZE, SIZE)`, 255 on the defect.
    """
    pose = Pose(offset=rng.uniform(-PITCH / 2, PITCH / 2), angle=rng.uniform(-0.06, 0.06))
    plate = 1 + rng.uniform(0.02, 0.04) * _grain(rng, pose) - GROOVE_CONTRAST * _grooves(pose)
    mask = np.zeros((SIZE, SIZE), np.float32)
    if defect is not None:
        wanted = DEFECTS[defect]
        plate, mask = _DRAW[defect](
            rng, plate, pose, rng.uniform(*wanted.size), strength * rng.uniform(*wanted.contrast)
        )
    seen = cv2.GaussianBlur((plate * _light(rng)).astype(np.float32), (0, 0), 0.9)  # the lens
    seen = seen + rng.normal(0, 1.0, seen.shape)  # the sensor's own noise
    tint = np.array([1.02, 1.0, 0.97]) * rng.uniform(0.98, 1.02, 3)
    picture = np.clip(seen[:, :, None] * tint, 0, 255).astype(np.uint8)
    return picture, np.where(mask > 0.3, 255, 0).astype(np.uint8)


def _step(distance: Plane) -> Plane:
    """0 where `distance` is negative, 1 where it is positive, three pixels of transition."""
    return np.clip(distance / 3 + 0.5, 0, 1).astype(np.float32)


def _grain(rng: np.random.Generator, pose: Pose) -> Plane:
    """Grinding marks along the grooves, of unit deviation."""
    size = SIZE + 64  # turned afterwards, so that it needs something to spare
    marks = cv2.GaussianBlur(rng.normal(size=(size, size)).astype(np.float32), (0, 0), sigmaX=16, sigmaY=0.9)
    turn = cv2.getRotationMatrix2D((size / 2, size / 2), -math.degrees(pose.angle), 1)
    turned = cv2.warpAffine(marks / marks.std(), turn, (size, size), borderMode=cv2.BORDER_REFLECT)
    return np.asarray(turned[32:-32, 32:-32], np.float32)


def _grooves(pose: Pose) -> Plane:
    """How dark the grooves are: 1 on the floor, a little below 0 on the lit edge and above it on the other."""
    away = pose.from_groove()
    edges = np.exp(-(((away - HALF_WIDTH) / 2) ** 2)) - np.exp(-(((away + HALF_WIDTH) / 2) ** 2))
    return np.asarray(1 - pose.face() - 0.25 * edges, np.float32)


def _light(rng: np.random.Generator) -> Plane:
    """Grey value of a perfectly even face: a lamp from some side, and a broad gloss somewhere."""
    turn, x, y = rng.uniform(0, 2 * math.pi), *rng.uniform(-SIZE / 2, SIZE / 2, 2)
    ramp = 1 + rng.uniform(0, 0.2) * (_XS * math.cos(turn) + _YS * math.sin(turn)) / SIZE
    gloss = np.exp(-(np.hypot(_XS - x, _YS - y) ** 2) / (2 * rng.uniform(60, 110) ** 2))
    return np.asarray(rng.uniform(180, 215) * ramp * (1 + rng.uniform(0, 0.1) * gloss), np.float32)


def _spot_on_face(rng: np.random.Generator, pose: Pose) -> tuple[float, float]:
    """Somewhere between two grooves: what scratches and dents a plate doesn't reach down into them."""
    away = np.abs(pose.from_groove())
    while True:
        column, row = rng.integers(MARGIN, SIZE - MARGIN, 2)
        if away[row, column] > 2 * HALF_WIDTH:
            return float(_XS[row, column]), float(_YS[row, column])


def _scratch(rng: np.random.Generator, plate: Plane, pose: Pose, size: float, contrast: float) -> tuple[Plane, Plane]:
    x, y = _spot_on_face(rng, pose)
    # Across the grain: along it, a scratch would look like one more grinding mark.
    turn, bend = rng.uniform(0.2, 0.8) * math.pi, rng.uniform(-0.15, 0.15)
    along = np.linspace(-size / 2, size / 2, 24)
    xs = x + along * math.cos(turn) - bend * along**2 / size * math.sin(turn)
    ys = y + along * math.sin(turn) + bend * along**2 / size * math.cos(turn)
    points = np.round((np.stack([xs, ys], axis=1) + SIZE / 2) * 16).astype(np.int32)
    line = np.zeros((SIZE, SIZE), np.uint8)
    cv2.polylines(line, [points], False, 255, thickness=int(rng.integers(4, 7)), lineType=cv2.LINE_AA, shift=4)
    drawn = np.asarray(line / 255 * pose.face(), np.float32)
    return plate - contrast * drawn, drawn


def _dent(rng: np.random.Generator, plate: Plane, pose: Pose, size: float, contrast: float) -> tuple[Plane, Plane]:
    x, y = _spot_on_face(rng, pose)
    turn = rng.uniform(0, 2 * math.pi)
    towards = ((_XS - x) * math.cos(turn) + (_YS - y) * math.sin(turn)) / size
    away = np.hypot(_XS - x, _YS - y) / size
    flanks = 2 * math.exp(0.5) * towards * np.exp(-2 * away**2)  # one lit, the other in shade, extremes 1 and -1
    face = pose.face()
    return plate + contrast * flanks * face, np.asarray((away < 1) * face, np.float32)


def _stain(rng: np.random.Generator, plate: Plane, _: Pose, size: float, contrast: float) -> tuple[Plane, Plane]:
    x, y = rng.uniform(MARGIN - SIZE / 2, SIZE / 2 - MARGIN, 2)
    ragged = cv2.GaussianBlur(rng.normal(size=(SIZE, SIZE)).astype(np.float32), (0, 0), 5)
    blob = _step(size - np.hypot(_XS - x, _YS - y) - 0.25 * size * ragged / ragged.std())
    return plate + 0.9 * blob * (1 - contrast - plate), blob  # a nearly opaque film over face and grooves alike


def _missing_groove(
    rng: np.random.Generator, plate: Plane, pose: Pose, size: float, contrast: float
) -> tuple[Plane, Plane]:
    """The cutter was lifted: a piece of one groove was never milled."""
    middle, groove = rng.uniform(-60, 60), PITCH * rng.integers(-1, 2)
    piece = _step(size / 2 - np.abs(pose.along() - middle)) * (np.abs(pose.across() - groove) < PITCH / 2)
    return plate + contrast * _grooves(pose) * piece, np.asarray((1 - pose.face()) * piece, np.float32)


_DRAW: dict[str, Callable[[np.random.Generator, Plane, Pose, float, float], tuple[Plane, Plane]]] = {
    "dent": _dent,
    "missing_groove": _missing_groove,
    "scratch": _scratch,
    "stain": _stain,
}


def draw_dataset(
    root: Path,
    *,
    train: int = 100,
    good: int = 60,
    bad: int = 60,
    seed: int = 0,
    strength: float = 1.0,
    progress: Callable[[int, int], object] = lambda done, total: None,
) -> None:
    """Draws parts into an MVTec-layout folder.

    Args:
        root: gets `train/good`, `test/good`, `test/<defect>` and `ground_truth/<defect>`.
        train: good parts to learn from.
        good: good parts to test with.
        bad: bad parts to test with, spread evenly over the kinds of `DEFECTS`.
        seed: of everything drawn.
        strength: of the defects' contrast, as a share of its range.
        progress: told (done, total).
    """
    kinds = sorted(DEFECTS)
    wanted: list[tuple[str, str | None]] = []
    wanted += [("train/good", None)] * train + [("test/good", None)] * good
    wanted += [(f"test/{kinds[index % len(kinds)]}", kinds[index % len(kinds)]) for index in range(bad)]
    counters: dict[str, int] = {}
    for done, (folder, defect) in enumerate(wanted):
        picture, mask = draw_part(np.random.default_rng([seed, done]), defect, strength=strength)
        stem = f"{counters.get(folder, 0):03d}"
        counters[folder] = counters.get(folder, 0) + 1
        _write(root / folder / f"{stem}.png", picture)
        if defect is not None:
            _write(root / "ground_truth" / defect / f"{stem}_mask.png", mask)
        progress(done + 1, len(wanted))


def _write(path: Path, image: NDArray[np.uint8]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    ok, encoded = cv2.imencode(path.suffix, image)
    if not ok:
        raise OSError(f"{path} could not be encoded")
    path.write_bytes(encoded.tobytes())
