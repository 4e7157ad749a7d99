"""From a camera's picture to the network's input. Training, calibration and the line all come through here."""

from typing import Annotated

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict, Field, PositiveFloat, model_validator
from torch import Tensor
from torch.nn import functional as F

from model.anomaly_map import Box
from model.images import Image

Side = Annotated[int, Field(ge=8, le=4096)]
"""Of a network input, pixels."""

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


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
        return self.centred(as_tensor(image)) / torch.tensor(self.std)[:, None, None]

    def centred(self, pixels: Tensor) -> Tensor:
        """Everything but the division by `std`, which the engine has in its first convolution.

        Args:
            pixels: `(H, W)` grey or `(H, W, 3)` RGB, uint8 or uint16, on any device.

        Returns:
            `(3, h, w)` float32 on that device, within [-1, 1].
        """
        full_scale = torch.iinfo(pixels.dtype).max
        planes = pixels[None] if pixels.ndim == 2 else pixels.permute(2, 0, 1)  # (1 or 3, H, W)
        resized = planes[None].float()
        if planes.shape[1:] != self.resize:
            resized = F.interpolate(resized, size=self.resize, mode="bilinear", antialias=True)
        resized = resized[0] / full_scale
        top, left = (self.resize[0] - self.crop[0]) // 2, (self.resize[1] - self.crop[1]) // 2
        seen = resized[:, top : top + self.crop[0], left : left + self.crop[1]]
        return seen - torch.tensor(self.mean, device=pixels.device)[:, None, None]  # a grey plane becomes three here

    def box(self, height: int, width: int) -> Box:
        """The rectangle `(x, y, width, height)` of an H x W frame, in its pixels, that the network sees."""
        scale_h, scale_w = height / self.resize[0], width / self.resize[1]
        top, left = (self.resize[0] - self.crop[0]) // 2, (self.resize[1] - self.crop[1]) // 2
        return (left * scale_w, top * scale_h, self.crop[1] * scale_w, self.crop[0] * scale_h)


def as_tensor(image: Image) -> Tensor:
    """A picture's pixels as they are, `(H, W)` or `(H, W, 3)`, uint8 or uint16, on the CPU."""
    return torch.from_numpy(np.require(image, requirements=["C", "W"]))
