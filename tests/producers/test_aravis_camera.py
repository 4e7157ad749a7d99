"""`producers.aravis_camera` with Aravis's own fake cameras: one on the network of this machine, which loses packets."""

import os
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from typing import Any

import numpy as np
import pytest

pytest.importorskip("gi", reason="no PyGObject: pip install 'sightline[aravis]'")

from producers.errors import SettingsError, SourceError

try:
    from producers.aravis_camera import AravisCamera
except SettingsError as error:
    pytest.skip(str(error), allow_module_level=True)

from gi.repository import Aravis, GLib

from producers.features import CameraFeatures
from producers.frame import Image
from producers.live_source import LiveSource
from producers.snapshot import Snapshot

FAKE = shutil.which("arv-fake-gv-camera-0.8")
ADDRESS = "127.0.0.1"
LOST_PER_THOUSAND = 20
FRAMES = 500 if os.environ.get("SIGHTLINE_FAULTS") == "long" else 120
SMALL: dict[str, Any] = {"width": 256, "height": 256, "packet_bytes": 1400, "frame_rate": 50.0}

Process = subprocess.Popen[bytes]
StartFake = Callable[..., Process]


@pytest.fixture
def start_fake() -> Iterator[StartFake]:
    """Starts a fake GigE Vision camera, and waits until it answers; they end with the test."""
    if FAKE is None:
        pytest.skip("no arv-fake-gv-camera-0.8: apt install aravis-tools")
    running: list[Process] = []

    def start(*, lost_per_thousand: int = 0) -> Process:
        command = [str(FAKE), "-i", "lo", "-r", str(lost_per_thousand)]
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        running.append(process)
        ends = time.monotonic() + 10
        while time.monotonic() < ends:
            with suppress(GLib.Error):
                Aravis.Camera.new(ADDRESS)
                return process
            time.sleep(0.05)
        raise AssertionError("the fake camera does not answer")

    yield start
    for process in running:
        process.kill()
        process.wait()


def opened(name: str = ADDRESS, **features: Any) -> AravisCamera:
    return AravisCamera(name, CameraFeatures.model_validate(features))


def taken(camera: AravisCamera, count: int) -> list[Snapshot]:
    found: list[Snapshot] = []
    ends = time.monotonic() + 60
    while len(found) < count:
        assert time.monotonic() < ends, f"only {len(found)} of {count} came"
        if (snapshot := camera.grab(0.5)) is not None:
            found.append(snapshot)
    return found


def number_in(image: Image | None) -> int:
    """The fake camera draws slanting stripes that begin with the picture's number, modulo 255. They must be whole."""
    assert image is not None
    rows, columns = np.indices(image.shape)
    number = int(image[0, 0])
    assert np.array_equal(image, (number + rows + columns) % 255), "a picture that is not whole was taken for one"
    return number


def test_of_pictures_that_lose_packets_each_is_whole_or_has_its_place(start_fake: StartFake) -> None:
    """None is missing: between two whole ones there are as many places as the camera counted."""
    start_fake(lost_per_thousand=LOST_PER_THOUSAND)
    with closing(opened(**SMALL)) as camera:
        found = taken(camera, FRAMES)
    whole = [(place, number_in(found[place].image)) for place in range(FRAMES) if found[place].image is not None]
    assert 0 < len(whole) < FRAMES
    assert all(snapshot.flaw for snapshot in found if snapshot.image is None)
    first_place, first_number = whole[0]
    assert [(place - first_place) % 255 for place, _ in whole] == [(number - first_number) % 255 for _, number in whole]


def test_pictures_that_wait_do_not_look_younger_than_they_are(start_fake: StartFake) -> None:
    start_fake()
    with closing(opened(**SMALL)) as camera:
        taken(camera, 1)
        time.sleep(0.5)
        oldest = taken(camera, 1)[0]
    assert 0.3 < time.monotonic() - oldest.captured < 5


def test_more_pictures_than_there_is_room_for_keep_their_places(start_fake: StartFake) -> None:
    """Whoever takes them was busy for longer than the buffers last."""
    start_fake()
    with closing(opened(**SMALL)) as camera:
        before = taken(camera, 3)[-1]
        time.sleep(1.5)
        later = taken(camera, 60)
    numbers = [number_in(snapshot.image) if snapshot.image is not None else None for snapshot in later]
    assert None in numbers
    begin = number_in(before.image)
    assert all(number in (None, (begin + place + 1) % 255) for place, number in enumerate(numbers))


def test_a_counter_that_starts_anew_gives_no_picture_a_number_that_may_be_another_s(start_fake: StartFake) -> None:
    start_fake()
    with closing(opened(**SMALL)) as camera:
        taken(camera, 3)
        camera._ids.came(20_000)
        assert "anew" in taken(camera, 1)[0].flaw
        with pytest.raises(SourceError, match="anew"):
            camera.grab(5)


def test_a_region_of_the_sensor_is_stated(start_fake: StartFake) -> None:
    start_fake()
    with closing(opened(**SMALL, genicam={"OffsetX": 64, "OffsetY": 32})) as camera:
        found = taken(camera, 3)  # the first may have begun before there was anybody to take it
    assert found[-1].transform == ((1, 0, 64), (0, 1, 32))


@pytest.mark.parametrize(
    "features",
    [
        {"genicam": {"Nonsense": 1}},
        {"genicam": {"Width": 100_000}},
        {"exposure_us": 1e12},
        {"pixel_format": "Mono12p"},
        {"trigger": "Line7"},
        {"genicam": {"Width": True}},
        {"genicam": {"Gain": "x"}},
    ],
    ids=str,
)
def test_a_feature_that_the_camera_does_not_take_is_a_setting_at_fault(
    start_fake: StartFake, features: dict[str, Any]
) -> None:
    start_fake()
    with pytest.raises(SettingsError, match=ADDRESS):
        opened(**features)


def test_a_camera_that_another_program_has_is_a_source_error(start_fake: StartFake) -> None:
    start_fake()
    with closing(opened(**SMALL)), pytest.raises(SourceError, match="another program"):
        opened()


def test_nobody_there_is_a_source_error() -> None:
    with pytest.raises(SourceError, match=r"127\.0\.0\.77"):
        opened("127.0.0.77")


def test_a_camera_that_vanishes_and_returns_flows_again(start_fake: StartFake) -> None:
    first = start_fake()
    later: list[Process] = []

    def open_again() -> AravisCamera:
        if first.poll() is not None and not later:
            later.append(start_fake())
        return opened(**SMALL)

    source = LiveSource("aravis", open_again, silence_s=0.5)
    captures = source.captures(stopping=lambda: False)
    next(captures)
    first.kill()
    first.wait()
    while not later:
        next(captures)
    assert next(captures).image is not None
    assert source.load()["source_outages"] == 1
    captures.close()


def test_a_trigger_starts_each_picture(start_fake: StartFake) -> None:
    start_fake()
    with closing(opened(**{**SMALL, "trigger": "Software", "pixel_format": "BayerRG8"})) as camera:
        assert camera.grab(0.3) is None
        camera._camera.software_trigger()
        snapshot = taken(camera, 1)[0]
        assert camera.grab(0.3) is None
    assert snapshot.color == "bayer_rggb"
    assert snapshot.image is not None
    assert snapshot.image.shape == (256, 256)
