"""Textures by formula: filtered noise. A code is a recipe for one, and every drawing of it is a new piece of it.

Baradad et al., "Learning to See by Looking at Noise" (NeurIPS 2021), found that such processes teach a network a lot
about pictures. What is named here is chosen for surfaces: grain with a direction, grids, mottles, speckle.
"""

import math
from dataclasses import dataclass

import torch
from torch import Generator, Tensor

COMPONENTS = 2


@dataclass(frozen=True)
class Codes:
    """Recipes of K textures, row by row.

    Attributes:
        frequency: `(K, 2)` at which each component's spectrum peaks, cycles a pixel.
        octaves: `(K, 2)` width of that peak.
        turn: `(K, 2)` direction in which the component varies, radians.
        aligned: `(K, 2)` how sharply; 0: in all directions alike.
        weight: `(K, 2)` of the component.
        slope: `(K,)` of the broad noise beneath: its amplitude falls as frequency to this power.
        broad: `(K,)` weight of that noise.
        shape: `(K,)` what becomes of the sum: 0 as it is, 1 ridges, 2 flat with steep edges, 3 sparse spots.
    """

    frequency: Tensor
    octaves: Tensor
    turn: Tensor
    aligned: Tensor
    weight: Tensor
    slope: Tensor
    broad: Tensor
    shape: Tensor

    @classmethod
    def drawn(cls, count: int, *, seed: int) -> "Codes":
        """`count` codes; the same ones for the same seed, on any device and at any size of picture."""
        chance = Generator().manual_seed(seed)

        def uniform(low: float, high: float, *shape: int) -> Tensor:
            return low + (high - low) * torch.rand(count, *shape, generator=chance)

        strength = uniform(0, 1, COMPONENTS)
        return cls(
            frequency=2 ** uniform(-5.0, -1.5, COMPONENTS),
            octaves=uniform(0.15, 1.0, COMPONENTS),
            turn=uniform(0, math.pi, COMPONENTS),
            aligned=torch.where(uniform(0, 1, COMPONENTS) < 0.35, 0.0, 2 ** uniform(0, 5, COMPONENTS)),
            weight=strength / strength.sum(1, keepdim=True),
            slope=uniform(-2.2, 0.0),
            broad=uniform(0.0, 0.7),
            shape=torch.randint(4, (count,), generator=chance),
        )

    def to(self, device: str) -> "Codes":
        """The same codes on a device."""
        return Codes(**{name: tensor.to(device) for name, tensor in vars(self).items()})

    def render(self, which: Tensor, turn: Tensor, size: int, generator: Generator) -> Tensor:
        """Draws pieces of textures.

        Args:
            which: `(N,)` codes.
            turn: `(N,)` by which each piece is turned, radians.
            size: of the pieces, pixels.
            generator: on the codes' device.

        Returns:
            `(N, size, size)` float32, mean 0 and deviation 1 within each piece.
        """
        device = which.device
        v, u = torch.fft.fftfreq(size, device=device)[:, None], torch.fft.rfftfreq(size, device=device)[None, :]
        radius = torch.hypot(u, v).clamp(min=0.5 / size)  # (size, size // 2 + 1), cycles a pixel
        angle = 2 * torch.atan2(v, u)
        level = torch.log2(radius)
        spectrum = self.broad[which, None, None] * _unit(torch.exp2(self.slope[which, None, None] * level))
        for part in range(COMPONENTS):
            peak = level - torch.log2(self.frequency[which, part])[:, None, None]
            ahead = 2 * (self.turn[which, part] + turn)[:, None, None]
            # cosine of the difference
            alike = torch.cos(angle) * torch.cos(ahead) + torch.sin(angle) * torch.sin(ahead)
            octaves, aligned = self.octaves[which, part][:, None, None], self.aligned[which, part][:, None, None]
            bump = torch.exp(aligned * (alike - 1) - 0.5 * (peak / octaves) ** 2)
            spectrum = spectrum + self.weight[which, part][:, None, None] * _unit(bump)
        spectrum[:, 0, 0] = 0  # no mean
        noise = torch.randn(*spectrum.shape, 2, generator=generator, device=device)
        piece = _unit(torch.fft.irfft2(spectrum * torch.view_as_complex(noise), s=(size, size)))
        shape = self.shape[which, None, None]
        piece = torch.where(shape == 1, 0.8 - piece.abs(), piece)
        piece = torch.where(shape == 2, torch.tanh(3 * piece), piece)
        piece = torch.where(shape == 3, (piece - 1).clamp(min=0), piece)
        return _unit(piece - piece.mean((1, 2), keepdim=True))


def _unit(planes: Tensor) -> Tensor:
    """Each plane of a batch divided by its root mean square."""
    return planes / planes.square().mean((1, 2), keepdim=True).sqrt().clamp(min=1e-6)
