"""`sightline record`, `camera --record` and `recordings`: frames, verdicts beside them, and exit codes."""

import json
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from producers.errors import RecordingError, SettingsError
from producers.keys import new_pair, read_pair, read_public
from producers.publisher import FramePublisher, PublisherSettings
from producers.recording import cli as recordings
from producers.recording.folder import Recording, files_of
from producers.recording.listening import listen
from producers.recording.message import PICTURES, Topic
from producers.recording.recorder import Recorder
from producers.recording.settings import RecordingSettings
from producers.watching import LiveEnd, Watcher
from tests.worker.processes import SIGHTLINE, eventually
from tests.worker.test_reader import Writer
from worker.demo.processes import free_ports
from worker.errors import ResultsUnavailable
from worker.reader import ResultReader
from worker.record_cli import record
from worker.recording import VerdictTap
from worker.verdict import Verdict


def publisher_at(port: int, camera: str = "cam1", **fields: object) -> FramePublisher:
    """A publisher that no worker is needed for."""
    (work,) = free_ports(1)
    known = {"camera": camera, "work": f"tcp://127.0.0.1:{work}", "live": f"tcp://127.0.0.1:{port}"}
    return FramePublisher(PublisherSettings.model_validate({**known, "policy": "drop_oldest", **fields}))


def picture(seq: int) -> "np.ndarray[tuple[int, ...], np.dtype[np.uint8]]":
    return np.full((8, 8, 3), seq % 256, np.uint8)


def publish_some(publisher: FramePublisher) -> None:
    for seq in range(20):
        publisher.publish(picture(seq), part_id=f"P{seq}")
        time.sleep(0.01)


@pytest.mark.timeout(60)
def test_frames_and_verdicts_are_recorded_until_it_is_told_to_stop(tmp_path: Path, redis_url: str, line: str) -> None:
    """As a process: the recording has both, SIGTERM ends it in order, and what came of it is printed."""
    (port,) = free_ports(1)
    out = tmp_path / "a.mcap"
    flags = [f"--live=tcp://127.0.0.1:{port}", f"--out={out}", f"--redis={redis_url}", f"--line={line}", "--json"]
    process = subprocess.Popen([*SIGHTLINE, "record", *flags, "--window-s=0.05", "--linger-s=0.5"], stdout=-1)
    try:
        with publisher_at(port) as publisher:
            while not out.exists() and process.poll() is None:
                publish_some(publisher)
            Writer(redis_url, line).store(0, 1, 2)
            process.send_signal(signal.SIGTERM)
            said, _ = process.communicate(timeout=20)
    finally:
        process.kill()
    found = json.loads(said)
    messages = list(Recording(out).messages())
    pictures = [message for message in messages if message.topic in PICTURES]
    assert (process.returncode, found["missed"], found["dropped"]) == (0, 0, 0)
    assert found["frames"] == len(pictures) > 0
    assert found["verdicts"] == 3 == sum(message.topic is Topic.VERDICT for message in messages)
    for message in pictures:
        header, _, payload = message.frame()
        assert payload == picture(int(str(header.part_id)[1:])).tobytes()


def test_two_cameras_with_keys_go_into_one_file(tmp_path: Path) -> None:
    """Each with its own key; the recording of both is in the order of time."""
    for name in ("viewer", "cam1", "cam2"):
        new_pair(tmp_path, name)
    for folder in ("workers", "viewers"):
        (tmp_path / folder).mkdir()
    (tmp_path / "viewers" / "viewer.pub").write_text((tmp_path / "viewer.pub").read_text())
    ports = free_ports(2)
    ends = [
        LiveEnd(f"tcp://127.0.0.1:{port}", read_public(tmp_path / f"cam{number + 1}.pub"))
        for number, port in enumerate(ports)
    ]
    with (
        publisher_at(ports[0], "cam1", key=tmp_path / "cam1.key") as one,
        publisher_at(ports[1], "cam2", key=tmp_path / "cam2.key") as two,
        Recorder(RecordingSettings(out=tmp_path / "a.mcap")) as recorder,
        Watcher(ends, topic="frame", key=read_pair(tmp_path / "viewer.key")) as watcher,
    ):

        def publish_and_ask(frames: int) -> bool:
            time.sleep(0.01)  # a viewer that is behind misses some, and is told so
            for publisher in (one, two):
                publisher.publish(picture(1))
            return frames >= 20

        heard = listen(watcher, recorder, until=publish_and_ask)
    assert (heard.missed, heard.frames >= 20) == (0, True)
    cameras = [message.camera for message in Recording(tmp_path / "a.mcap").messages()]
    assert len(cameras) == heard.frames
    assert set(cameras) == {"cam1", "cam2"}


def test_what_a_viewer_misses_is_counted(tmp_path: Path) -> None:
    """A seq that did not come before a later one; where it joins, nothing is missing."""
    (port,) = free_ports(1)
    with publisher_at(port) as publisher, Watcher([LiveEnd(f"tcp://127.0.0.1:{port}")], topic="header") as watcher:
        assert eventually(lambda: bool(publisher.publish(picture(0)) and watcher.receive(20)))
        while watcher.receive(50):
            continue
        publisher.give_up("bad_frame")  # has no pixels to be seen
        publisher.publish(picture(1))
        assert eventually(lambda: bool(watcher.receive(50)))
        assert watcher.missed == {"cam1": 1}


def test_verdicts_that_can_not_be_followed_end_it_and_the_exit_code_says_so(
    tmp_path: Path, redis_url: str, line: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a camera there is nothing left to wait for."""

    def follow(self: ResultReader, **_: object) -> Iterator[Verdict]:
        raise ResultsUnavailable("for the test")

    monkeypatch.setattr(ResultReader, "follow", follow)
    assert record(out=tmp_path, redis=redis_url, line=line) == 1


def test_verdicts_alone_go_beside_what_the_camera_records(tmp_path: Path, redis_url: str, line: str) -> None:
    """Files of both kinds in one folder are one recording."""
    (port,) = free_ports(1)
    with (
        Recorder(RecordingSettings(out=tmp_path, name="cam1")) as frames,
        Recorder(RecordingSettings(out=tmp_path, name="line")) as verdicts,
    ):
        settings = PublisherSettings(camera="cam1", work=f"ipc://{tmp_path}/w", live=f"tcp://127.0.0.1:{port}")
        with (
            FramePublisher(settings, record=frames.published) as publisher,
            VerdictTap(redis_url, line, verdicts, linger_s=0) as tap,
        ):
            publisher.publish(picture(0))
            Writer(redis_url, line).store(0)
            assert eventually(lambda: tap.verdicts == 1)
    assert {message.topic for message in Recording(tmp_path).messages()} == {Topic.FRAME, Topic.VERDICT}
    assert len(files_of(tmp_path)) == 2


def test_the_camera_records_every_frame_also_one_that_can_not_be_read(tmp_path: Path) -> None:
    """`sightline camera --record`: nothing is missed, and a torn picture has its place in it."""
    import cv2

    (tmp_path / "pictures").mkdir()
    for name in "abc":
        cv2.imwrite(str(tmp_path / "pictures" / f"{name}.png"), picture(ord(name)))
    (tmp_path / "pictures" / "b.png").write_bytes(b"torn")
    work, live = free_ports(2)
    where = [f"--work=tcp://127.0.0.1:{work}", f"--live=tcp://127.0.0.1:{live}", "--drain-s=0.2"]
    command = [*SIGHTLINE, "camera", str(tmp_path / "pictures"), "--camera=cam1", *where, f"--record={tmp_path / 'r'}"]
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=30)
    assert done.returncode == 1, done.stderr  # nobody judged them
    assert [(message.topic.value, message.seq) for message in Recording(tmp_path / "r").messages()] == [
        ("frame", 0),
        ("gone", 1),
        ("frame", 2),
    ]


def test_recordings_are_listed_checked_and_repaired(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """With exit code 1 for one that was cut off, and 0 once it is repaired."""
    from tests.producers.recording.frames import frame
    from tests.producers.recording.frames import record as record_frames

    path = tmp_path / "a.mcap"
    record_frames(path, *(frame(seq) for seq in range(20)), chunk_bytes=4000)
    assert recordings.check(path) == 0
    path.write_bytes(path.read_bytes()[:9000])
    assert recordings.list(tmp_path, as_json=True) == 0
    assert recordings.check(tmp_path) == 1
    assert recordings.repair(path) == 0
    assert recordings.check(tmp_path) == 0
    said = capsys.readouterr()
    assert "cut off" in said.out
    assert "messages saved" in said.out
    assert "was cut off" in said.err


def test_bad_input_is_one_sentence(tmp_path: Path) -> None:
    """What is wrong, and what was expected."""
    with pytest.raises(SettingsError, match="nothing to record"):
        record(tmp_path / "a.mcap")
    with pytest.raises(SettingsError, match="can't be dialled"):
        record(tmp_path / "a.mcap", live=["cam1"])
    new_pair(tmp_path, "cam1")
    with pytest.raises(SettingsError, match="once for each"):
        record(tmp_path / "a.mcap", live=["tcp://127.0.0.1:1"] * 2, server_key=[tmp_path / "cam1.pub"])
    with pytest.raises(SettingsError, match="give a --key"):
        record(tmp_path / "a.mcap", live=["tcp://127.0.0.1:1"], server_key=[tmp_path / "cam1.pub"])
    with pytest.raises(RecordingError, match="holds no recording"):
        recordings.list(tmp_path / "nowhere")
