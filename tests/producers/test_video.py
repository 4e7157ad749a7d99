"""`producers.video`: a video file as a source, every picture of it in its order."""

import itertools
from pathlib import Path

import cv2
import numpy as np
import pytest

from producers.daemon import configure_logging
from producers.errors import SourceError
from producers.video import VideoFile
from tests.producers.test_sources import Clock


def record(path: Path, count: int) -> Path:
    """A video whose pictures get brighter, each by 10."""
    codec = {".mp4": "mp4v", ".ts": "MPEG"}.get(path.suffix, "MJPG")
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*codec), 25, (64, 48))
    assert writer.isOpened()
    for number in range(count):
        writer.write(np.full((48, 64, 3), 20 + 10 * (number % 20), np.uint8))
    writer.release()
    return path


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return record(tmp_path_factory.mktemp("video") / "belt.mp4", 12)


def test_every_picture_comes_in_its_order(video: Path) -> None:
    source = VideoFile(video)
    captures = list(source.captures())
    assert source.total == len(captures) == 12
    assert [capture.part.part_id for capture in captures] == [f"belt.mp4#{number}" for number in range(12)]
    for number, capture in enumerate(captures):
        assert capture.image is not None
        assert capture.image.shape == (48, 64, 3)
        assert abs(float(capture.image.mean()) - (20 + 10 * number)) < 4


def test_pictures_do_not_share_their_memory(video: Path) -> None:
    first, second = itertools.islice(VideoFile(video).captures(), 2)
    assert not np.shares_memory(first.image, second.image)


def test_a_video_is_simulated_and_waits_for_room(video: Path) -> None:
    source = VideoFile(video)
    assert source.simulated
    assert source.policy == "block"
    assert source.label == str(video)


def test_pictures_are_paced_if_that_is_asked_for(video: Path) -> None:
    clock = Clock()
    times = [clock.now for _ in VideoFile(video, rate=4.0).captures(clock=clock, sleep=clock.sleep)]
    assert times == pytest.approx([100 + number / 4 for number in range(12)])


def test_a_loop_starts_again_after_the_last_picture(tmp_path: Path) -> None:
    source = VideoFile(record(tmp_path / "short.avi", 2), loop=True)
    parts = [capture.part.part_id for capture in itertools.islice(source.captures(), 5)]
    assert parts == ["short.avi#0", "short.avi#1", "short.avi#0", "short.avi#1", "short.avi#0"]
    assert source.total is None


def test_it_ends_when_it_is_to_stop(video: Path) -> None:
    stopped = False
    captures = VideoFile(video).captures(stopping=lambda: stopped)
    next(captures)
    stopped = True
    assert list(captures) == []


@pytest.mark.parametrize("content", [b"", b"no video" * 100], ids=["empty", "text"])
def test_a_file_that_is_no_video_is_a_source_error_that_names_it(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "belt.mp4").write_bytes(content)
    with pytest.raises(SourceError, match=r"belt\.mp4"):
        VideoFile(tmp_path / "belt.mp4")


def test_a_missing_video_is_a_source_error(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="does not exist"):
        VideoFile(tmp_path / "belt.mp4")


def test_a_video_that_vanishes_while_it_loops_is_a_source_error(tmp_path: Path) -> None:
    path = record(tmp_path / "short.avi", 1)
    captures = VideoFile(path, loop=True).captures()
    next(captures)
    path.unlink()
    with pytest.raises(SourceError, match=r"short\.avi"):
        next(captures)


def test_a_video_that_was_cut_short_says_how_much_of_it_came(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = record(tmp_path / "cut.avi", 30)
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    configure_logging("warning")
    captures = list(VideoFile(path).captures())
    assert 0 < len(captures) < 30
    assert '"video ends early"' in capsys.readouterr().err
