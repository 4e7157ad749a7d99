"""`sightline camera` as a process: its exit codes, its signals, and that no picture is silent."""

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest

from producers.daemon import ExitCode
from producers.record import read_record
from tests.producers.conftest import Dial
from tests.producers.scripted_worker import Arrival, ScriptedWorker, wait_until
from worker.demo.processes import free_ports

PICTURE = np.full((6, 8, 3), 77, np.uint8)
START_S = 20.0  # a process imports for a while on a busy machine

Start = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    folder = tmp_path / "pictures"
    folder.mkdir()
    for name in ("a", "b", "c"):
        assert cv2.imwrite(str(folder / f"{name}.png"), PICTURE)
    return folder


@pytest.fixture
def start(endpoints: tuple[str, str]) -> Iterator[Start]:
    """Starts the daemon; whatever still runs when the test ends is killed."""
    running: list[subprocess.Popen[str]] = []

    def start_camera(source: Path, *options: str) -> "subprocess.Popen[str]":
        where = ["--work", endpoints[0], "--live", endpoints[1]]
        command = [sys.executable, "-m", "worker.cli", "camera", str(source), "--camera", "cam1", *where, *options]
        process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
        running.append(process)
        return process

    yield start_camera
    for process in running:
        process.kill()
        process.communicate()


def ended(process: "subprocess.Popen[str]") -> tuple[int, str]:
    """Its exit code and what it said."""
    _, said = process.communicate(timeout=START_S)
    return process.returncode, said


def part_of(arrival: Arrival) -> tuple[str | None, str]:
    """The part a frame or a GONE is about, and how it ended: `frame`, or the reason."""
    if isinstance(arrival, tuple):
        return arrival[0].part_id, "frame"
    content = arrival.model_dump()
    return content["frames"][0]["part_id"], content["reason"]


def answer(camera: "subprocess.Popen[str]", worker: ScriptedWorker, count: int) -> list[tuple[str | None, str]]:
    """Takes so many frames or GONEs, says that their verdicts are stored, returns what they were."""
    seen: list[tuple[str | None, str]] = []
    ends = time.monotonic() + START_S
    while len(seen) < count:
        if not worker.has_something(wait_s=0.2):
            assert camera.poll() is None, "the camera has ended"
            assert time.monotonic() < ends, f"only {len(seen)} of {count} came"
            continue
        arrival = worker.receive()
        seen.append(part_of(arrival))
        worker.stored(arrival[0].id if isinstance(arrival, tuple) else frame_id_of(arrival))
    return seen


def frame_id_of(arrival: Arrival) -> str:
    assert not isinstance(arrival, tuple)
    tag = arrival.model_dump()["frames"][0]
    return f"{tag['camera']}/{tag['session']}/{tag['seq']}"


def test_it_ends_well_when_every_frame_has_its_verdict(start: Start, dial: Dial, pictures: Path) -> None:
    camera, worker = start(pictures, "--recipe", "part", "--budget-ms", "60000"), dial()
    worker.hello(credit=9)
    header, _ = worker.frame(patience_s=START_S)
    assert (header.camera, header.recipe, header.budget_ms, header.part_id) == ("cam1", "part", 60_000, "a.png")
    assert header.simulated, "a folder must not open a real gate"
    worker.stored(header.id)
    assert answer(camera, worker, 2) == [("b.png", "frame"), ("c.png", "frame")]
    code, said = ended(camera)
    assert code == ExitCode.OK
    assert "Traceback" not in said


def test_a_folder_is_live_only_if_that_is_written_out(start: Start, dial: Dial, pictures: Path) -> None:
    camera, worker = start(pictures / "a.png", "--live-camera"), dial()
    worker.hello(credit=1)
    header, _ = worker.frame(patience_s=START_S)
    assert not header.simulated
    worker.stored(header.id)
    assert ended(camera)[0] == ExitCode.OK


def test_the_answer_is_no_if_a_frame_has_no_verdict_in_time(start: Start, pictures: Path) -> None:
    code, said = ended(start(pictures, "--drain-s", "0.2"))
    assert code == ExitCode.NO
    assert '"frames": 3' in said
    assert "without a stored verdict" in said


def test_an_unreadable_picture_ends_as_bad_frame_with_its_part(start: Start, dial: Dial, pictures: Path) -> None:
    (pictures / "b.png").write_bytes(b"torn")
    camera, worker = start(pictures), dial()
    worker.hello(credit=9)
    assert sorted(answer(camera, worker, 3)) == [("a.png", "frame"), ("b.png", "bad_frame"), ("c.png", "frame")]
    assert ended(camera)[0] == ExitCode.OK


def test_a_picture_with_a_very_long_path_is_inspected_like_any_other(start: Start, dial: Dial, pictures: Path) -> None:
    deep = pictures / ("b" * 200) / ("c" * 200)
    deep.mkdir(parents=True)
    (pictures / "b.png").rename(deep / "b.png")
    camera, worker = start(pictures), dial()
    worker.hello(credit=9)
    assert [end for _, end in answer(camera, worker, 3)] == ["frame"] * 3
    assert ended(camera)[0] == ExitCode.OK


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere file names are always text")
def test_a_picture_whose_name_is_not_text_is_inspected_like_any_other(start: Start, dial: Dial, pictures: Path) -> None:
    (pictures / "b.png").rename(os.fsdecode(os.fsencode(pictures) + b"/b\xff.png"))
    camera, worker = start(pictures), dial()
    worker.hello(credit=9)
    assert [end for _, end in answer(camera, worker, 3)] == ["frame"] * 3
    assert ended(camera)[0] == ExitCode.OK


def test_sigterm_takes_no_more_pictures_and_waits_for_the_verdicts(start: Start, dial: Dial, pictures: Path) -> None:
    camera, worker = start(pictures, "--loop", "--rate", "20"), dial()
    worker.hello(credit=2)
    first, second = worker.frame(patience_s=START_S)[0], worker.frame()[0]
    camera.send_signal(signal.SIGTERM)
    worker.stored(first.id)
    assert camera.poll() is None
    worker.stored(second.id)
    worker.grant(10_000)
    while camera.poll() is None:  # those captured meanwhile, and no end of them if it went on
        try:
            worker.stored(worker.frame(patience_s=0.5)[0].id)
        except AssertionError:
            break
    assert ended(camera)[0] == ExitCode.OK


def test_sigterm_does_not_wait_for_the_next_picture(start: Start, dial: Dial, pictures: Path) -> None:
    """At a slow rate that would be longer than a service manager has patience."""
    camera, worker = start(pictures, "--rate", "0.05"), dial()
    worker.hello(credit=9)
    assert answer(camera, worker, 1) == [("a.png", "frame")]
    camera.send_signal(signal.SIGTERM)
    try:
        assert camera.wait(5) == ExitCode.OK
    except subprocess.TimeoutExpired:
        pytest.fail("it still sleeps")


def test_a_second_signal_leaves_at_once(start: Start, dial: Dial, pictures: Path) -> None:
    camera, worker = start(pictures), dial()
    worker.hello(credit=9)
    worker.frame(patience_s=START_S)
    camera.send_signal(signal.SIGTERM)
    worker.settle()
    camera.send_signal(signal.SIGINT)
    assert ended(camera)[0] in (128 + signal.SIGINT, 128 + signal.SIGTERM)


def test_a_port_in_use_has_its_own_exit_code(start: Start, pictures: Path, endpoints: tuple[str, str]) -> None:
    with socket.create_server(("127.0.0.1", int(endpoints[0].rsplit(":", 1)[1]))):
        code, said = ended(start(pictures))
    assert code == ExitCode.ADDRESS_TAKEN
    assert endpoints[0] in said
    assert "Traceback" not in said


def test_a_camera_that_was_killed_leaves_its_frames_to_the_next_start(start: Start, dial: Dial, pictures: Path) -> None:
    """Without being told: the journal has a place of its own. The frame that had its verdict is left out."""
    first, worker = start(pictures, "--live-camera"), dial()
    worker.hello(credit=9)
    headers = [worker.frame(patience_s=START_S)[0] for _ in range(3)]
    worker.stored(headers[0].id)
    worker.settle()
    journal = next((Path(os.environ["XDG_STATE_HOME"]) / "sightline").glob("cam1.*.journal"))
    wait_until(lambda: read_record(journal).lowest == 1, what="the journal knows of the verdict")
    first.kill()
    first.wait()
    second, heir = start(pictures / "a.png"), dial(name="w2")
    heir.hello()
    gone = heir.gone(patience_s=START_S)
    assert gone.reason == "lost"
    assert [tag.id for tag in gone.frames] == [header.id for header in headers[1:]]
    assert not any(tag.simulated for tag in gone.frames), "they are still a live camera's"
    heir.stored(*(tag.id for tag in gone.frames))
    heir.grant(1)
    heir.stored(heir.frame(patience_s=START_S)[0].id)
    assert ended(second)[0] == ExitCode.OK
    assert list(journal.parent.glob("*.journal")) == []


def test_two_cameras_of_one_name_and_state_are_one_too_many(start: Start, dial: Dial, pictures: Path) -> None:
    _, worker = start(pictures), dial()
    worker.hello(credit=1)
    worker.frame(patience_s=START_S)
    work, live = free_ports(2)
    ends = ["--work", f"tcp://127.0.0.1:{work}", "--live", f"tcp://127.0.0.1:{live}"]
    code, said = ended(start(pictures, *ends))
    assert code == ExitCode.ADDRESS_TAKEN
    assert "camera cam1 has a publisher already" in said
    assert "Traceback" not in said
    assert len(said.strip().splitlines()) == 1


def test_a_journal_that_can_t_be_kept_is_a_bad_setting(start: Start, pictures: Path) -> None:
    code, said = ended(start(pictures, "--state", str(pictures / "a.png")))
    assert code == ExitCode.SETTINGS
    assert "can't hold the camera's journal" in said
    assert "Traceback" not in said


def test_its_numbers_are_served_where_it_is_told_to(start: Start, dial: Dial, pictures: Path) -> None:
    address = f"127.0.0.1:{free_ports(1)[0]}"
    camera, worker = start(pictures, "--metrics", address), dial()
    worker.hello(credit=9)
    worker.frame(patience_s=START_S)
    with urllib.request.urlopen(f"http://{address}/metrics", timeout=10) as answer:
        text = answer.read().decode()
    assert 'sightline_camera_workers{camera="cam1"} 1.0' in text
    with urllib.request.urlopen(f"http://{address}/readyz", timeout=10) as answer:
        assert answer.status == 200
    camera.terminate()


def test_a_metrics_port_in_use_has_its_own_exit_code(start: Start, pictures: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        code, said = ended(start(pictures, "--metrics", address))
    assert code == ExitCode.ADDRESS_TAKEN
    assert address in said
    assert "Traceback" not in said


@pytest.mark.parametrize("what", ["missing", "empty"])
def test_a_folder_without_pictures_has_its_own_exit_code(start: Start, tmp_path: Path, what: str) -> None:
    folder = tmp_path / "folder"
    if what == "empty":
        folder.mkdir()
    code, said = ended(start(folder))
    assert code == ExitCode.DATA
    assert str(folder) in said
    assert "Traceback" not in said


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("--camera", "Cam One"),
        ("--recipe", "../part"),
        ("--budget-ms", "-5"),
        ("--policy", "guess"),
        ("--work", "tcp://0.0.0.0:5555"),
        ("--rate", "-1"),
        ("--metrics", "9464"),
        ("--log-level", "loud"),
    ],
)
def test_a_bad_setting_has_its_own_exit_code_and_is_named(
    start: Start, pictures: Path, option: str, value: str
) -> None:
    code, said = ended(start(pictures, option, value))
    assert code == ExitCode.SETTINGS
    assert option in said or value in said
    assert "Traceback" not in said
