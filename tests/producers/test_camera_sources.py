"""`sightline camera` with a video and with a stream: as a process, to a worker, with its numbers."""

import signal
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest

from producers.daemon import ExitCode
from producers.frame import decode
from tests.producers.conftest import Dial
from tests.producers.mjpeg import HEIGHT, WIDTH, MjpegCamera
from tests.producers.scripted_worker import ScriptedWorker, wait_until
from tests.producers.test_camera import START_S, Start, ended, start  # noqa: F401 - a fixture
from tests.producers.test_video import record
from worker.demo.processes import free_ports


@pytest.fixture
def stream() -> Iterator[MjpegCamera]:
    running = MjpegCamera(rate=20.0)
    yield running
    if not running.stopping.is_set():
        running.stop()


def numbers(address: str) -> dict[str, float]:
    """The source's numbers as Prometheus reads them."""
    with urllib.request.urlopen(f"http://{address}/metrics", timeout=10) as answer:
        lines = [line for line in answer.read().decode().splitlines() if line.startswith("sightline_camera_source_")]
    pairs = [line.split() for line in lines]
    return {name.partition("{")[0].removeprefix("sightline_camera_source_"): float(value) for name, value in pairs}


def take(worker: ScriptedWorker, count: int) -> None:
    """Stores so many frames."""
    for _ in range(count):
        worker.stored(worker.frame(patience_s=START_S)[0].id)


def test_a_stream_that_returns_flows_again_and_its_gap_is_in_the_numbers(
    start: Start,  # noqa: F811
    dial: Dial,
    stream: MjpegCamera,
) -> None:
    address = f"127.0.0.1:{free_ports(1)[0]}"
    options = ["--roi", "8,4,32,16", "--metrics", address, "--feature", "read_timeout_s=0.5", "--drain-s", "10"]
    camera, worker = start(stream.url, *options), dial()
    worker.hello(credit=100_000)
    header, payload = worker.frame(patience_s=START_S)
    assert not header.simulated, "a stream is a real camera"
    assert header.transform == ((1, 0, 8), (0, 1, 4))
    assert decode(header, payload).shape == (16, 32, 3)
    worker.stored(header.id)
    stream.stop()
    wait_until(lambda: numbers(address)["outages_total"] == 1, what="the loss is noticed")
    assert numbers(address)["up"] == 0
    with pytest.raises(urllib.error.HTTPError) as not_ready, urllib.request.urlopen(f"http://{address}/readyz"):
        pytest.fail("it is ready")
    with not_ready.value as answer:
        assert b"the source sends no pictures" in answer.read()
    again = MjpegCamera(stream.port, rate=20.0)
    try:
        while numbers(address)["up"] == 0:
            take(worker, 1)
        take(worker, 3)
        counted = numbers(address)
        assert (counted["outages_total"], counted["incomplete_total"]) == (1, 0)
        assert counted["outage_seconds_total"] > 0.2
        camera.send_signal(signal.SIGTERM)
        while camera.poll() is None:
            if worker.has_something(wait_s=0.1):
                worker.stored(worker.frame()[0].id)
    finally:
        again.stop()
    code, said = ended(camera)
    assert code == ExitCode.OK
    assert "source is lost" in said
    assert "source is back" in said
    assert "Traceback" not in said


def test_a_video_s_pictures_are_simulated_frames_each_with_its_number(
    start: Start,  # noqa: F811
    dial: Dial,
    tmp_path: Path,
) -> None:
    camera, worker = start(record(tmp_path / "belt.avi", 3), "--rotate", "90", "--encoding", "png"), dial()
    worker.hello(credit=9)
    for number in range(3):
        header, payload = worker.frame(patience_s=START_S)
        assert (header.part_id, header.simulated, header.encoding) == (f"belt.avi#{number}", True, "png")
        assert decode(header, payload).shape == (WIDTH, HEIGHT, 3)
        worker.stored(header.id)
    assert ended(camera)[0] == ExitCode.OK


@pytest.mark.parametrize(
    ("source", "options", "code", "named"),
    [
        ("belt.mp4", [], ExitCode.DATA, "belt.mp4"),
        ("usb:0", ["--feature", "trigger=Line1"], ExitCode.SETTINGS, "trigger"),
        ("pictures", ["--settings", "nowhere.toml"], ExitCode.SETTINGS, "nowhere.toml"),
    ],
)
def test_a_bad_source_or_wish_is_one_sentence_and_a_named_code(
    start: Start,  # noqa: F811
    tmp_path: Path,
    source: str,
    options: list[str],
    code: ExitCode,
    named: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "belt.mp4").write_bytes(b"no video")
    (tmp_path / "pictures").mkdir()
    assert cv2.imwrite("pictures/a.png", np.zeros((4, 4), np.uint8))
    found, said = ended(start(source, *options))
    assert found == code
    assert named in said
    assert len(said.strip().splitlines()) == 1
