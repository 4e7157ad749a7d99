"""`producers.camera_settings`: a camera's file, and the flags that go before it."""

from pathlib import Path

import pytest

from producers.announced import Announced
from producers.attribution import Counted, Unattributed
from producers.camera_settings import CameraSettings, PartsSettings, read_camera_settings
from producers.errors import SettingsError


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "camera.toml"
    path.write_text(
        '[features]\nexposure_us = 800\ntrigger = "Line1"\ngenicam = { TriggerActivation = "RisingEdge" }\n'
        "[shaping]\nroi = [10, 20, 300, 200]\nrotate = 90\n"
    )
    return path


def test_without_a_file_or_a_flag_everything_is_left_as_the_camera_has_it() -> None:
    assert read_camera_settings(None).model_dump() == CameraSettings().model_dump()


def test_flags_go_before_the_file_one_by_one(file: Path) -> None:
    found = read_camera_settings(file, features=["exposure_us=250", "pixel_format=Mono8"], rotate=180, scale=0.5)
    features, shaping = found.features, found.shaping
    assert (features.exposure_us, features.trigger, features.pixel_format) == (250, "Line1", "Mono8")
    assert features.genicam == {"TriggerActivation": "RisingEdge"}
    assert (shaping.roi, shaping.rotate, shaping.scale, shaping.encoding) == ((10, 20, 300, 200), 180, 0.5, "raw")


def test_a_region_is_four_numbers_in_a_row() -> None:
    assert read_camera_settings(None, roi="1,2, 3,4").shaping.roi == (1, 2, 3, 4)


@pytest.mark.parametrize(
    ("flags", "named"),
    [
        ({"roi": "1,2,3"}, "--roi"),
        ({"roi": "a,b,c,d"}, "--roi"),
        ({"roi": "0,0,0,5"}, "shaping.roi"),
        ({"rotate": 45}, "shaping.rotate"),
        ({"encoding": "gif"}, "shaping.encoding"),
        ({"features": ["exposure_us"]}, "--feature"),
        ({"features": ["exposure_us=fast"]}, "features.exposure_us"),
        ({"features": ["shutter=5"]}, "features.shutter"),
    ],
    ids=str,
)
def test_what_makes_no_sense_is_named(flags: dict[str, object], named: str) -> None:
    with pytest.raises(SettingsError, match=named):
        read_camera_settings(None, **flags)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("text", "kind"),
    [(None, Unattributed), ("counter", Counted), ("tcp://plc:4001", Announced), ("serial:/dev/ttyS0@9600", Announced)],
)
def test_who_says_which_part_it_is_is_named_by_its_form(text: str | None, kind: type) -> None:
    assert type(read_camera_settings(None, parts=text).parts.attribution()) is kind


@pytest.mark.parametrize(
    "text", ["", "plc:4001", "tcp://plc", "tcp://plc:0", "tcp://plc:70000", "serial:", "serial:/dev/ttyS0@1234"]
)
def test_any_other_form_is_refused(text: str) -> None:
    with pytest.raises(SettingsError):
        PartsSettings(source=text).attribution()


def test_an_unknown_key_in_the_file_is_named_with_the_file(file: Path) -> None:
    file.write_text("[shape]\nrotate = 90\n")
    with pytest.raises(SettingsError, match=r"camera\.toml: unknown key shape"):
        read_camera_settings(file)
