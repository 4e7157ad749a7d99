"""USB cameras and network streams through OpenCV. What they say of a picture is checked before it is one."""

import os
import sys
import time
from typing import cast
from urllib.parse import urlsplit, urlunsplit

import cv2
import numpy as np

from producers.draining import NewestPicture
from producers.errors import BadFrame, SettingsError, SourceError
from producers.features import CameraFeatures
from producers.frame import Image
from producers.opencv import open_capture
from producers.snapshot import Snapshot, missing

# RTSP over TCP: a picture that lost a packet would be filled up with what was there before, and judged. For the same
# reason what a stream was sending when it broke off is thrown away. OpenCV takes this from the environment alone.
FFMPEG_OPTIONS = "rtsp_transport;tcp|fflags;discardcorrupt"
MJPG = cv2.VideoWriter.fourcc(*"MJPG")
V4L2_MANUAL = 1  # exposure by hand; V4L2 counts it in steps of 100 microseconds
USB_FEATURES = ("pixel_format", "width", "height", "frame_rate", "exposure_us", "gain", "read_timeout_s")
STREAM_FEATURES = ("read_timeout_s",)
_END_OF_JPEG = b"\xff\xd9"


def open_stream(url: str, *, read_timeout_s: float) -> NewestPicture:
    """A stream, read by a thread of its own.

    Args:
        url: `rtsp://` or `http://`.
        read_timeout_s: for connecting, and for one picture.

    Raises:
        SourceError: nobody is there, or it is no stream.
        SettingsError: it is a file, whose pictures would be taken for a camera's.
    """
    os.environ.setdefault("OPENCV_FFMPEG_CAPTURE_OPTIONS", FFMPEG_OPTIONS)
    patience_ms = int(read_timeout_s * 1000)
    timeouts = [cv2.CAP_PROP_OPEN_TIMEOUT_MSEC, patience_ms, cv2.CAP_PROP_READ_TIMEOUT_MSEC, patience_ms]
    name = without_secrets(url)
    capture = open_capture(url, cv2.CAP_FFMPEG, timeouts, name=name)
    if url.startswith("http") and (count := int(capture.get(cv2.CAP_PROP_FRAME_COUNT))) > 0:  # of a stream: below zero
        capture.release()
        raise SettingsError(f"{name} is a video file of {count} pictures, no camera: fetch it and give the file")
    return _reading(capture, name, as_sent=(cv2.CAP_PROP_FORMAT, -1))


def open_usb(device: str, features: CameraFeatures) -> NewestPicture:
    """A camera on USB, read by a thread of its own.

    Args:
        device: its number, or `/dev/video0`.
        features: what it is to be set to, where the driver can.

    Raises:
        SourceError: it is not there, or does not take a setting.
    """
    where: int | str = int(device) if device.isdigit() else device
    backend = cv2.CAP_V4L2 if sys.platform == "linux" else cv2.CAP_ANY
    name = f"USB camera {device}"
    camera = open_capture(where, backend, name=name)
    _set_up(camera, features)
    return _reading(camera, name, as_sent=(cv2.CAP_PROP_CONVERT_RGB, 0))


def without_secrets(url: str) -> str:
    """A URL for logs: user name, password and query are left out.

    Raises:
        SettingsError: it is no URL.
    """
    try:
        parts = urlsplit(url)
    except ValueError as error:
        raise SettingsError(f"the address of the stream can't be read: {error}") from error
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2], query=""))


def _set_up(camera: cv2.VideoCapture, features: CameraFeatures) -> None:
    """Format and size first: a driver may take the rest back when they change."""
    wishes: list[tuple[str, int, float | None]] = [
        ("pixel_format", cv2.CAP_PROP_FOURCC, _four_letters(features.pixel_format)),
        ("width", cv2.CAP_PROP_FRAME_WIDTH, features.width),
        ("height", cv2.CAP_PROP_FRAME_HEIGHT, features.height),
        ("frame_rate", cv2.CAP_PROP_FPS, features.frame_rate),
        ("exposure_us", cv2.CAP_PROP_AUTO_EXPOSURE, None if features.exposure_us is None else V4L2_MANUAL),
        ("exposure_us", cv2.CAP_PROP_EXPOSURE, None if features.exposure_us is None else features.exposure_us / 100),
        ("gain", cv2.CAP_PROP_GAIN, features.gain),
    ]
    for name, number, value in wishes:
        if value is not None and not camera.set(number, value):
            camera.release()
            raise SourceError(f"the USB camera does not take {name} = {getattr(features, name)}")


def _four_letters(name: str | None) -> float | None:
    return None if name is None else float(cv2.VideoWriter.fourcc(*f"{name:4.4}"))


def _reading(capture: cv2.VideoCapture, name: str, *, as_sent: tuple[int, float]) -> NewestPicture:
    """Pictures; those that come as JPEG are taken as they are sent, so that torn ones show."""
    is_jpeg = int(capture.get(cv2.CAP_PROP_FOURCC)) == MJPG and capture.set(*as_sent)
    return NewestPicture(lambda: [_picture(capture, name, is_jpeg=is_jpeg)], capture.release)


def _picture(capture: cv2.VideoCapture, name: str, *, is_jpeg: bool) -> Snapshot:
    """The next picture. Its age counts from when the driver handed it out, before it is decoded."""
    try:
        there = capture.grab()
        captured = time.monotonic()
        there, data = capture.retrieve() if there else (False, None)
    except cv2.error as error:
        raise SourceError(f"{name} can't be read: {error}") from error
    if not there or data is None:
        raise SourceError(f"{name} sends no more")
    if not is_jpeg:
        return Snapshot(cast(Image, data), captured)
    try:
        return Snapshot(whole_jpeg(data.tobytes()), captured)
    except BadFrame as error:
        return missing(str(error), captured=captured)


def whole_jpeg(data: bytes) -> Image:
    """`(H, W, 3)` BGR from a JPEG that came whole: a decoder would fill up a torn one with grey.

    Raises:
        BadFrame: it has no end, or can't be decoded.
    """
    if not data.rstrip(b"\x00\r\n").endswith(_END_OF_JPEG):
        raise BadFrame("the picture came incomplete")
    try:
        image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    except cv2.error as error:
        raise BadFrame("the picture can't be decoded") from error
    if image is None:
        raise BadFrame("the picture can't be decoded")
    return cast(Image, image)
