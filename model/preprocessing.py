"""From a camera's picture to the network's input. Training, calibration and the line all come through here."""

from typing import Annotated, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, PositiveFloat, PositiveInt, field_validator, model_validator
from torch import Tensor
from torch.nn import functional as F

from model.anomaly_map import Box
from model.errors import ContractError

Image = NDArray[np.uint8] | NDArray[np.uint16]

Side = Annotated[int, Field(ge=8, le=4096)]
"""Of a network input, pixels."""

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


class InputContract(BaseModel):
    """Which pictures a bundle may judge. One that breaks it is a bad frame, never silently resized into a pass.

    Attributes:
        height: smallest and largest, pixels, both included.
        width: likewise.
        channels: 1 (grey) or 3 (colour).
        dtype: `uint8` or `uint16`.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    height: tuple[PositiveInt, PositiveInt]
    width: tuple[PositiveInt, PositiveInt]
    channels: Literal[1, 3]
    dtype: Literal["uint8", "uint16"]

    @field_validator("height", "width")
    @classmethod
    def _smallest_first(cls, sizes: tuple[int, int]) -> tuple[int, int]:
        if sizes[0] > sizes[1]:
            raise ValueError("the smallest size comes first")
        return sizes

    @classmethod
    def of(cls, images: list[Image]) -> "InputContract":
        """The contract that training pictures set: their own kind, and their sizes.

        Pictures of one size allow that size alone; pictures of many sizes allow a tenth beyond the extremes.

        Raises:
            ContractError: pictures of different kinds (grey beside colour, 8 beside 16 bit).
        """
        kinds = {(_channels(image), image.dtype.name) for image in images}
        if len(kinds) != 1:
            listed = ", ".join(f"{c} channel(s) of {d}" for c, d in sorted(kinds))
            raise ContractError(f"good pictures must be of one kind, but these are of {len(kinds)}: {listed}")
        channels, dtype = kinds.pop()
        fields = {
            "height": _size_range([image.shape[0] for image in images]),
            "width": _size_range([image.shape[1] for image in images]),
            "channels": channels,
            "dtype": dtype,
        }
        return cls.model_validate(fields)

    def check(self, image: Image) -> None:
        """Raises `ContractError`, saying in one sentence what is wrong, unless the picture keeps the contract."""
        height, width = image.shape[:2]
        if image.dtype.name != self.dtype or _channels(image) != self.channels:
            raise ContractError(
                f"picture has {_channels(image)} channel(s) of {image.dtype.name}, "
                f"the bundle expects {self.channels} of {self.dtype}"
            )
        for name, size, (low, high) in (("high", height, self.height), ("wide", width, self.width)):
            if not low <= size <= high:
                raise ContractError(f"picture is {size} pixels {name}, the bundle expects {low} to {high}")


def _channels(image: Image) -> int:
    return 1 if image.ndim == 2 else image.shape[2]


def _size_range(sizes: list[int]) -> tuple[int, int]:
    low, high = min(sizes), max(sizes)
    return (low, high) if low == high else (max(1, int(low * 0.9)), int(high * 1.1) + 1)


class Preprocessing(BaseModel):
    """Resize (bilinear, antialiased), centre crop, scale to [0, 1], normalise.

    Attributes:
        resize: `(height, width)` in pixels; the frame's aspect ratio is not kept.
        crop: `(height, width)` cut from the middle; equal to `resize` when the whole frame is seen.
        mean: for each of R, G, B, in [0, 1].
        std: likewise.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    resize: tuple[Side, Side] = (224, 224)
    crop: tuple[Side, Side] = (224, 224)
    mean: tuple[float, float, float] = IMAGENET_MEAN
    std: tuple[PositiveFloat, PositiveFloat, PositiveFloat] = IMAGENET_STD

    @model_validator(mode="after")
    def _crop_fits(self) -> "Preprocessing":
        if self.crop[0] > self.resize[0] or self.crop[1] > self.resize[1]:
            raise ValueError(f"crop {self.crop} is larger than the resized picture {self.resize}")
        return self

    def __call__(self, image: Image) -> Tensor:
        """One picture as network input.

        Args:
            image: `(H, W)` grey or `(H, W, 3)` RGB, uint8 or uint16.

        Returns:
            `(3, h, w)` float32 on the CPU, normalised.
        """
        full_scale = float(np.iinfo(image.dtype).max)
        pixels = torch.from_numpy(np.ascontiguousarray(image).astype(np.float32))
        planes = pixels[None] if image.ndim == 2 else pixels.permute(2, 0, 1)  # (1 or 3, H, W)
        resized = F.interpolate(planes[None], size=self.resize, mode="bilinear", antialias=True)[0] / full_scale
        top, left = (self.resize[0] - self.crop[0]) // 2, (self.resize[1] - self.crop[1]) // 2
        seen = resized[:, top : top + self.crop[0], left : left + self.crop[1]]
        mean, std = torch.tensor(self.mean)[:, None, None], torch.tensor(self.std)[:, None, None]
        return (seen - mean) / std  # a grey plane becomes three here

    def box(self, height: int, width: int) -> Box:
        """The rectangle `(x, y, width, height)` of an H x W frame, in its pixels, that the network sees."""
        scale_h, scale_w = height / self.resize[0], width / self.resize[1]
        top, left = (self.resize[0] - self.crop[0]) // 2, (self.resize[1] - self.crop[1]) // 2
        return (left * scale_w, top * scale_h, self.crop[1] * scale_w, self.crop[0] * scale_h)
