"""GigE Vision and USB3 Vision cameras through Aravis. A buffer that came incomplete is never a picture.

Needs the extra `sightline[aravis]` and Aravis itself, on Debian `apt install gir1.2-aravis-0.8`.
"""

import threading
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import gi
import structlog

from producers.errors import BadFrame, SettingsError, SourceError
from producers.features import CameraFeatures
from producers.frame_ids import FrameIds
from producers.pixel_formats import pixel_format
from producers.snapshot import Snapshot, missing
from producers.transform import Transform, after_crop, after_resize, chain

try:
    gi.require_version("Aravis", "0.8")
except ValueError as missing_library:
    raise SettingsError("Aravis is not installed: on Debian, apt install gir1.2-aravis-0.8") from missing_library
from gi.repository import Aravis, GLib

log = structlog.get_logger("camera")

BUFFERS = 32  # so many pictures may wait for whoever takes them
NO_NUMBER = 2**64 - 1  # a buffer keeps its last picture's number if the new one's first packet is lost: so it is erased
OLDEST_S = 10.0  # no picture waits longer here; a clock that was set would say so
_SETTINGS_AT_FAULT = {
    Aravis.DeviceError.WRONG_FEATURE,
    Aravis.DeviceError.FEATURE_NOT_FOUND,
    Aravis.DeviceError.INVALID_PARAMETER,
}


class AravisCamera:
    """A camera that is open and takes pictures. One thread.

    Every picture that the camera took is one snapshot: whole, or the place of one that lost packets on its way, or of
    one that never came, which its number tells.

    Args:
        name: of the camera, or its IP address; empty: the only one there is.
        features: what it is to be set to.

    Attributes:
        skipped: none ever is.

    Raises:
        SourceError: it is not there, or somebody else's.
        SettingsError: it does not take a feature.
    """

    skipped = 0

    def __init__(self, name: str, features: CameraFeatures) -> None:
        self._name = name or "camera"
        self._lost = threading.Event()
        self._ids = FrameIds()
        self._ready: deque[Snapshot] = deque()
        with self._errors():
            camera = Aravis.Camera.new(name or None)
            if camera.is_gv_device() and not camera.get_device().is_controller():
                raise SourceError(f"{self._name} is controlled by another program")
            camera.set_range_check_policy(Aravis.RangeCheckPolicy.ENABLE)
            self._set_up(camera, features)
            self._format = pixel_format(camera.get_pixel_format_as_string())
            self._binning = tuple(camera.get_binning()) if camera.is_binning_available() else (1, 1)
            lost = self._lost  # the camera must not hold on to this object: it lets go of the wire when it is forgotten
            camera.get_device().connect("control-lost", lambda *_: lost.set())
            stream = camera.create_stream(None, None)
            for _ in range(BUFFERS):
                self._hand_out(stream, Aravis.Buffer.new_allocate(camera.get_payload()))
            camera.start_acquisition()
        self._camera, self._stream = camera, stream

    def grab(self, timeout_s: float) -> Snapshot | None:
        """The next picture, or the place of one; None if none comes within the time.

        Raises:
            SourceError: the camera is gone, or counts its pictures anew.
        """
        if not self._ready:
            if self._ids.broken:
                raise SourceError(f"{self._name} counts its pictures anew: some may be missing")
            buffer = self._stream.timeout_pop_buffer(int(timeout_s * 1e6))
            if buffer is not None:
                self._take(buffer)
            elif self._lost.is_set():
                raise SourceError(f"{self._name} does not answer any more")
        return self._ready.popleft() if self._ready else None

    def close(self) -> None:
        """Stops it and lets go of it."""
        with suppress(GLib.Error):  # a camera that is gone takes no pictures either
            self._camera.stop_acquisition()
        del self._stream, self._camera  # Aravis's threads end here

    def _take(self, buffer: Aravis.Buffer) -> None:
        now, number = time.monotonic(), buffer.get_frame_id()
        lost = self._ids.came(None if number == NO_NUMBER else number)
        self._ready.extend(missing("the picture never came", captured=now, came=False) for _ in range(lost))
        if self._ids.broken:  # nobody could say whose it is
            self._ready.append(missing("the camera counts its pictures anew", captured=now, came=False))
        else:
            self._ready.append(self._snapshot(buffer, now))
        self._hand_out(self._stream, buffer)

    def _snapshot(self, buffer: Aravis.Buffer, now: float) -> Snapshot:
        status = buffer.get_status()
        age_s = (time.time_ns() - buffer.get_system_timestamp()) / 1e9
        if buffer.get_frame_id() == NO_NUMBER:  # then its time is another picture's, too
            age_s = 0.0
        captured = now - min(max(age_s, 0.0), OLDEST_S)
        if status != Aravis.BufferStatus.SUCCESS:
            return missing(f"the picture came incomplete ({status.value_nick})", captured=captured)
        try:
            height, width = buffer.get_image_height(), buffer.get_image_width()
            image = self._format.image(buffer.get_image_data(), height=height, width=width)
        except BadFrame as error:
            return missing(str(error), captured=captured)
        return Snapshot(image, captured, color=self._format.color, transform=self._transform(buffer))

    def _transform(self, buffer: Aravis.Buffer) -> Transform | None:
        x, y = buffer.get_image_x(), buffer.get_image_y()
        across, down = self._binning
        if (x, y, across, down) == (0, 0, 1, 1):
            return None
        return chain(after_crop(x, y), after_resize(before=(across, down), after=(1, 1)))

    def _hand_out(self, stream: Aravis.Stream, buffer: Aravis.Buffer) -> None:
        buffer.set_frame_id(NO_NUMBER)
        stream.push_buffer(buffer)

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except GLib.Error as error:
            sentence = f"{self._name}: {error.message}"
            if error.domain == "arv-device-error-quark" and error.code not in map(int, _SETTINGS_AT_FAULT):
                raise SourceError(sentence) from error
            raise SettingsError(sentence) from error

    def _set_up(self, camera: Aravis.Camera, features: CameraFeatures) -> None:
        for name, value in features.genicam.items():
            _set_feature(camera, name, value)
        if features.pixel_format is not None:
            camera.set_pixel_format_from_string(features.pixel_format)
        for name, pixels in (("Width", features.width), ("Height", features.height)):
            if pixels is not None:
                camera.set_integer(name, pixels)
        if features.exposure_us is not None:
            if camera.is_exposure_auto_available():
                camera.set_exposure_time_auto(Aravis.Auto.OFF)
            camera.set_exposure_time(features.exposure_us)
        if features.gain is not None:
            if camera.is_gain_auto_available():
                camera.set_gain_auto(Aravis.Auto.OFF)
            camera.set_gain(features.gain)
        self._set_pace(camera, features)
        if camera.is_gv_device():
            if features.packet_bytes is None:
                camera.gv_auto_packet_size()
            else:
                camera.gv_set_packet_size(features.packet_bytes)

    def _set_pace(self, camera: Aravis.Camera, features: CameraFeatures) -> None:
        camera.set_acquisition_mode(Aravis.AcquisitionMode.CONTINUOUS)
        if features.frame_rate is not None:
            camera.set_frame_rate(features.frame_rate)  # first: Aravis switches every trigger off with it
        if features.triggered:
            camera.set_trigger(features.trigger)
        elif features.trigger is not None:
            camera.clear_triggers()


def _set_feature(camera: Aravis.Camera, name: str, value: bool | int | float | str) -> None:
    """Any feature, by the kind of its value: a whole number is taken for a float where the camera has one."""
    match value:
        case bool():
            camera.set_boolean(name, value)
        case int():
            is_float = isinstance(camera.get_device().get_feature(name), Aravis.GcFloat)
            (camera.set_float if is_float else camera.set_integer)(name, value)
        case float():
            camera.set_float(name, value)
        case str():
            camera.set_string(name, value)
