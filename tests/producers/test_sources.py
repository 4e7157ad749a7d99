"""`producers.sources`: a folder as a source of captures, with the clock passed in."""

import struct
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest

from producers.errors import SourceError
from producers.sources import FolderSource, StoredPicture

GREY = np.full((4, 6), 90, np.uint8)
COLOUR = np.dstack([np.full((4, 6), value, np.uint8) for value in (10, 20, 30)])


class Clock:
    """A clock that only moves when somebody sleeps."""

    def __init__(self) -> None:
        self.now = 100.0
        self.naps: list[float] = []

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.naps.append(seconds)
        self.now += seconds


def save(path: Path, image: np.ndarray = COLOUR) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), image)


def only(source: FolderSource) -> StoredPicture:
    captures = list(source.captures())
    assert len(captures) == 1
    return captures[0]


def test_a_folder_is_read_by_path_with_the_folders_below_it(tmp_path: Path) -> None:
    for name in ("b.png", "a/2.jpg", "a/1.BMP", "c/d/e.tiff"):
        save(tmp_path / name)
    (tmp_path / "notes.txt").write_text("no picture")
    (tmp_path / "folder.png").mkdir()
    source = FolderSource(tmp_path)
    assert [capture.part_id for capture in source.captures()] == ["a/1.BMP", "a/2.jpg", "b.png", "c/d/e.tiff"]
    assert len(source) == 4


def test_a_single_picture_is_a_source_too(tmp_path: Path) -> None:
    save(tmp_path / "one.png")
    save(tmp_path / "other.png")
    assert only(FolderSource(tmp_path / "one.png")).part_id == "one.png"


def test_a_missing_folder_is_a_source_error(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="does not exist"):
        FolderSource(tmp_path / "nowhere")


def test_a_folder_without_pictures_is_a_source_error(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("no picture")
    with pytest.raises(SourceError, match="holds no picture"):
        FolderSource(tmp_path)


def test_colour_pictures_come_as_bgr(tmp_path: Path) -> None:
    save(tmp_path / "a.png")
    capture = only(FolderSource(tmp_path))
    assert capture.color == "bgr"
    assert capture.image is not None
    assert np.array_equal(capture.image, COLOUR)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_grey_pictures_come_as_mono_at_their_own_depth(tmp_path: Path, dtype: type[np.generic]) -> None:
    picture = GREY.astype(dtype) * 2
    save(tmp_path / "a.png", picture)
    capture = only(FolderSource(tmp_path))
    assert capture.color == "mono"
    assert capture.image is not None
    assert capture.image.dtype == dtype
    assert np.array_equal(capture.image, picture)


def test_an_alpha_channel_is_dropped(tmp_path: Path) -> None:
    save(tmp_path / "a.png", np.dstack([COLOUR, GREY]))
    capture = only(FolderSource(tmp_path))
    assert capture.image is not None
    assert np.array_equal(capture.image, COLOUR)


@pytest.mark.parametrize("content", [b"", b"\x89PNG\r\n\x1a\n", b"hello" * 100], ids=["empty", "cut off", "text"])
def test_a_picture_that_cannot_be_read_is_a_capture_without_pixels(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.png").write_bytes(content)
    capture = only(FolderSource(tmp_path))
    assert capture.image is None
    assert capture.part_id == "a.png"


def test_a_picture_that_vanished_is_a_capture_without_pixels(tmp_path: Path) -> None:
    save(tmp_path / "a.png")
    source = FolderSource(tmp_path)
    (tmp_path / "a.png").unlink()
    assert only(source).image is None


def test_a_picture_that_claims_to_be_monstrous_is_a_capture_without_pixels(tmp_path: Path) -> None:
    save(tmp_path / "a.png")
    whole = (tmp_path / "a.png").read_bytes()
    header = b"IHDR" + struct.pack(">II", 60_000, 60_000) + whole[24:29]
    (tmp_path / "a.png").write_bytes(whole[:12] + header + struct.pack(">I", zlib.crc32(header)) + whole[33:])
    assert only(FolderSource(tmp_path)).image is None


def test_captures_are_paced_from_the_first_one_on(tmp_path: Path) -> None:
    for name in "abcd":
        save(tmp_path / f"{name}.png")
    clock, times = Clock(), []
    for _ in FolderSource(tmp_path, rate=4.0).captures(clock=clock, sleep=clock.sleep):
        times.append(clock.now)
        clock.now += 0.1  # the taker needs a while; that must not slow the pace
    assert times == pytest.approx([100.0, 100.25, 100.5, 100.75])


def test_a_taker_that_falls_behind_is_not_made_to_wait(tmp_path: Path) -> None:
    for name in "abc":
        save(tmp_path / f"{name}.png")
    clock = Clock()
    for _ in FolderSource(tmp_path, rate=4.0).captures(clock=clock, sleep=clock.sleep):
        clock.now += 1.0
    assert sum(clock.naps) == 0


def test_without_a_rate_nobody_sleeps(tmp_path: Path) -> None:
    save(tmp_path / "a.png")
    clock = Clock()
    assert len(list(FolderSource(tmp_path).captures(clock=clock, sleep=clock.sleep))) == 1
    assert not clock.naps


def test_a_loop_starts_again_after_the_last_picture(tmp_path: Path) -> None:
    save(tmp_path / "a.png")
    save(tmp_path / "b.png")
    clock = Clock()
    captures = FolderSource(tmp_path, loop=True, rate=2.0).captures(clock=clock, sleep=clock.sleep)
    assert [next(captures).part_id for _ in range(5)] == ["a.png", "b.png", "a.png", "b.png", "a.png"]
    assert clock.now == pytest.approx(102.0)
