"""A frame as it travels: identity, header, payload, and the way back to pixels. DESIGN: "A frame on the wire"."""

import time
from dataclasses import dataclass
from functools import cache
from typing import Annotated, Any, Literal, NamedTuple, Self, cast

import cv2
import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from producers.checksum import crc32
from producers.encoded import encoded_shape
from producers.errors import BadFrame
from producers.transform import Transform

MAX_HEADER_BYTES = 4096
MAX_META_BYTES = 1024
MAX_SEQ = 2**53
MAX_SIDE = 32_768  # pixels; OpenCV and common sense end about here
MAX_PIXEL_BYTES = 512 << 20  # decoded: the largest sensors have half of it

Image = NDArray[np.uint8] | NDArray[np.uint16]
Payload = bytes | memoryview
"""Bytes of a picture; a view where they stay in the memory of the array or the socket that brought them."""

Color = Literal["bgr", "rgb", "mono", "bayer_rggb", "bayer_bggr", "bayer_grbg", "bayer_gbrg"]
Encoding = Literal["raw", "jpeg", "png"]

CameraName = Annotated[str, Field(pattern=r"^[a-z0-9_-]{1,32}$")]
RECIPE_NAME = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$"
RecipeName = Annotated[str, Field(pattern=RECIPE_NAME)]
SessionId = Annotated[str, Field(pattern=r"^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$")]
Count = Annotated[int, Field(ge=0, le=MAX_SEQ, strict=True)]
Crc32 = Annotated[int, Field(ge=0, lt=2**32, strict=True)]
Side = Annotated[int, Field(ge=1, le=MAX_SIDE, strict=True)]

# OpenCV names a Bayer pattern by its second row, second column; cameras and this protocol by its first row.
_DEBAYER = {
    "bayer_rggb": cv2.COLOR_BayerBG2RGB,
    "bayer_bggr": cv2.COLOR_BayerRG2RGB,
    "bayer_grbg": cv2.COLOR_BayerGB2RGB,
    "bayer_gbrg": cv2.COLOR_BayerGR2RGB,
}


class FrameId(NamedTuple):
    """The identity of a frame everywhere: wire, logs, results, recordings. Written `camera/session/seq`."""

    camera: str
    session: str
    seq: int

    def __str__(self) -> str:
        return f"{self.camera}/{self.session}/{self.seq}"


class PartTag(BaseModel):
    """What a source may know of the part in a picture.

    Attributes:
        budget_ms: from capture until the verdict is useless to the gate; None: no end.
        recipe: what is inspected; None: the worker's default for this camera.
        part_id: the part's own identity, if the source knows it.
        trigger: the trigger counter, if the source knows it.
        view: which view of the part this is.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    budget_ms: Annotated[float, Field(gt=0, le=86_400_000)] | None = None
    recipe: RecipeName | None = None
    part_id: Annotated[str, Field(max_length=256)] | None = None
    trigger: Count | None = None
    view: Annotated[str, Field(max_length=64)] | None = None


class FrameTag(PartTag):
    """What stays of a frame when its pixels are gone: enough for its verdict.

    Attributes:
        camera: `[a-z0-9_-]{1,32}`.
        session: UUID that the publisher drew when it started.
        seq: counts captured frames from 0 within the session.
        captured_ns: UTC since the epoch; informational, no deadline hangs on it.
        simulated: true for anything but a live camera; a simulated PASS opens no gate.
        original: the replayed frame's id.
        attempt: 1, and one more each time it had to be taken back from a worker.
    """

    camera: CameraName
    session: SessionId
    seq: Count
    captured_ns: Annotated[int, Field(ge=0, lt=2**63, strict=True)]
    simulated: Annotated[bool, Field(strict=True)]
    original: Annotated[str, Field(max_length=128)] | None = None
    attempt: Annotated[int, Field(ge=1, le=255, strict=True)] = 1

    @property
    def id(self) -> FrameId:
        """Camera, session and seq."""
        return FrameId(self.camera, self.session, self.seq)


PART_FIELDS, TAG_FIELDS = tuple(PartTag.model_fields), tuple(FrameTag.model_fields)


class Picture(BaseModel):
    """What a payload is.

    Attributes:
        encoding: of the payload; `raw` is C-contiguous, little-endian.
        shape: (height, width, channels).
        dtype: `uint8`, or `uint16` for one channel.
        color: order of the channels, or the Bayer pattern from the first row; for `jpeg` and `png` the file itself
            fixes the order, and `bgr` and `rgb` mean the same.
        meta: free strings, 1 KiB in all.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    encoding: Encoding
    shape: tuple[Side, Side, Literal[1, 3]]
    dtype: Literal["uint8", "uint16"]
    color: Color
    meta: dict[str, str] = {}

    @field_validator("meta")
    @classmethod
    def _meta_is_small(cls, meta: dict[str, str]) -> dict[str, str]:
        if sum(len(key.encode()) + len(value.encode()) for key, value in meta.items()) > MAX_META_BYTES:
            raise ValueError(f"meta is larger than {MAX_META_BYTES} bytes")
        return meta

    @model_validator(mode="after")
    def _pixels_make_sense(self) -> "Picture":
        if self.dtype == "uint16" and self.shape[2] != 1:
            raise ValueError("uint16 frames must have one channel")
        if (self.color in ("bgr", "rgb")) != (self.shape[2] == 3):
            raise ValueError(f"color {self.color} does not fit {self.shape[2]} channel(s)")
        if self.raw_bytes > MAX_PIXEL_BYTES:
            raise ValueError(f"shape {self.shape} is more than {MAX_PIXEL_BYTES >> 20} MiB of pixels")
        return self

    @property
    def raw_bytes(self) -> int:
        """Size of the decoded pixels."""
        return self.shape[0] * self.shape[1] * self.shape[2] * np.dtype(self.dtype).itemsize

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        """Parses a header.

        Raises:
            BadFrame: longer than 4 KiB, not JSON, a key missing, unknown or out of range.
        """
        if len(data) > MAX_HEADER_BYTES:
            raise BadFrame(f"header has {len(data)} bytes, {MAX_HEADER_BYTES} are allowed")
        try:
            return cls.model_validate_json(data)
        except ValidationError as error:
            raise BadFrame(f"header: {first_fault(error)}") from error


_PICTURE_FIELDS = tuple(Picture.model_fields)


class FrameHeader(Picture, FrameTag):
    """A frame's whole header.

    Attributes:
        age_us: microseconds since capture, at sending.
        sent_mono_us: the sender's monotonic clock at sending.
        crc32: zlib's, of the payload as sent.
        transform: 2 x 3, from this frame's pixels to the sensor's, as `producers.transform` has it; None: they are the
            same.
    """

    age_us: Count
    sent_mono_us: Count
    crc32: Crc32
    transform: Transform | None = None

    def tag(self, *, recipe: str | None = None) -> FrameTag:
        """The part of the header that outlives the pixels; with the recipe that a worker chose for it, if any."""
        known = self.__dict__
        fields = {name: known[name] for name in TAG_FIELDS}
        if recipe is not None:
            fields["recipe"] = recipe
        return FrameTag(**fields)

    def to_bytes(self) -> bytes:
        """UTF-8 JSON, absent optional keys left out."""
        return self.model_dump_json(exclude_none=True).encode()


@dataclass(frozen=True)
class Frame:
    """A header and the payload it describes; the payload is read, never written.

    Attributes:
        tag: its identity, as the header has it: what outlives the pixels.
        header: see `FrameHeader`.
        payload: the picture, encoded as the header says; of pixels that were handed over a view, which zlib and ZeroMQ
            take just the same.
        captured_mono: the capturing machine's monotonic clock, seconds.
    """

    tag: FrameTag
    header: FrameHeader
    payload: bytes
    captured_mono: float

    def stamped(self, *, now: float, attempt: int) -> FrameHeader:
        """The header as it must read when sent at `now` (monotonic seconds) for the `attempt`-th time."""
        age_us = max(0, int((now - self.captured_mono) * 1e6))
        return self.header.model_copy(update={"age_us": age_us, "sent_mono_us": int(now * 1e6), "attempt": attempt})


def make_frame(
    tag: FrameTag,
    image: Image,
    *,
    color: Color,
    meta: dict[str, str] | None = None,
    copy: bool = True,
    transform: Transform | None = None,
    captured: float | None = None,
) -> Frame:
    """A raw frame from pixels.

    Args:
        tag: its identity.
        image: `(H, W)` or `(H, W, 1 or 3)`, uint8, or uint16 with one channel.
        color: order of the channels, or the Bayer pattern.
        meta: free strings, 1 KiB in all.
        copy: whether the pixels are copied; if not, they may not change any more.
        transform: from these pixels to the sensor's; None: they are the same.
        captured: monotonic seconds; None: now.

    Raises:
        BadFrame: the pixels can't be described by a header.
    """
    picture: dict[str, object] = {
        "encoding": "raw",
        "shape": (*image.shape, 1) if image.ndim == 2 else image.shape,
        "dtype": _dtype_name(image.dtype),
        "color": color,
        "meta": meta or {},
        "transform": transform,
    }
    pixels = np.ascontiguousarray(image).astype(image.dtype.newbyteorder("<"), copy=False)
    if copy or pixels.dtype.kind != "u":  # no frame holds any other kind: it is refused in the same words
        return _frame(tag, picture, pixels.tobytes(), captured)
    frame = _frame(tag, picture, cast(bytes, pixels.reshape(-1).view(np.uint8).data), captured)
    image.flags.writeable = False  # whoever writes to it from here on is told by NumPy
    return frame


def frame_of(
    tag: FrameTag,
    picture: Picture,
    payload: bytes,
    *,
    transform: Transform | None = None,
    captured: float | None = None,
) -> Frame:
    """A frame from a payload that travels on as it is. It is measured, not decoded.

    Args:
        tag: its identity.
        picture: what the payload is.
        payload: raw or encoded pixels.
        transform: from its pixels to the sensor's; None: they are the same.
        captured: monotonic seconds; None: now.

    Raises:
        BadFrame: the payload's size is not the picture's, or the header is too large.
    """
    check_size(picture, payload)
    known = {name: getattr(picture, name) for name in _PICTURE_FIELDS}
    return _frame(tag, {**known, "transform": transform}, payload, captured)


def _frame(tag: FrameTag, picture: dict[str, object], payload: bytes, captured: float | None) -> Frame:
    """One validation of the whole header is the only one: it costs more than copying a small picture."""
    stamps = {"age_us": 0, "sent_mono_us": 0, "crc32": crc32(payload)}
    try:
        header = FrameHeader.model_validate({**tag.__dict__, **picture, **stamps})
    except ValidationError as error:
        raise BadFrame(first_fault(error)) from error
    # The stamps at sending take some more digits. Only meta is long enough for that to matter.
    if header.meta and len(header.to_bytes()) > MAX_HEADER_BYTES - 64:
        raise BadFrame(f"header is larger than {MAX_HEADER_BYTES} bytes: shorten meta")
    return Frame(tag, header, payload, time.monotonic() if captured is None else captured)


def frame_again(tag: FrameTag, header: FrameHeader, payload: bytes) -> Frame:
    """A frame that was published before, captured again now: the same payload and header, but for its tag.

    Nothing of the payload is looked at: a frame that was damaged is replayed damaged.

    Raises:
        BadFrame: with the new tag the header is too large.
    """
    again = header.model_copy(update={**tag.__dict__, "age_us": 0, "sent_mono_us": 0})
    if again.meta and len(again.to_bytes()) > MAX_HEADER_BYTES - 64:
        raise BadFrame(f"header is larger than {MAX_HEADER_BYTES} bytes with the replayed frame's id")
    return Frame(tag, again, payload, time.monotonic())


@cache  # there are about four, and NumPy spells a name out anew each time
def _dtype_name(dtype: np.dtype[Any]) -> str:
    return dtype.name


def first_fault(error: ValidationError) -> str:
    """What is wrong first, as `field: why`, in one line whatever the field is called."""
    first = error.errors()[0]
    where = ".".join(map(str, first["loc"])) or "it"
    return f"{where if where.isprintable() else ascii(where)}: {first['msg']}"


def check_size(picture: Picture, payload: Payload) -> None:
    """Holds a payload to what is said of it, before anything is decoded or allocated.

    Raises:
        BadFrame: raw pixels of another size, a JPEG or PNG that is none or says that it is larger or smaller.
    """
    if picture.encoding == "raw":
        if len(payload) != picture.raw_bytes:
            raise BadFrame(f"payload has {len(payload)} bytes, shape {picture.shape} needs {picture.raw_bytes}")
        return
    height, width = encoded_shape(payload, picture.encoding)
    if (height, width) != picture.shape[:2]:
        raise BadFrame(f"{picture.encoding} holds {height} x {width} pixels, the header says {picture.shape}")


def decode(header: FrameHeader, payload: Payload) -> Image:
    """A frame's pixels. Every size is checked before anything is allocated.

    Returns:
        `(H, W)` grey or `(H, W, 3)` **RGB**, uint8 or uint16.

    Raises:
        BadFrame: wrong checksum or size, an undecodable payload, or one that is not what the header says.
    """
    if crc32(payload) != header.crc32:
        raise BadFrame("payload does not have the checksum that its header names")
    check_size(header, payload)
    if header.encoding != "raw":
        image = _compressed(header, payload)
        rgb = header.shape[2] == 3  # a JPEG or PNG file fixes its own channel order, and OpenCV hands it out as BGR
    else:
        image = _raw(header, payload)
        rgb = header.color == "bgr"
    if header.color in _DEBAYER:
        return cast(Image, cv2.cvtColor(image, _DEBAYER[header.color]))
    return cast(Image, cv2.cvtColor(image, cv2.COLOR_BGR2RGB)) if rgb else image


def debayered(image: Image, color: Color) -> tuple[Image, Color]:
    """A mosaic as `decode` makes a picture of it, `(H, W, 3)` RGB; any other picture as it is. With its colour.

    Raises:
        BadFrame: a mosaic of 16 bits, which no frame can hold once it is a picture.
    """
    if color not in _DEBAYER:
        return image, color
    if image.dtype != np.uint8:
        raise BadFrame("a Bayer mosaic of 16 bits can only be sent as it is, cropped or turned")
    return cast(Image, cv2.cvtColor(image, _DEBAYER[color])), "rgb"


def _raw(header: FrameHeader, payload: Payload) -> Image:
    image = np.frombuffer(payload, np.dtype(header.dtype).newbyteorder("<")).reshape(header.shape)
    return image[:, :, 0] if header.shape[2] == 1 else image


def _compressed(header: FrameHeader, payload: Payload) -> Image:
    try:
        image = cv2.imdecode(np.frombuffer(payload, np.uint8), cv2.IMREAD_UNCHANGED)  # as stored, not turned
    except cv2.error as error:
        raise BadFrame(f"{header.encoding} payload can't be decoded") from error
    shape = None if image is None else (*image.shape, 1)[:3]
    if image is None or shape != header.shape or _dtype_name(image.dtype) != header.dtype:
        raise BadFrame(f"{header.encoding} payload can't be decoded as {header.dtype} of shape {header.shape}")
    return cast(Image, image)
