"""Pictures of surfaces whose every place has a name: texture, direction of its grain, and what is marked there."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Generator, Tensor, nn
from torch.nn import functional as F

from model.pretrain.marks import Kind, draw_marks
from model.pretrain.textures import Codes

TEXTURES = 400
DIRECTIONS = 8
MARKS = 3  # at most, a picture
UNKNOWN = -100  # a place that two textures share: no loss
COVERED = 0.05  # of a cell, from which on a mark is named

Uniform = Callable[..., Tensor]
"""`uniform(low, high, *shape)`: `(B, *shape)` numbers."""


@dataclass(frozen=True)
class Places:
    """A batch of pictures, and what each place of them shows.

    Attributes:
        pixels: `(B, 3, S, S)` float32 in [0, 1].
        texture: `(B, S / 16, S / 16)` code, or `UNKNOWN`.
        direction: `(B, S / 8, S / 8)` of the texture's first component, in `DIRECTIONS` steps, or `UNKNOWN`.
        fine: `(B, S / 8, S / 8)` of `Kind`.
        coarse: `(B, S / 16, S / 16)` likewise.
    """

    pixels: Tensor
    texture: Tensor
    direction: Tensor
    fine: Tensor
    coarse: Tensor


@dataclass(frozen=True)
class _Ground:
    """Unmarked surfaces, two a picture.

    Attributes:
        which: `(2, B)` codes.
        turn: `(2, B)` by which each is turned, radians.
        other: `(B, S, S)` in [0, 1], 1 where the second surface is.
        grey: `(B, S, S)` brightness.
        depth: `(B, S, S)` or `(B, 1, 1)`, contrast of the texture.
        exchanged: `(B, S, S)` brightness with the two surfaces in each other's place.
        photographed: `(B,)`, whether a photograph is the one surface.
    """

    which: Tensor
    turn: Tensor
    other: Tensor
    grey: Tensor
    depth: Tensor
    exchanged: Tensor
    photographed: Tensor


class Surfaces:
    """Draws batches.

    Args:
        seed: of the texture codes.
        device: where they are drawn.
        photographs: `(h, w)` each, brightness in [0, 1], no side shorter than the pictures'. If there are any, pieces
            of them are the surface of half of the pictures; they have no names, but the marks drawn onto them have.
    """

    def __init__(self, *, seed: int, device: str, photographs: Sequence[Tensor] = ()) -> None:
        self.codes, self.device = Codes.drawn(TEXTURES, seed=seed).to(device), device
        self.photographs = [each.to(device) for each in photographs]

    def draw(self, count: int, size: int, generator: Generator) -> Places:
        """Draws `count` pictures of `size` pixels, a multiple of 16. The generator is on the same device."""

        def uniform(low: float, high: float, *shape: int) -> Tensor:
            return low + (high - low) * torch.rand(count, *shape, generator=generator, device=self.device)

        ground = self._ground(uniform, count, size, generator)
        grey, layers = _marked(ground, uniform, generator)
        return Places(
            pixels=_seen(grey, uniform, generator),
            texture=_pure(torch.where(ground.photographed, UNKNOWN, ground.which), ground.other, 16),
            direction=_pure(torch.where(ground.photographed, UNKNOWN, self._direction(ground)), ground.other, 8),
            fine=_named(layers, 8),
            coarse=_named(layers, 16),
        )

    def _ground(self, uniform: Uniform, count: int, size: int, generator: Generator) -> "_Ground":
        which = torch.randint(TEXTURES, (2, count), generator=generator, device=self.device)
        turn = uniform(0, math.pi, 2).T  # (2, B)
        pieces = self.codes.render(which.flatten(), turn.flatten(), size, generator).reshape(2, count, size, size)
        other = _regions(uniform, size) * (uniform(0, 1) < 0.5)[:, None, None]
        contrast = torch.exp(uniform(math.log(0.015), math.log(0.3), 2)).T[:, :, None, None]  # (2, B, 1, 1)
        tone = uniform(0.15, 0.85)
        tones = torch.stack([tone, tone + uniform(-0.3, 0.3)])
        one, two = tones[:, :, None, None] + contrast * pieces  # (B, S, S) each
        grey, depth = torch.lerp(one, two, other), torch.lerp(contrast[0], contrast[1], other)
        photographed = torch.zeros(count, dtype=torch.bool, device=self.device)
        if self.photographs:
            photographed = uniform(0, 1) < 0.5
            pieces = self._pieces(count, size, generator)
            grey = torch.where(photographed[:, None, None], pieces, grey)
            depth = torch.where(photographed[:, None, None], pieces.std((1, 2), keepdim=True), depth)
            other = other * ~photographed[:, None, None]
        return _Ground(which, turn, other, grey, depth, torch.lerp(two, one, other), photographed)

    def _direction(self, ground: "_Ground") -> Tensor:
        """`(2, B)` of each surface's grain."""
        ahead = (self.codes.turn[ground.which, 0] + ground.turn) % math.pi
        direction = (ahead * DIRECTIONS / math.pi).long() % DIRECTIONS
        return torch.where(self.codes.aligned[ground.which, 0] > 1, direction, UNKNOWN)

    def _pieces(self, count: int, size: int, generator: Generator) -> Tensor:
        """`(count, size, size)`: cut out of the photographs, some of them mirrored."""
        found = []
        for chance in torch.rand(count, 5, generator=generator, device=self.device).tolist():
            whole = self.photographs[int(chance[0] * len(self.photographs))]
            top, left = (int(share * (side - size + 1)) for share, side in zip(chance[1:3], whole.shape, strict=True))
            piece = whole[top : top + size, left : left + size]
            found.append(piece.flip([axis for axis in (0, 1) if chance[3 + axis] < 0.5]))
        return torch.stack(found)


class Readers(nn.Module):
    """One linear layer a level and question, so that what is learned can be read from each place's features alone."""

    def __init__(self, fine: int, coarse: int) -> None:
        super().__init__()
        self.fine_kind, self.direction = nn.Conv2d(fine, len(Kind), 1), nn.Conv2d(fine, DIRECTIONS, 1)
        self.coarse_kind, self.texture = nn.Conv2d(coarse, len(Kind), 1), nn.Conv2d(coarse, TEXTURES, 1)

    def loss(self, fine: Tensor, coarse: Tensor, places: Places) -> dict[str, Tensor]:
        """Cross entropies. Args: fine: (B, C, S / 8, S / 8), level 2. coarse: (B, C, S / 16, S / 16), level 3."""
        return {
            "texture": _over_known(self.texture(coarse), places.texture),
            "direction": _over_known(self.direction(fine), places.direction),
            "fine": F.cross_entropy(self.fine_kind(fine).float(), places.fine),
            "coarse": F.cross_entropy(self.coarse_kind(coarse).float(), places.coarse),
        }


def _over_known(logits: Tensor, names: Tensor) -> Tensor:
    """Mean cross entropy over the cells that have a name; 0 if none has."""
    if not (names != UNKNOWN).any():
        return 0.0 * logits.float().sum()
    return F.cross_entropy(logits.float(), names, ignore_index=UNKNOWN)


def _marked(ground: _Ground, uniform: Uniform, generator: Generator) -> tuple[Tensor, list[tuple[Tensor, Tensor]]]:
    """The brightness with marks drawn on, and the layers (kinds, cover) that it is named by, the topmost last."""
    grey, (count, size, _) = ground.grey, ground.grey.shape
    names = torch.where((ground.other - 0.5).abs() < 0.45, int(Kind.BOUNDARY), int(Kind.NONE))
    layers = [(names, (names > 0).float())]
    for _ in range(MARKS):
        kind = torch.randint(1, int(Kind.BOUNDARY), (count,), generator=generator, device=grey.device)
        kind = torch.where(uniform(0, 1) < 0.5, kind, int(Kind.NONE))[:, None, None]
        marks = draw_marks(kind[:, 0, 0], size, generator)
        sign = torch.where(uniform(0, 1) < 0.7, -1, 1)[:, None, None]  # most are darker than what is around
        strength = sign * (0.02 + ground.depth * uniform(0.5, 3)[:, None, None])
        patched = torch.lerp(grey, ground.exchanged, marks.cover)
        grey = torch.where(kind == Kind.PATCH, patched, grey + strength * marks.relief)
        layers.append((kind.expand_as(names), marks.cover))
    return grey, layers


def _regions(uniform: Uniform, size: int) -> Tensor:
    """`(B, S, S)` in [0, 1], steep: one side of a line, an ellipse, a band, or one side of a wavy line."""

    def each(low: float, high: float) -> Tensor:
        return uniform(low, high)[:, None, None]

    turn, radius, kind, flat = each(0, 2 * math.pi), each(0.15, 0.45) * size, each(0, 1), each(0.5, 1.5)
    centre_x, centre_y = each(0.2, 0.8) * size, each(0.2, 0.8) * size
    grid = torch.arange(size, device=turn.device) + 0.5
    x, y = grid[None, None, :] - centre_x, grid[None, :, None] - centre_y
    across, along = x * turn.cos() + y * turn.sin(), y * turn.cos() - x * turn.sin()
    waves = 0.6 * size * F.interpolate(uniform(-1, 1, 1, 5, 5), size=(size, size), mode="bicubic")[:, 0]
    inside = torch.where(kind < 0.3, across, across + waves)
    inside = torch.where((kind >= 0.3) & (kind < 0.6), radius - torch.hypot(across, along * flat), inside)
    inside = torch.where((kind >= 0.6) & (kind < 0.8), radius / 3 - across.abs(), inside)
    return torch.sigmoid(2 * inside)


def _seen(grey: Tensor, uniform: Uniform, generator: Generator) -> Tensor:
    """What a camera makes of a surface: lamp, gloss, tint, lens and sensor. None of it is a mark.

    Args:
        grey: (B, S, S) brightness.
        uniform: of B.
        generator: of the sensor's noise.

    Returns:
        (B, 3, S, S) in [0, 1].
    """
    count, size, _ = grey.shape
    grid = torch.linspace(-0.5, 0.5, size, device=grey.device)
    turn, centre = uniform(0, 2 * math.pi)[:, None, None], uniform(-0.6, 0.6, 2)
    x, y = grid[None, None, :], grid[None, :, None]
    ramp = 1 + uniform(0, 0.4)[:, None, None] * (x * turn.cos() + y * turn.sin())
    away = (x - centre[:, 0, None, None]) ** 2 + (y - centre[:, 1, None, None]) ** 2
    gloss = uniform(-0.2, 0.4)[:, None, None] * torch.exp(-away / (2 * uniform(0.25, 0.6)[:, None, None] ** 2))
    lit = grey * (ramp + gloss)
    soft = F.avg_pool2d(F.pad(lit[:, None], (1, 1, 1, 1), mode="reflect"), 3, stride=1)[:, 0]
    lit = torch.where((uniform(0, 1) < 0.4)[:, None, None], soft, lit)
    tint = 1 + uniform(-0.25, 0.25, 3) * (uniform(0, 1) < 0.5)[:, None]  # half of the pictures are grey
    noise = torch.randn(count, 1, size, size, generator=generator, device=grey.device)
    noisy = lit[:, None] * tint[:, :, None, None] + uniform(0, 0.02)[:, None, None, None] * noise
    return noisy.clamp(0, 1)


def _pure(names: Tensor, other: Tensor, stride: int) -> Tensor:
    """The surfaces' names `(2, B)` on a grid `(B, S / stride, S / stride)`: `UNKNOWN` where both share a cell."""
    share = F.avg_pool2d(other[:, None], stride)[:, 0]
    one, two = names[:, :, None, None]
    named = torch.where(share < 0.5, one, two)
    return torch.where((share - 0.5).abs() > 0.48, named, UNKNOWN)


def _named(layers: list[tuple[Tensor, Tensor]], stride: int) -> Tensor:
    """`(B, S / stride, S / stride)` of `Kind`: the last layer (kinds, cover) that covers enough of a cell."""
    found = torch.zeros((), dtype=torch.long, device=layers[0][0].device)
    for kinds, cover in layers:
        kind = F.max_pool2d(kinds[:, None].float(), stride)[:, 0].long()
        here = (F.avg_pool2d(cover[:, None], stride)[:, 0] > COVERED) & (kind != Kind.NONE)
        found = torch.where(here, kind, found)
    return found
