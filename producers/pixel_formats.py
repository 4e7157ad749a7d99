"""Which of a machine vision camera's pixel formats a frame can hold, by the names of GenICam's convention. Pure."""

import re
from dataclasses import dataclass
from typing import cast

import numpy as np

from producers.errors import BadFrame, SettingsError
from producers.frame import Color, Image

_MOSAICS: dict[str, Color] = {"RG": "bayer_rggb", "BG": "bayer_bggr", "GR": "bayer_grbg", "GB": "bayer_gbrg"}


@dataclass(frozen=True)
class PixelFormat:
    """How a buffer is read.

    Attributes:
        color: order of the channels, or the Bayer pattern.
        bits: of a pixel's channel; more than 8 lie in two bytes, the lowest first.
    """

    color: Color
    bits: int

    def image(self, data: bytes, *, height: int, width: int) -> Image:
        """The pixels: `(H, W)` or `(H, W, 3)`, uint8, or uint16 over its whole range, whatever the camera's bits.

        Raises:
            BadFrame: the buffer has another size than these pixels take.
        """
        channels = 3 if self.color in ("rgb", "bgr") else 1
        dtype = np.dtype(np.uint8 if self.bits == 8 else "<u2")
        needed = height * width * channels * dtype.itemsize
        if len(data) != needed:
            raise BadFrame(f"the picture has {len(data)} bytes, {width} x {height} pixels take {needed}")
        pixels = np.frombuffer(data, dtype).reshape((height, width, 3) if channels == 3 else (height, width))
        return cast(Image, np.left_shift(pixels, 16 - self.bits) if 8 < self.bits < 16 else pixels)


def pixel_format(name: str) -> PixelFormat:
    """The format of that name.

    Raises:
        SettingsError: no frame can hold it.
    """
    if mono := re.fullmatch(r"Mono(8|10|12|14|16)", name):
        return PixelFormat("mono", int(mono[1]))
    if mosaic := re.fullmatch(r"Bayer(RG|BG|GR|GB)(8|10|12|14|16)", name):
        return PixelFormat(_MOSAICS[mosaic[1]], int(mosaic[2]))
    if name in ("RGB8", "RGB8Packed", "BGR8", "BGR8Packed"):
        return PixelFormat("rgb" if name.startswith("RGB") else "bgr", 8)
    raise SettingsError(
        f"pixel_format {name} is none that a frame can hold: choose Mono8, Mono16, BayerRG8, RGB8, BGR8 or the like"
    )
