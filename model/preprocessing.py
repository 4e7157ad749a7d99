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
