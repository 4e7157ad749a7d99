"""A recorder never makes anybody wait: what the disk does not take is dropped, counted, and tried again."""

import math
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from producers.errors import SettingsError
from producers.frame import FrameHeader, Payload
from producers.gauges import PublisherCollector
from producers.publisher import FramePublisher, PublisherSettings
from producers.recording.file import RecordingFile
from producers.recording.folder import files_of
from producers.recording.recorder import Recorder
from producers.recording.rotation import Rotation
from producers.recording.settings import MIB, RecordingSettings
from tests.producers.conftest import Dial
from tests.producers.recording.frames import frame, read


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 2 MiB."""
    place = tmp_path / "disk"
    place.mkdir()
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(place)], capture_output=True, text=True, check=False
    )
    if done.returncode:
        pytest.skip(f"no small disk can be made: {done.stderr.strip()}")
    yield place
    subprocess.run(["umount", str(place)], check=True)


def wait_for(condition: Callable[[], bool]) -> None:
    ends = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < ends
        time.sleep(0.005)


def test_a_full_disk_stops_the_recording_and_later_it_goes_on(small_disk: Path) -> None:
    """What was whole before stays readable, what could not be written is counted, and freed room is used."""
    ballast, now = small_disk / "ballast", [0.0]
    ballast.write_bytes(bytes(MIB))
    settings = RecordingSettings(out=small_disk, chunk_bytes=100_000, retry_s=5)
    with Recorder(settings, clock=lambda: now[0]) as recorder:
        for seq in range(40):  # of 49 kB each: there is room for about 20
            recorder.published(frame(seq, side=128))
        wait_for(lambda: sum(recorder.counts()[name] for name in ("recorded", "dropped")) == 40)
        before = recorder.counts()
        assert before["failures"] == 1
        assert before["recorded"] > 10
        ballast.unlink()
        now[0] = 5.0
        recorder.published(frame(40, side=128))
    assert recorder.counts() == {**before, "recorded": before["recorded"] + 1}
    found = [header["seq"] for path in files_of(small_disk) for header, _ in read_whole(path)]
    assert found == [*range(before["recorded"]), 40]


def test_a_full_disk_stops_no_camera(small_disk: Path, publisher_settings: PublisherSettings, dial: Dial) -> None:
    """Every frame is published and judged, though next to none is recorded; the numbers say so."""
    (small_disk / "ballast").write_bytes(bytes(2 * MIB - 4096))
    with (
        Recorder(RecordingSettings(out=small_disk, window_s=0.02)) as recorder,
        FramePublisher(publisher_settings, record=recorder.published) as publisher,
    ):
        worker = dial()
        worker.hello(credit=40)
        for seq in range(40):
            publisher.publish(np.full((128, 128, 3), seq, np.uint8))
        for _ in range(40):
            worker.stored(worker.frame()[0].id)
        assert publisher.drain(5) == 0
        wait_for(lambda: recorder.counts()["dropped"] == 40)
        numbers = {
            sample.name: sample.value
            for family in PublisherCollector(publisher, tape=recorder).collect()
            for sample in family.samples
        }
    assert numbers["sightline_camera_stored_total"] == 40
    assert numbers["sightline_camera_recording_dropped_total"] == 40
    assert numbers["sightline_camera_recording_failures_total"] > 0


def read_whole(path: Path) -> list[tuple[dict[str, object], bytes]]:
    """The frames in a file whose end may be missing."""
    from producers.recording.reading import read_messages

    return [(message.frame()[0].model_dump(), message.frame()[2]) for message in read_messages(path)]


def test_pictures_that_wait_take_no_more_memory_than_allowed(tmp_path: Path) -> None:
    """What comes on top of the queue is dropped and counted, at once."""
    one = frame(0, side=128)
    recorder = Recorder(RecordingSettings(out=tmp_path / "a.mcap", queue_bytes=3 * len(one.payload)))
    for seq in range(5):  # nothing is written yet: its thread has not begun
        recorder.offer(frame(seq, side=128))
    assert recorder.counts() == {"recorded": 0, "dropped": 2, "failures": 0}
    with recorder:
        pass
    assert [header["seq"] for header, _ in read(tmp_path / "a.mcap")] == [0, 1, 2]


def test_what_can_not_be_written_is_dropped_and_the_next_one_is_recorded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever goes wrong with one frame, the thread lives on."""
    add, now = RecordingFile.add_frame, [0.0]

    def add_frame(file: RecordingFile, header: FrameHeader, text: bytes, payload: Payload) -> None:
        if header.seq == 0:
            raise ValueError("for the test")
        add(file, header, text, payload)

    monkeypatch.setattr(RecordingFile, "add_frame", add_frame)
    with Recorder(RecordingSettings(out=tmp_path / "a.mcap", retry_s=5), clock=lambda: now[0]) as recorder:
        recorder.published(frame(0))
        wait_for(lambda: recorder.counts()["dropped"] == 1)
        now[0] = 5.0
        recorder.published(frame(1))
    assert recorder.counts() == {"recorded": 1, "dropped": 1, "failures": 1}
    assert [header["seq"] for path in files_of(tmp_path) for header, _ in read(path)] == [1]


def test_what_is_older_than_the_window_is_in_the_file(tmp_path: Path) -> None:
    """A chunk is closed by time as well, though it is far from full, while the recorder waits for more."""
    with Recorder(RecordingSettings(out=tmp_path / "a.mcap", window_s=0.05)) as recorder:
        recorder.published(frame(0))
        wait_for(lambda: len(read_whole(tmp_path / "a.mcap")) == 1 if (tmp_path / "a.mcap").exists() else False)


def test_a_file_that_is_there_is_not_overwritten(tmp_path: Path) -> None:
    """A recording of yesterday is nobody's to lose."""
    (tmp_path / "a.mcap").write_bytes(b"yesterday")
    with pytest.raises(SettingsError, match="is there already"):
        Recorder(RecordingSettings(out=tmp_path / "a.mcap"))
    with pytest.raises(SettingsError, match="no recording can be kept"):
        Recorder(RecordingSettings(out=tmp_path / "a.mcap" / "folder"))


def test_a_limit_without_a_limit_is_told_in_a_sentence(tmp_path: Path) -> None:
    """So is none that is a number; a fraction of a MiB is one."""
    for disk_gib in (math.inf, math.nan):
        with pytest.raises(SettingsError, match="disk_bytes"):
            RecordingSettings.of(out=tmp_path, disk_gib=disk_gib)
    assert RecordingSettings.of(out=tmp_path, disk_gib=4.3 / 1024).disk_bytes == int(4.3 * MIB)


def test_two_recorders_of_one_name_do_not_share_a_folder(tmp_path: Path) -> None:
    """Each would remove the other's oldest files. Another name may, and the same one later."""
    settings = RecordingSettings(out=tmp_path)
    with Recorder(settings):
        with pytest.raises(SettingsError, match="has a recorder named recording already"):
            Recorder(settings)
        with Recorder(RecordingSettings(out=tmp_path, name="other")):
            pass
    with Recorder(settings):
        pass


def test_a_limit_of_the_disk_is_not_for_a_single_file(tmp_path: Path) -> None:
    """It could not be held: a promise that is not kept is refused."""
    with pytest.raises(SettingsError, match="is one file"):
        Recorder(RecordingSettings(out=tmp_path / "a.mcap", disk_bytes=4 * MIB))


def fill(rotation: Rotation, frames: range) -> None:
    for seq in frames:
        one = frame(seq, side=128)
        rotation.current().add_frame(one.header, one.header.to_bytes(), one.payload)


def test_files_follow_each_other_by_size_and_by_time(tmp_path: Path) -> None:
    """Each is closed in order, and their names sort as they were written."""
    now = [0.0]
    settings = RecordingSettings(out=tmp_path, file_bytes=MIB, file_s=60, chunk_bytes=100_000)
    rotation = Rotation(settings, clock=lambda: now[0])
    fill(rotation, range(50))  # 2.4 MB
    now[0] = 61.0
    fill(rotation, range(50, 51))
    rotation.close()
    by_file = [[header["seq"] for header, _ in read(path)] for path in files_of(tmp_path)]
    assert [seq for found in by_file for seq in found] == list(range(51))
    assert len(by_file) == 4
    assert by_file[-1] == [50]


def test_the_oldest_files_make_room_within_the_limit(tmp_path: Path) -> None:
    """Only files of this name count, and only they are removed."""
    for other in ("cam1_x_20200101T000000-000.mcap", "cam2_20200101T000000-000.mcap", "cam1_notes.mcap"):
        (tmp_path / other).write_bytes(bytes(3 * MIB))
    settings = RecordingSettings(out=tmp_path, name="cam1", disk_bytes=4 * MIB, chunk_bytes=100_000)
    rotation = Rotation(settings)
    for first in range(0, 200, 20):
        fill(rotation, range(first, first + 20))
        rotation.flush()
    rotation.close()
    mine = [path for path in files_of(tmp_path) if path.stat().st_size != 3 * MIB]
    assert sum(path.stat().st_size for path in mine) <= 4 * MIB + 100_000
    found = [header["seq"] for path in mine for header, _ in read(path)]
    assert found == list(range(found[0], 200))
    assert found[0] > 0
    assert len(files_of(tmp_path)) == len(mine) + 3


def test_settings_that_make_no_sense_are_told_in_a_sentence(tmp_path: Path) -> None:
    """By the name of what is wrong."""
    with pytest.raises(SettingsError, match="disk_bytes"):
        RecordingSettings.of(out=tmp_path, disk_bytes=10)
    with pytest.raises(SettingsError, match="compression"):
        RecordingSettings.of(out=tmp_path, compression="zip")
