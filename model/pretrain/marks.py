"""Marks on a surface, by formula: what a line engineer would call a scratch, a crack, a spot, a stain, a dent..."""

import math
from dataclasses import dataclass
from enum import IntEnum
from itertools import pairwise

import torch
from torch import Generator, Tensor

POINTS = 5  # of the path that a mark is drawn along


class Kind(IntEnum):
    """What a place shows. A boundary is where two surfaces meet; a patch is a piece of another texture."""

    NONE = 0
    SCRATCH = 1
    CRACK = 2
    SPOT = 3
    RING = 4
    STAIN = 5
    DENT = 6
    PATCH = 7
    BOUNDARY = 8


@dataclass(frozen=True)
class Marks:
    """One mark a picture.

    Attributes:
        kind: `(B,)` of `Kind`; `NONE` where there is no mark.
        cover: `(B, S, S)` in [0, 1], how much of each pixel it covers.
        relief: `(B, S, S)` in [-1, 1], how it changes the brightness: `cover`, or a lit and a shaded flank.
    """

    kind: Tensor
    cover: Tensor
    relief: Tensor


# Of each kind: length of the path, wandering off a straight line as a share of it, half width (pixels, smallest and
# largest), how ragged its rim is as a share of the half width, and how soft as a share of it.
_SHAPES = {
    Kind.NONE: ((1, 1), 0.0, (1, 1), 0.0, 1.0),
    Kind.SCRATCH: ((15, 80), 0.03, (0.5, 2.2), 0.2, 0.4),
    Kind.CRACK: ((15, 70), 0.25, (0.4, 1.4), 0.6, 0.5),
    Kind.SPOT: ((0, 3), 0.3, (1.2, 7), 0.2, 0.15),
    Kind.RING: ((0, 0), 0.0, (0.8, 2.2), 0.2, 0.3),
    Kind.STAIN: ((0, 14), 0.5, (5, 18), 0.7, 0.35),
    Kind.DENT: ((0, 3), 0.2, (4, 13), 0.1, 0.5),
    Kind.PATCH: ((0, 25), 0.4, (4, 13), 0.4, 0.1),
}


def draw_marks(kind: Tensor, size: int, generator: Generator) -> Marks:
    """Draws one mark a picture, somewhere in it.

    Args:
        kind: `(B,)` of `Kind`, below `BOUNDARY`.
        size: of the pictures, pixels.
        generator: on the same device.
    """
    device, count = kind.device, len(kind)

    def uniform(low: Tensor | float, high: Tensor | float, *shape: int) -> Tensor:
        return low + (high - low) * torch.rand(count, *shape, generator=generator, device=device)

    rows = [_flat(_SHAPES[Kind(number)]) for number in range(len(_SHAPES))]
    shortest, longest, wander, thinnest, thickest, ragged, soft = torch.tensor(rows, device=device)[kind].T
    length, half = uniform(shortest, longest), torch.exp(uniform(thinnest.log(), thickest.log()))
    path = _path(uniform(0, size, 2), uniform(0, 2 * math.pi), length, wander * length, uniform(-1, 1, POINTS))
    grid = torch.arange(size, device=device) + 0.5
    away = torch.full((count, size, size), torch.inf, device=device)
    for start, end in pairwise(path):
        away = torch.minimum(away, _distance(grid, start, end))
    ring = uniform(4, 14)
    away = torch.where((kind == Kind.RING)[:, None, None], (away - ring[:, None, None]).abs(), away)
    away = away + (ragged * half)[:, None, None] * _smooth_noise(count, size, generator, device)
    cover = torch.sigmoid((half[:, None, None] - away) / (0.25 + 0.5 * soft * half)[:, None, None])
    cover = cover * (kind != Kind.NONE)[:, None, None]
    middle, lit = path[POINTS // 2], uniform(0, 2 * math.pi)
    x, y = grid[None, None, :] - middle[:, 0, None, None], grid[None, :, None] - middle[:, 1, None, None]
    towards = (x * lit.cos()[:, None, None] + y * lit.sin()[:, None, None]) / half[:, None, None]
    flanks = cover * (2 * towards).clamp(-1, 1)
    return Marks(kind, cover, torch.where((kind == Kind.DENT)[:, None, None], flanks, cover))


def _flat(row: tuple[tuple[float, float], float, tuple[float, float], float, float]) -> list[float]:
    (shortest, longest), wander, (thinnest, thickest), ragged, soft = row
    return [shortest, longest, wander, thinnest, thickest, ragged, soft]


def _path(middle: Tensor, turn: Tensor, length: Tensor, wander: Tensor, aside: Tensor) -> Tensor:
    """Points along a line through `middle` (B, 2), pushed aside: `(POINTS, B, 2)` as x, y."""
    along = torch.linspace(-0.5, 0.5, POINTS, device=middle.device)[:, None] * length  # (POINTS, B)
    across = aside.T * wander
    x = along * turn.cos() - across * turn.sin()
    y = along * turn.sin() + across * turn.cos()
    return middle + torch.stack([x, y], dim=2)


def _distance(grid: Tensor, start: Tensor, end: Tensor) -> Tensor:
    """`(B, S, S)`: of each pixel from a segment between two points `(B, 2)`."""
    x, y = grid[None, None, :] - start[:, 0, None, None], grid[None, :, None] - start[:, 1, None, None]
    dx, dy = (end - start)[:, 0, None, None], (end - start)[:, 1, None, None]
    share = ((x * dx + y * dy) / (dx * dx + dy * dy).clamp(min=1e-6)).clamp(0, 1)
    return torch.hypot(x - share * dx, y - share * dy)


def _smooth_noise(count: int, size: int, generator: Generator, device: torch.device) -> Tensor:
    """`(count, size, size)` noise of unit deviation that changes over some six pixels."""
    coarse = torch.randn(count, 1, size // 6, size // 6, generator=generator, device=device)
    return torch.nn.functional.interpolate(coarse, size=(size, size), mode="bicubic")[:, 0]
