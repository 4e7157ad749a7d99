"""The input contract: which pictures a bundle may judge at all. One that breaks it is a bad frame and never passes."""

from collections.abc import Sequence
from typing import Literal, NamedTuple

import cv2
import numpy as np
from pydantic import BaseModel, ConfigDict, PositiveFloat, PositiveInt, field_validator

from model.errors import ContractError
from model.images import Image

Sizes = tuple[PositiveInt, PositiveInt]
"""Smallest and largest, pixels, both included."""
Levels = tuple[PositiveFloat, PositiveFloat]
"""Lowest and highest of a figure of `Appearance`, both included."""

SIDE = 256
"""Pixels of the square that a picture is brought to before it is looked at."""
LEAST_RATIO = 1.1
"""Good pictures that are all alike still allow a tenth less and a tenth more."""
NOTHING = 1e-3
"""Below this, figures are the same: ratios of next to nothing mean nothing."""


class Appearance(NamedTuple):
    """A picture's plainest figures, of its grey values in [0, 1] at `SIDE` x `SIDE` pixels.

    A local network judges neighbourhoods: it may find nothing wrong with any part of a picture in which everything
    is missing. These figures see that, and they name what is wrong where a lamp has failed or a lens has slipped.

    Attributes:
        brightness: mean.
        contrast: standard deviation.
        sharpness: mean of the Laplacian's magnitude.
    """

    brightness: float
    contrast: float
    sharpness: float

    @classmethod
    def of(cls, image: Image) -> "Appearance":
        """Of a picture, `(H, W)` grey or `(H, W, 3)` RGB, uint8 or uint16."""
        small = cv2.resize(image, (SIDE, SIDE), interpolation=cv2.INTER_AREA)
        grey = small if small.ndim == 2 else cv2.cvtColor(small, cv2.COLOR_RGB2GRAY)
        levels = grey.astype(np.float32) / np.iinfo(image.dtype).max
        return cls(float(levels.mean()), float(levels.std()), float(np.abs(cv2.Laplacian(levels, cv2.CV_32F)).mean()))


class InputContract(BaseModel):
    """Which pictures a bundle may judge. One that breaks it is a bad frame, never silently resized into a pass.

    Attributes:
        height: of the picture.
        width: likewise.
        channels: 1 (grey) or 3 (colour).
        dtype: `uint8` or `uint16`.
        brightness: see `Appearance`; None allows any.
        contrast: likewise.
        sharpness: likewise.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    height: Sizes
    width: Sizes
    channels: Literal[1, 3]
    dtype: Literal["uint8", "uint16"]
    brightness: Levels | None = None
    contrast: Levels | None = None
    sharpness: Levels | None = None

    @field_validator("height", "width", "brightness", "contrast", "sharpness")
    @classmethod
    def _lowest_first(cls, ends: tuple[float, float] | None) -> tuple[float, float] | None:
        if ends and ends[0] > ends[1]:
            raise ValueError("the smaller end comes first")
        return ends

    @classmethod
    def of(cls, images: Sequence[Image]) -> "InputContract":
        """The contract that good pictures set: their own kind, their sizes, and how they look.

        Pictures of one size allow that size alone; pictures of many sizes allow a tenth beyond the extremes. Each
        figure of the appearance may lie as far beyond the extremes as these lie apart, as ratios.

        Raises:
            ContractError: pictures of different kinds (grey beside colour, 8 beside 16 bit).
        """
        kinds = {(_channels(image), image.dtype.name) for image in images}
        if len(kinds) != 1:
            listed = ", ".join(f"{c} channel(s) of {d}" for c, d in sorted(kinds))
            raise ContractError(f"good pictures must be of one kind, but these are of {len(kinds)}: {listed}")
        channels, dtype = kinds.pop()
        figures = zip(*(Appearance.of(image) for image in images), strict=True)
        fields = {
            "height": _size_range([image.shape[0] for image in images]),
            "width": _size_range([image.shape[1] for image in images]),
            "channels": channels,
            "dtype": dtype,
            **{name: _levels(found) for name, found in zip(Appearance._fields, figures, strict=True)},
        }
        return cls.model_validate(fields)

    def check(self, image: Image) -> None:
        """Raises `ContractError`, saying in one sentence what is wrong, unless the picture keeps the contract."""
        self.check_format(image)
        fault = self.appearance_fault(image)
        if fault is not None:
            raise ContractError(fault)

    def check_format(self, image: Image) -> None:
        """The part of `check` without which the network can't be asked: size, channels, depth."""
        height, width = image.shape[:2]
        if image.dtype != self.dtype or _channels(image) != self.channels:
            raise ContractError(
                f"picture has {_channels(image)} channel(s) of {image.dtype.name}, "
                f"the bundle expects {self.channels} of {self.dtype}"
            )
        self.check_size(height, width)

    def check_size(self, height: int, width: int) -> None:
        """The part of `check_format` that a header's claim can be held to before anything is decoded."""
        for name, size, (low, high) in (("high", height, self.height), ("wide", width, self.width)):
            if not low <= size <= high:
                raise ContractError(f"picture is {size} pixels {name}, the bundle expects {low} to {high}")

    def appearance_fault(self, image: Image) -> str | None:
        """The rest of `check`, as a sentence: brightness, contrast or sharpness is out of bounds; None if none is."""
        if not (self.brightness or self.contrast or self.sharpness):
            return None
        bounds = {name: getattr(self, name) for name in Appearance._fields}
        for name, figure in Appearance.of(image)._asdict().items():
            if bounds[name] and not bounds[name][0] <= max(figure, NOTHING) <= bounds[name][1]:
                low, high = bounds[name]
                return f"picture's {name} is {figure:.3g}, the bundle expects {low:.3g} to {high:.3g}"
        return None


def _channels(image: Image) -> int:
    return 1 if image.ndim == 2 else image.shape[2]


def _size_range(sizes: list[int]) -> tuple[int, int]:
    low, high = min(sizes), max(sizes)
    return (low, high) if low == high else (max(1, int(low * 0.9)), int(high * 1.1) + 1)


def _levels(figures: Sequence[float]) -> tuple[float, float]:
    low, high = max(min(figures), NOTHING), max(*figures, NOTHING)
    ratio = max(high / low, LEAST_RATIO)
    return low / ratio, high * ratio
