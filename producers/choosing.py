"""Which source a text means. Nothing is opened here but what tells a wrong name from a right one."""

import re
from collections.abc import Callable
from pathlib import Path

from producers.camera_settings import CameraSettings
from producers.errors import SettingsError
from producers.features import CameraFeatures
from producers.live_source import Device, LiveSource
from producers.push import SCHEME, PushSource
from producers.shaping import Shaping
from producers.sources import FolderSource, Source
from producers.video import VIDEO_SUFFIXES, VideoFile

MACHINE_VISION = ("aravis:", "basler:")
STREAM_SCHEMES = ("rtsp://", "rtsps://", "http://", "https://")


def choose_source(
    text: str,
    *,
    loop: bool = False,
    rate: float = 0.0,
    settings: CameraSettings | None = None,
) -> Source:
    """The source that was asked for, by its form.

    Args:
        text: a folder, a picture, a video file, `usb:0` or `/dev/video0`, `rtsp://...`, `http://...`,
            `aravis:NAME` or `aravis:IP`, `basler:SERIAL`, `push://...`.
        loop: start again after the last picture.
        rate: pictures a second; 0: as fast as they are taken.
        settings: of a camera; what of them a kind of source can't do is refused.

    Raises:
        SourceError: no pictures are there.
        SettingsError: a door that other machines can reach, a pace for a source that has its own, or a feature that
            this kind of camera hasn't.
    """
    wishes = settings or CameraSettings()
    has_trigger = text.startswith(MACHINE_VISION) and wishes.features.triggered
    if wishes.parts.source is not None and not has_trigger:
        raise SettingsError("--parts needs aravis: or basler: and a trigger: only then each picture is one part's")
    if (camera := _camera(text, wishes)) is not None:
        if loop or rate:
            raise SettingsError(
                "--loop and --rate are for pictures from a folder or a video: a camera has its own pace"
            )
        return camera
    wishes.features.refuse_others((), of="a folder, a video or a camera program")
    if text.startswith(SCHEME):
        if loop or rate:
            raise SettingsError(
                "--loop and --rate are for pictures from a folder or a video: a camera program has its own pace"
            )
        if wishes.shaping != Shaping():
            raise SettingsError("a camera program shapes its own pictures, and says how in transform")
        return PushSource(text)
    if Path(text).suffix.lower() in VIDEO_SUFFIXES and not Path(text).is_dir():
        return VideoFile(Path(text), loop=loop, rate=rate)
    return FolderSource(Path(text), loop=loop, rate=rate)


def _camera(text: str, settings: CameraSettings) -> Source | None:
    """The camera or stream that is meant; None if it is none."""
    features = settings.features
    if text.startswith(STREAM_SCHEMES):
        return _stream(text, features)
    if usb := re.fullmatch(r"usb:(\d+)|(/dev/video\d+)", text):
        return _usb(usb[1] or usb[2], features)
    if text.startswith(MACHINE_VISION):
        return _machine_vision(text, settings)
    return None


def _stream(url: str, features: CameraFeatures) -> Source:
    from producers.opencv_camera import STREAM_FEATURES, open_stream, without_secrets

    features.refuse_others(STREAM_FEATURES, of="a stream: set the camera itself")
    silence_s = features.read_timeout_s
    return LiveSource(without_secrets(url), lambda: open_stream(url, read_timeout_s=silence_s), silence_s=silence_s)


def _usb(device: str, features: CameraFeatures) -> Source:
    from producers.opencv_camera import USB_FEATURES, open_usb

    features.refuse_others(USB_FEATURES, of="a USB camera")
    label = f"usb:{device}" if device.isdigit() else device
    return LiveSource(label, lambda: open_usb(device, features), silence_s=features.read_timeout_s)


def _machine_vision(text: str, settings: CameraSettings) -> Source:
    """A camera whose every picture counts; one with a trigger may be silent."""
    features = settings.features
    return LiveSource(
        text,
        _opening(text, features),
        silence_s=None if features.triggered else features.read_timeout_s,
        attribution=settings.parts.attribution(),
    )


def _opening(text: str, features: CameraFeatures) -> Callable[[], Device]:
    library, _, name = text.partition(":")
    if library == "aravis":
        from producers.aravis_camera import AravisCamera

        return lambda: AravisCamera(name, features)
    from producers.basler_camera import BaslerCamera

    return lambda: BaslerCamera(name, features)
