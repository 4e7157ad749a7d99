"""What `sightline camera --settings FILE` holds, and the flags that go before it."""

import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from producers.announced import Announced
from producers.attribution import Attribution, Counted, Unattributed
from producers.daemon import DaemonSettings, load_settings
from producers.errors import SettingsError
from producers.features import CameraFeatures
from producers.part_lines import part_lines
from producers.shaping import Shaping


class PartsSettings(BaseModel):
    """Who says which part a picture shows.

    Attributes:
        source: `counter`: the pictures of a triggered camera are counted, and the count is their trigger;
            `tcp://HOST:PORT` or `serial:DEVICE@BAUD`: a line a part, before its picture; None: nobody does.
        within_ms: a picture is taken within this time of its line, or not at all: less than from one part to the next.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    source: str | None = None
    within_ms: Annotated[float, Field(gt=0, le=3_600_000)] = 500.0

    def attribution(self) -> Attribution:
        """What carries this out; nothing is opened yet.

        Raises:
            SettingsError: `source` is none of them.
        """
        if self.source is None:
            return Unattributed()
        if self.source == "counter":
            return Counted()
        return Announced(part_lines(self.source), within_s=self.within_ms / 1000)


class CameraSettings(DaemonSettings):
    """Of a camera, beside its flags.

    Attributes:
        features: what the camera itself is set to.
        shaping: what is done to its pictures before the wire.
        parts: who says which part a picture shows.
    """

    features: CameraFeatures = CameraFeatures()
    shaping: Shaping = Shaping()
    parts: PartsSettings = PartsSettings()


def read_camera_settings(
    file: Path | None,
    *,
    features: Sequence[str] = (),
    parts: str | None = None,
    roi: str | None = None,
    **shaping: object,
) -> CameraSettings:
    """Defaults < file < environment < flags.

    Args:
        file: TOML, or None.
        features: `NAME=VALUE` each, the value as in TOML, a text without quotes if you like.
        parts: who says which part a picture shows.
        roi: `X,Y,WIDTH,HEIGHT`.
        shaping: other fields of `Shaping`; None: not given.

    Raises:
        SettingsError: one sentence naming the key.
    """
    given: dict[str, Any] = {name: value for name, value in shaping.items() if value is not None}
    if roi is not None:
        given["roi"] = _roi(roi)
    flags: dict[str, Any] = {"features": dict(map(_feature, features)), "shaping": given}
    if parts is not None:
        flags["parts"] = {"source": parts}
    return load_settings(CameraSettings, file, {name: found or None for name, found in flags.items()})


def _roi(text: str) -> list[int]:
    try:
        x, y, width, height = (int(number) for number in text.split(","))
    except ValueError as error:
        raise SettingsError(f"--roi {text} is not X,Y,WIDTH,HEIGHT in pixels") from error
    return [x, y, width, height]


def _feature(text: str) -> tuple[str, Any]:
    name, equals, value = text.partition("=")
    if not equals or not value:
        raise SettingsError(f"--feature {text} is not NAME=VALUE")
    try:
        return name, tomllib.loads(f"it = {value}")["it"]
    except tomllib.TOMLDecodeError:
        return name, value
