"""What a camera is set to: few features by names of our own, any other of a GenICam camera by its name."""

from collections.abc import Collection
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from producers.errors import SettingsError

Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]


class CameraFeatures(BaseModel):
    """The `[features]` of a settings file. What is None is left as the camera has it.

    Attributes:
        exposure_us: of one picture.
        gain: in the camera's own unit; GenICam cameras: decibels, most of them.
        frame_rate: pictures a second, without a trigger.
        trigger: input that starts each picture, `Line1` for example, or `Software`; `off`: none, it runs by itself.
        pixel_format: `Mono8`, `BayerRG8`...; on USB (UVC) four letters, `MJPG` or `YUYV` for example.
        packet_bytes: of a GigE Vision camera's packets; None: as large as the network takes.
        width: of the picture, pixels.
        height: likewise.
        read_timeout_s: without a picture for this long a camera without a trigger is taken for lost, and opened anew.
        genicam: any features of a GenICam camera by their own names, set first, in this order.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    exposure_us: Positive | None = None
    gain: Annotated[float, Field(ge=0, allow_inf_nan=False)] | None = None
    frame_rate: Positive | None = None
    trigger: Annotated[str, Field(min_length=1, max_length=64)] | None = None
    pixel_format: Annotated[str, Field(pattern=r"^[A-Za-z0-9_]{1,32}$")] | None = None
    packet_bytes: Annotated[int, Field(ge=576, le=65_535)] | None = None
    width: Annotated[int, Field(ge=1, le=32_768)] | None = None
    height: Annotated[int, Field(ge=1, le=32_768)] | None = None
    read_timeout_s: Annotated[float, Field(ge=0.1, le=3600)] = 5.0
    genicam: dict[str, bool | int | float | str] = {}

    @property
    def triggered(self) -> bool:
        """Whether something outside starts each picture: then silence is no fault."""
        return self.trigger is not None and self.trigger != "off"

    def refuse_others(self, known: Collection[str], *, of: str) -> None:
        """Holds these features to what a kind of camera has.

        Args:
            known: names of those it has.
            of: the kind, for the sentence.

        Raises:
            SettingsError: one is set that it hasn't.
        """
        for name in self.model_fields_set - set(known):
            raise SettingsError(f"{name} is no feature of {of}: there are {', '.join(sorted(known))}")
