"""`producers.basler_camera` with pylon's own camera emulation."""

import os
import time
import warnings
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import numpy as np
import pytest

os.environ.setdefault("PYLON_CAMEMU", "2")  # pylon reads it once, when it is first asked for cameras
pytest.importorskip("pypylon", reason="no pypylon: pip install 'sightline[basler]'")

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # pylon's modules end the process where a warning is an error
    from producers.basler_camera import BaslerCamera
from producers.errors import SettingsError, SourceError
from producers.features import CameraFeatures
from producers.live_source import LiveSource
from producers.snapshot import Snapshot

pytestmark = pytest.mark.timeout(60, method="thread")  # pylon's emulation needs SIGALRM for itself
SMALL = {"width": 64, "height": 48}


def opened(serial: str = "0815-0001", **features: Any) -> BaslerCamera:
    return BaslerCamera(serial, CameraFeatures.model_validate({**SMALL, **features}))


def taken(camera: BaslerCamera, count: int) -> list[Snapshot]:
    found: list[Snapshot] = []
    ends = time.monotonic() + 30
    while len(found) < count:
        assert time.monotonic() < ends, f"only {len(found)} of {count} came"
        if (snapshot := camera.grab(0.5)) is not None:
            found.append(snapshot)
    return found


@pytest.fixture
def camera() -> Iterator[BaslerCamera]:
    with closing(opened(frame_rate=50, exposure_us=500)) as running:
        yield running


def test_pictures_come_whole(camera: BaslerCamera) -> None:
    for snapshot in taken(camera, 3):
        assert snapshot.image is not None
        assert snapshot.image.shape == (48, 64)
        assert snapshot.color == "mono"


def test_buffers_that_pylon_says_are_incomplete_are_never_pictures(camera: BaslerCamera) -> None:
    taken(camera, 1)
    camera._camera.ForceFailedBufferCount.Value = 5
    camera._camera.ForceFailedBuffer.Execute()
    found = Counter(
        "incomplete" in snapshot.flaw if snapshot.image is None else "whole" for snapshot in taken(camera, 60)
    )
    assert found[True] == 5
    assert found["whole"] == 55


def test_a_counter_that_starts_anew_gives_no_picture_a_number_that_may_be_another_s() -> None:
    found: list[Snapshot] = []
    with closing(opened(frame_rate=50)) as camera:
        taken(camera, 1)
        camera._ids.came(20_000)
        with pytest.raises(SourceError, match="anew"):
            found.extend(iter(lambda: camera.grab(5), None))
    assert "anew" in found[-1].flaw


def test_12_bits_fill_16_and_a_region_is_stated() -> None:
    with closing(opened(pixel_format="Mono12", genicam={"OffsetX": 8})) as camera:
        snapshot = taken(camera, 1)[0]
    assert snapshot.image is not None
    assert snapshot.image.dtype == np.uint16
    assert (snapshot.image % 16 == 0).all()
    assert snapshot.transform == ((1, 0, 8), (0, 1, 0))


def test_a_trigger_starts_each_picture() -> None:
    with closing(opened(trigger="Software", frame_rate=50)) as camera:
        assert camera.grab(0.3) is None
        camera._camera.ExecuteSoftwareTrigger()
        assert taken(camera, 1)[0].image is not None
        assert camera.grab(0.3) is None


@pytest.mark.parametrize(
    ("features", "named"),
    [
        ({"gain": 1e9}, "Gain"),
        ({"genicam": {"Nonsense": 1}}, "Nonsense"),
        ({"pixel_format": "BGRA8Packed"}, "BGRA8Packed"),
        ({"trigger": "Line99"}, "Line99"),
    ],
)
def test_a_feature_that_the_camera_does_not_take_is_a_setting_at_fault(features: dict[str, Any], named: str) -> None:
    with pytest.raises(SettingsError, match=named):
        opened(**features)


def test_nobody_there_is_a_source_error() -> None:
    with pytest.raises(SourceError, match="Basler camera 4711"):
        opened("4711")


def test_it_is_a_source_like_any_other() -> None:
    source = LiveSource("basler", lambda: opened(frame_rate=50), silence_s=5.0)
    captures = source.captures(stopping=lambda: False)
    assert next(captures).image is not None
    captures.close()
    assert source.load()["source_outages"] == 0
