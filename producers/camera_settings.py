"""What `sightline camera --settings FILE` holds, and the flags that go before it."""

import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from producers.daemon import DaemonSettings, load_settings
from producers.errors import SettingsError
from producers.features import CameraFeatures
from producers.shaping import Shaping


class CameraSettings(DaemonSettings):
    """Of a camera, beside its flags.

    Attributes:
        features: what the camera itself is set to.
        shaping: what is done to its pictures before the wire.
    """

    features: CameraFeatures = CameraFeatures()
    shaping: Shaping = Shaping()


def read_camera_settings(
    file: Path | None, *, features: Sequence[str] = (), roi: str | None = None, **shaping: object
) -> CameraSettings:
    """Defaults < file < environment < flags.

    Args:
        file: TOML, or None.
        features: `NAME=VALUE` each, the value as in TOML, a text without quotes if you like.
        roi: `X,Y,WIDTH,HEIGHT`.
        shaping: other fields of `Shaping`; None: not given.

    Raises:
        SettingsError: one sentence naming the key.
    """
    given: dict[str, Any] = {name: value for name, value in shaping.items() if value is not None}
    if roi is not None:
        given["roi"] = _roi(roi)
    flags: dict[str, Any] = {"features": dict(map(_feature, features)), "shaping": given}
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
