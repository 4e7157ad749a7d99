"""`producers.choosing`: which source a text means, and what each refuses before anything is opened."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from producers.camera_settings import CameraSettings, PartsSettings
from producers.choosing import choose_source
from producers.errors import SettingsError, SourceError
from producers.features import CameraFeatures
from producers.live_source import LiveSource
from producers.push import PushSource
from producers.shaping import Shaping
from producers.sources import FolderSource
from producers.video import VideoFile
from tests.producers.test_video import record


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    assert cv2.imwrite(str(tmp_path / "a.png"), np.zeros((4, 4), np.uint8))
    record(tmp_path / "belt.AVI", 1)
    return tmp_path


@pytest.mark.parametrize("text", ["rtsp://cam/1", "rtsps://cam/1", "http://cam/1", "https://cam/1"])
def test_a_stream_is_named_by_its_url(text: str) -> None:
    source = choose_source(text)
    assert isinstance(source, LiveSource)
    assert source.label == text


@pytest.mark.parametrize(("text", "label"), [("usb:0", "usb:0"), ("/dev/video3", "/dev/video3")])
def test_a_usb_camera_is_named_by_its_number_or_device(text: str, label: str) -> None:
    source = choose_source(text)
    assert isinstance(source, LiveSource)
    assert source.label == label


def test_a_file_is_a_video_or_a_picture_by_its_name(folder: Path) -> None:
    assert isinstance(choose_source(str(folder / "belt.AVI")), VideoFile)
    assert isinstance(choose_source(str(folder / "a.png")), FolderSource)
    assert isinstance(choose_source(str(folder)), FolderSource)
    assert isinstance(choose_source("push://127.0.0.1:5557"), PushSource)


def test_a_folder_may_be_named_like_a_video(folder: Path) -> None:
    assert isinstance(choose_source(str(folder.rename(folder.with_suffix(".mp4")))), FolderSource)


def test_a_password_stays_out_of_the_label() -> None:
    assert choose_source("rtsp://user:secret@cam/1").label == "rtsp://cam/1"


def test_only_cameras_are_live_unless_somebody_says_so(folder: Path) -> None:
    names = ["usb:0", "rtsp://cam/1", str(folder), str(folder / "belt.AVI"), "push://127.0.0.1:5557"]
    assert [choose_source(name).simulated for name in names] == [False, False, True, True, True]


@pytest.mark.parametrize(("loop", "rate"), [(True, 0.0), (False, 5.0)])
def test_a_camera_has_a_pace_of_its_own(loop: bool, rate: float) -> None:
    with pytest.raises(SettingsError, match="its own pace"):
        choose_source("usb:0", loop=loop, rate=rate)


@pytest.mark.parametrize(
    ("text", "features"),
    [("usb:0", {"trigger": "Line1"}), ("rtsp://cam/1", {"gain": 2.0}), ("FOLDER", {"exposure_us": 800.0})],
)
def test_a_feature_that_a_kind_of_source_hasn_t_is_refused_by_name(
    folder: Path, text: str, features: dict[str, object]
) -> None:
    with pytest.raises(SettingsError, match=next(iter(features))):
        choose_source(
            text.replace("FOLDER", str(folder)),
            settings=CameraSettings(features=CameraFeatures.model_validate(features)),
        )


def test_a_camera_program_shapes_its_own_pictures() -> None:
    with pytest.raises(SettingsError, match="transform"):
        choose_source("push://127.0.0.1:5557", settings=CameraSettings(shaping=Shaping(rotate=90)))


@pytest.mark.parametrize("text", ["usb:x", "usb0", "/dev/null/video0", "nowhere.mp4"])
def test_what_is_none_of_them_is_a_path_that_does_not_exist(text: str) -> None:
    with pytest.raises(SourceError, match="does not exist"):
        choose_source(text)


@pytest.mark.parametrize("text", ["FOLDER", "usb:0", "rtsp://cam/1", "push://127.0.0.1:5557", "aravis:", "basler:"])
def test_parts_are_announced_to_cameras_with_a_trigger_alone(folder: Path, text: str) -> None:
    settings = CameraSettings(parts=PartsSettings(source="counter"))
    with pytest.raises(SettingsError, match="and a trigger"):
        choose_source(text.replace("FOLDER", str(folder)), settings=settings)
