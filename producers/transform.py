"""Where a pixel of a frame lies on the sensor: 2 x 3 matrices, and what cropping, turning and scaling make of them.

A pixel's centre has whole numbers as coordinates, so a matrix takes the centre of the frame's pixel (column x, row y)
to sensor column `a x + b y + c` and row `d x + e y + f`. A box (x, y, width, height) covers whole pixels, that is, from
half a pixel before the centre of its first to half a pixel behind that of its last. Pure.
"""

from typing import Annotated, Literal

from pydantic import Field

Coefficient = Annotated[float, Field(ge=-1e9, le=1e9, allow_inf_nan=False)]
AffineRow = tuple[Coefficient, Coefficient, Coefficient]
Transform = tuple[AffineRow, AffineRow]
Box = tuple[float, float, float, float]
Turn = Literal[0, 90, 180, 270]

IDENTITY: Transform = ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0))


def after_crop(x: int, y: int) -> Transform:
    """From the pixels of a picture that begins at column `x`, row `y` of another to that other's."""
    return (1.0, 0.0, float(x)), (0.0, 1.0, float(y))


def after_turn(turn: Turn, *, width: int, height: int) -> Transform:
    """From the pixels of a picture that was turned clockwise to those before.

    Args:
        turn: degrees.
        width: before it was turned.
        height: likewise.
    """
    right, bottom = width - 1.0, height - 1.0
    return {
        0: IDENTITY,
        90: ((0.0, 1.0, 0.0), (-1.0, 0.0, bottom)),
        180: ((-1.0, 0.0, right), (0.0, -1.0, bottom)),
        270: ((0.0, -1.0, right), (1.0, 0.0, 0.0)),
    }[turn]


def after_resize(*, before: tuple[int, int], after: tuple[int, int]) -> Transform:
    """From the pixels of a picture that was resized to those before; the edges of both lie on each other.

    Args:
        before: (width, height).
        after: likewise.
    """
    across, down = before[0] / after[0], before[1] / after[1]
    return (across, 0.0, (across - 1) / 2), (0.0, down, (down - 1) / 2)


def chain(first: Transform, then: Transform) -> Transform:
    """One matrix that does what two do one after the other."""
    return _row(first, then[0]), _row(first, then[1])


def sensor_point(transform: Transform, x: float, y: float) -> tuple[float, float]:
    """A point of the frame, (column, row), on the sensor."""
    (a, b, c), (d, e, f) = transform
    return a * x + b * y + c, d * x + e * y + f


def sensor_box(transform: Transform | None, box: Box) -> Box:
    """The smallest upright box on the sensor that holds a box of the frame.

    Args:
        transform: of the frame; None: frame and sensor are the same.
        box: (x, y, width, height) in frame pixels.
    """
    x, y, width, height = box
    if transform is None:
        return box
    edges = [(across - 0.5, down - 0.5) for across in (x, x + width) for down in (y, y + height)]
    columns, rows = zip(*(sensor_point(transform, *edge) for edge in edges), strict=True)
    return min(columns) + 0.5, min(rows) + 0.5, max(columns) - min(columns), max(rows) - min(rows)


def _row(first: Transform, row: AffineRow) -> AffineRow:
    (a, b, c), (d, e, f) = first
    p, q, r = row
    return p * a + q * d, p * b + q * e, p * c + q * f + r
