"""`producers.opencv_camera`: streams over real sockets, and cameras that are not there."""

import itertools
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from http.server import BaseHTTPRequestHandler, SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import cv2
import numpy as np
import pytest

from producers.draining import NewestPicture
from producers.errors import BadFrame, SettingsError, SourceError
from producers.features import CameraFeatures
from producers.live_source import LiveSource
from producers.opencv_camera import open_stream, open_usb, whole_jpeg, without_secrets
from producers.snapshot import Snapshot
from tests.producers.mjpeg import HEIGHT, WIDTH, MjpegCamera, jpeg
from tests.producers.scripted_worker import wait_until
from tests.producers.test_video import record


@pytest.fixture
def camera() -> Iterator[MjpegCamera]:
    running = MjpegCamera()
    yield running
    running.stop()


class QuietFiles(SimpleHTTPRequestHandler):
    """Serves files, and writes nothing about it."""

    def log_message(self, *_: object) -> None: ...


def a_source(url: str, *, silence_s: float = 1.0) -> LiveSource:
    return LiveSource("stream", lambda: open_stream(url, read_timeout_s=silence_s), silence_s=silence_s)


def test_a_stream_s_pictures_come_in_colour_and_whole(camera: MjpegCamera) -> None:
    captures = a_source(camera.url).captures(stopping=lambda: False)
    for capture in itertools.islice(captures, 3):
        assert capture.image is not None
        assert capture.image.shape == (HEIGHT, WIDTH, 3)
        assert time.monotonic() - capture.captured < 5
    captures.close()


def test_whoever_comes_back_late_gets_the_newest_picture_not_the_next(camera: MjpegCamera) -> None:
    captures = a_source(camera.url).captures(stopping=lambda: False)
    next(captures)
    sent = camera.sent
    wait_until(lambda: camera.sent > sent + 20, what="the camera went on")
    capture = next(captures)
    assert capture.image is not None
    behind = 20 + camera.sent % 200 - float(capture.image.mean())
    assert behind < 15, "twenty pictures were skipped"
    captures.close()


def test_a_stream_that_stops_and_returns_flows_again() -> None:
    """It is back at the third try to open it."""
    first, later = MjpegCamera(), list[MjpegCamera]()
    tries = itertools.count()

    def opened() -> NewestPicture:
        if next(tries) == 3:
            later.append(MjpegCamera(first.port))
        return open_stream(first.url, read_timeout_s=1.0)

    source = LiveSource("stream", opened, silence_s=1.0)
    captures = source.captures(stopping=lambda: False)
    next(captures)
    first.stop()
    while not later:
        assert next(captures).image is not None
    assert next(captures).image is not None
    counted = source.load()
    assert (counted["source_outages"], counted["source_up"]) == (1, 1)
    assert counted["source_outage_seconds"] > 0.5
    captures.close()
    later[0].stop()


def test_a_stream_that_falls_silent_is_opened_anew(camera: MjpegCamera) -> None:
    source = a_source(camera.url, silence_s=0.4)
    captures = source.captures(stopping=lambda: camera.silent and bool(source.load()["source_outages"]))
    next(captures)
    camera.silent = True
    assert all(capture.image is not None for capture in captures), "what was on its way"
    assert source.load()["source_outages"] == 1


def test_a_picture_that_came_torn_is_never_one(camera: MjpegCamera) -> None:
    captures = a_source(camera.url).captures(stopping=lambda: False)
    next(captures)
    camera.torn = True
    torn = next(capture for capture in captures if capture.image is None)
    assert "incomplete" in torn.flaw
    camera.torn = False
    assert next(capture for capture in captures if capture.image is not None)
    captures.close()


@contextmanager
def serving(handler: Callable[..., BaseHTTPRequestHandler]) -> Iterator[str]:
    """An HTTP server, while the test runs; its address."""
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


class TransportStream(QuietFiles):
    """Sends a file as a camera would: nobody is told how long it is, or can wind it back."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()
        self.wfile.write(Path(self.translate_path(self.path)).read_bytes())


@pytest.mark.parametrize("name", ["belt.mp4", "belt.avi"])
def test_a_video_file_is_no_camera_wherever_it_lies(tmp_path: Path, name: str) -> None:
    """Its pictures, again and again, would open the gate for parts that are not there. It is not tried twice."""
    record(tmp_path / name, 40)
    told = rf"{name} is a video file of 40 pictures, no camera"
    served = serving(partial(QuietFiles, directory=str(tmp_path)))
    with served as address, pytest.raises(SettingsError, match=told):
        next(a_source(f"{address}/{name}").captures(stopping=lambda: False))


def test_a_stream_that_is_no_mjpeg_comes_in_colour_until_it_ends(tmp_path: Path) -> None:
    record(tmp_path / "belt.ts", 40)
    with serving(partial(TransportStream, directory=str(tmp_path))) as address:
        stream = open_stream(f"{address}/belt.ts", read_timeout_s=2.0)
        snapshot = stream.grab(5)
        assert snapshot is not None
        assert snapshot.image is not None
        assert snapshot.image.shape == (48, 64, 3)
        with pytest.raises(SourceError, match="sends no more"):
            list(iter(lambda: stream.grab(5), None))
        stream.close()


def test_nobody_there_is_a_source_error_without_the_password() -> None:
    with pytest.raises(SourceError, match=r"http://127\.0\.0\.1:1/video can't be opened") as caught:
        open_stream("http://user:secret@127.0.0.1:1/video", read_timeout_s=1.0)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("device", ["97", "/dev/video97"])
def test_a_usb_camera_that_is_not_there_is_a_source_error(device: str) -> None:
    with pytest.raises(SourceError, match=r"USB camera .*97 can't be opened"):
        open_usb(device, CameraFeatures())


def test_logs_have_no_secrets() -> None:
    assert without_secrets("rtsp://user:secret@cam:554/one?token=x") == "rtsp://cam:554/one"


def test_what_is_no_url_is_told_without_its_secrets() -> None:
    with pytest.raises(SettingsError, match="address of the stream can't be read") as caught:
        without_secrets("rtsp://user:secret@[::1/x")
    assert "secret" not in str(caught.value)


def test_a_whole_jpeg_is_a_picture_also_with_padding() -> None:
    image = whole_jpeg(jpeg(90) + b"\r\n\x00\x00")
    assert isinstance(image, np.ndarray)
    assert image.shape == (HEIGHT, WIDTH, 3)


@pytest.mark.parametrize("data", [b"", jpeg(90)[:-2], jpeg(90)[:200], b"\xff\xd8\xff\xd9"])
def test_anything_less_is_a_bad_frame(data: bytes) -> None:
    with pytest.raises(BadFrame):
        whole_jpeg(data)


def test_opencv_is_as_loud_as_before() -> None:
    """What is quiet while a camera is opened is nobody else's."""
    level = cv2.utils.logging.getLogLevel()
    with pytest.raises(SourceError):
        open_usb("97", CameraFeatures())
    assert cv2.utils.logging.getLogLevel() == level


def test_a_snapshot_without_pixels_says_why() -> None:
    with pytest.raises(BadFrame, match="torn"):
        Snapshot(None, 0.0, flaw="torn").publish(None)  # type: ignore[arg-type]
