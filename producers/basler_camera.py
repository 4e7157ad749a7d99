"""Basler cameras through pypylon. A buffer that came incomplete is never a picture.

Needs the extra `sightline[basler]`.
"""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress

from pypylon import genicam, pylon

from producers.draining import ROOM, EveryPicture
from producers.errors import BadFrame, SettingsError, SourceError
from producers.features import CameraFeatures
from producers.frame_ids import FrameIds
from producers.pixel_formats import PixelFormat, pixel_format
from producers.snapshot import Snapshot, missing
from producers.transform import Transform, after_crop

WAIT_MS = 100
NO_NUMBER = 2**64 - 1


class BaslerCamera(EveryPicture):
    """A camera that is open and takes pictures, each of them one snapshot: whole, or the place of one that isn't.

    Args:
        serial: number of the camera; empty: the first there is.
        features: what it is to be set to.

    Raises:
        SourceError: it is not there, or somebody else's.
        SettingsError: it does not take a feature.
    """

    def __init__(self, serial: str, features: CameraFeatures) -> None:
        self._label = f"Basler camera {serial}".strip()
        self._ids = FrameIds()
        self._camera = self._opened(serial)
        try:
            self._format = self._set_up(features)
            self._camera.MaxNumBuffer.Value = ROOM
            with self._errors():
                self._camera.StartGrabbing(pylon.GrabStrategy_OneByOne)
        except (SettingsError, SourceError):
            self._camera.Close()
            raise
        super().__init__(self._next, self._let_go)

    def _opened(self, serial: str) -> pylon.InstantCamera:
        with self._errors():
            factory = pylon.TlFactory.GetInstance()
            if serial:
                wanted = pylon.DeviceInfo()
                wanted.SetSerialNumber(serial)
                camera = pylon.InstantCamera(factory.CreateDevice(wanted))
            else:
                camera = pylon.InstantCamera(factory.CreateFirstDevice())
            camera.Open()
            return camera

    def _next(self) -> Sequence[Snapshot]:
        """The next picture, and before it the places of those that never came."""
        if self._ids.broken:
            raise SourceError(f"{self._label} counts its pictures anew: some may be missing")
        try:
            result = self._camera.RetrieveResult(WAIT_MS, pylon.TimeoutHandling_Return)
        except genicam.GenericException as error:
            raise SourceError(f"{self._label} is lost: {_sentence(error)}") from error
        now = time.monotonic()
        if not result.IsValid():
            if self._camera.IsCameraDeviceRemoved():
                raise SourceError(f"{self._label} does not answer any more")
            return []
        try:
            number = result.BlockID
            lost = self._ids.came(None if number == NO_NUMBER else number)
            return [
                *(missing("the picture never came", captured=now, came=False) for _ in range(lost)),
                self._picture(result, now),
            ]
        finally:
            result.Release()

    def _picture(self, result: pylon.GrabResult, now: float) -> Snapshot:
        if self._ids.broken:  # nobody could say whose it is
            return missing("the camera counts its pictures anew", captured=now, came=False)
        if not result.GrabSucceeded():
            return missing(f"the picture came incomplete ({result.ErrorDescription})", captured=now)
        try:
            image = self._format.image(bytes(result.GetBuffer()), height=result.Height, width=result.Width)
        except BadFrame as error:
            return missing(str(error), captured=now)
        x, y = result.OffsetX, result.OffsetY
        transform: Transform | None = after_crop(x, y) if x or y else None
        return Snapshot(image, now, color=self._format.color, transform=transform)

    def _let_go(self) -> None:
        with suppress(genicam.GenericException):  # a camera that is gone takes no pictures either
            self._camera.StopGrabbing()
            self._camera.Close()

    def _set_up(self, features: CameraFeatures) -> PixelFormat:
        """Sets what is asked for; older cameras have some of it under another name. Returns the format of pictures."""
        for name, value in features.genicam.items():
            self._set(str(int(value)) if isinstance(value, bool) else str(value), name)
        if features.pixel_format is not None:
            self._set(features.pixel_format, "PixelFormat")
        for name, pixels in (("Width", features.width), ("Height", features.height)):
            if pixels is not None:
                self._set(str(pixels), name)
        if features.exposure_us is not None:
            self._set("Off", "ExposureAuto", optional=True)
            self._set(str(features.exposure_us), "ExposureTime", "ExposureTimeAbs")
        if features.gain is not None:
            self._set("Off", "GainAuto", optional=True)
            self._set(str(features.gain), "Gain")
        if features.packet_bytes is not None:
            self._set(str(features.packet_bytes), "GevSCPSPacketSize")
        self._set_pace(features)
        return pixel_format(self._camera.GetNodeMap().GetNode("PixelFormat").ToString())

    def _set_pace(self, features: CameraFeatures) -> None:
        if features.trigger is not None:
            self._set("FrameStart", "TriggerSelector", optional=True)
            self._set("On" if features.triggered else "Off", "TriggerMode")
        if features.trigger is not None and features.triggered:
            self._set(features.trigger, "TriggerSource")
        if features.frame_rate is not None:
            self._set("1", "AcquisitionFrameRateEnable", optional=True)
            self._set(str(features.frame_rate), "AcquisitionFrameRate", "AcquisitionFrameRateAbs")

    def _set(self, value: str, *names: str, optional: bool = False) -> None:
        """Sets the first of these features that the camera has."""
        nodes = [self._camera.GetNodeMap().GetNode(name) for name in names]
        there = next((node for node in nodes if node is not None and genicam.IsWritable(node)), None)
        if there is None and not optional:
            raise SettingsError(f"{self._label} has no {names[0]} that can be set")
        if there is not None:
            try:
                there.FromString(value)
            except genicam.GenericException as error:
                wish = f"{there.Node.GetName()} = {value}"
                raise SettingsError(f"{self._label} does not take {wish}: {_sentence(error)}") from error

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except genicam.GenericException as error:
            raise SourceError(f"{self._label}: {_sentence(error)}") from error


def _sentence(error: Exception) -> str:
    """What pylon says, without the file and line of its own source."""
    return str(error).partition(" : ")[0].partition("\n")[0].strip()
