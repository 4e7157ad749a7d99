"""What is done to a picture before the wire: a region of interest, smaller, turned, encoded. The header states it."""

from typing import Annotated, cast

import cv2
import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from producers.errors import BadFrame
from producers.frame import (
    MAX_SIDE,
    Color,
    Encoding,
    Frame,
    FrameTag,
    Image,
    Picture,
    debayered,
    first_fault,
    frame_of,
    make_frame,
)
from producers.transform import (
    IDENTITY,
    Transform,
    Turn,
    after_crop,
    after_resize,
    after_turn,
    chain,
    sensor_point,
)

Pixels = Annotated[int, Field(ge=0, le=MAX_SIDE)]
Side = Annotated[int, Field(ge=1, le=MAX_SIDE)]
_TURNS = {90: cv2.ROTATE_90_CLOCKWISE, 180: cv2.ROTATE_180, 270: cv2.ROTATE_90_COUNTERCLOCKWISE}


class Shaping(BaseModel):
    """What is done, in this order.

    Attributes:
        roi: (x, y, width, height) of the camera's picture that is kept, pixels; None: all of it.
        scale: both sides get that much smaller, by area averages.
        rotate: degrees clockwise.
        encoding: of the payload. `jpeg` costs detail, `png` does not.
        jpeg_quality: 1 to 100.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    roi: tuple[Pixels, Pixels, Side, Side] | None = None
    scale: Annotated[float, Field(gt=0, le=1)] = 1.0
    rotate: Turn = 0
    encoding: Encoding = "raw"
    jpeg_quality: Annotated[int, Field(ge=1, le=100)] = 95

    def frame(
        self,
        tag: FrameTag,
        image: Image,
        *,
        color: Color,
        meta: dict[str, str] | None,
        copy: bool,
        transform: Transform | None,
        captured: float | None,
    ) -> Frame:
        """A frame from a picture: the arguments are those of `make_frame`, `transform` that of the picture as it came.

        Raises:
            BadFrame: it does not hold the region of interest, or can't be encoded so.
        """
        is_picture = image.dtype in (np.uint8, np.uint16) and image.ndim in (2, 3) and image.size > 0
        is_shaped = self.roi is not None or self.scale != 1 or self.rotate != 0
        if is_shaped and is_picture:
            image, color, transform = self._shaped(image, color, transform or IDENTITY)
        if self.encoding == "raw" or not is_picture:  # what no frame can hold is refused there, in the same words
            return make_frame(tag, image, color=color, meta=meta, copy=copy, transform=transform, captured=captured)
        if self.encoding == "jpeg":
            image, color = debayered(image, color)
        picture = self._described(image, color, meta or {})
        return frame_of(tag, picture, self._encoded(image, color), transform=transform, captured=captured)

    def _described(self, image: Image, color: Color, meta: dict[str, str]) -> Picture:
        known = {"shape": (*image.shape, 1)[:3], "dtype": image.dtype.name, "color": color, "meta": meta}
        try:
            return Picture.model_validate({"encoding": self.encoding, **known})
        except ValidationError as error:
            raise BadFrame(first_fault(error)) from error

    def _shaped(self, image: Image, color: Color, transform: Transform) -> tuple[Image, Color, Transform]:
        """The picture, its colour, and the way from its pixels to the sensor's."""
        pixels, steps = self._cropped(image)
        if self.scale != 1:
            color = _pattern_after(color, steps)
            pixels, color = debayered(pixels, color)
            done = self._smaller(pixels)
            steps = chain(after_resize(before=_size(pixels), after=_size(done)), steps)
            pixels = done
        if self.rotate:
            width, height = _size(pixels)
            steps = chain(after_turn(self.rotate, width=width, height=height), steps)
            pixels = cast(Image, cv2.rotate(pixels, _TURNS[self.rotate]))
        return pixels, _pattern_after(color, steps), chain(steps, transform)

    def _cropped(self, image: Image) -> tuple[Image, Transform]:
        if self.roi is None:
            return image, IDENTITY
        x, y, width, height = self.roi
        if y + height > image.shape[0] or x + width > image.shape[1]:
            raise BadFrame(
                f"region of interest {self.roi} does not lie within {image.shape[1]} x {image.shape[0]} pixels"
            )
        return image[y : y + height, x : x + width], after_crop(x, y)

    def _smaller(self, image: Image) -> Image:
        width, height = (max(1, round(side * self.scale)) for side in _size(image))
        return cast(Image, cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA))

    def _encoded(self, image: Image, color: Color) -> bytes:
        if self.encoding == "jpeg" and image.dtype != np.uint8:
            raise BadFrame("JPEG has 8 bits: send pictures of 16 bits as png, or raw")
        pixels = cv2.cvtColor(image, cv2.COLOR_RGB2BGR) if color == "rgb" else image
        options = [cv2.IMWRITE_JPEG_QUALITY, self.jpeg_quality] if self.encoding == "jpeg" else []
        try:
            done, data = cv2.imencode(".jpg" if self.encoding == "jpeg" else ".png", pixels, options)
        except cv2.error as error:
            raise BadFrame(f"it can't be encoded as {self.encoding}") from error
        if not done:
            raise BadFrame(f"it can't be encoded as {self.encoding}")
        return data.tobytes()


def _size(image: Image) -> tuple[int, int]:
    """(width, height)."""
    return image.shape[1], image.shape[0]


def _pattern_after(color: Color, steps: Transform) -> Color:
    """The Bayer pattern from the first row of a picture that was cropped and turned; other colours stay."""
    family, _, letters = color.partition("_")
    if not letters:
        return color
    found = ""
    for row, column in ((0, 0), (0, 1), (1, 0), (1, 1)):
        x, y = sensor_point(steps, column, row)
        found += letters[2 * (int(y) % 2) + int(x) % 2]
    return cast(Color, f"{family}_{found}")
