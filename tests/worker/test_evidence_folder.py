"""The folder of pictures: bounded, the oldest leave first, and nothing of anybody else's is touched."""

import json
import os
import uuid
from pathlib import Path

import pytest

from producers.frame import FrameId
from worker.evidence_folder import LOOK_EVERY, EvidenceFolder
from worker.verdict import Reason

SESSION = str(uuid.UUID(int=7))
PNG, LINE = b"p" * 90, b'{"a": 1}  '  # 100 bytes a picture


def keep(folder: EvidenceFolder, *seqs: int, reason: Reason = Reason.DEFECT, png: bytes = PNG) -> list[bool]:
    return [folder.keep(FrameId("cam_1", SESSION, seq), reason, png=png, line=LINE) for seq in seqs]


def seqs_in(root: Path, reason: str = "defect") -> list[int]:
    return sorted(int(path.stem.rpartition("_")[2]) for path in (root / "test" / reason).glob("*.png"))


def a_folder(root: Path, max_bytes: int = 1000) -> EvidenceFolder:
    return EvidenceFolder(root, max_bytes, (Reason.DEFECT, Reason.BAD_FRAME))


def size_of(root: Path) -> int:
    return sum(path.stat().st_size for path in root.rglob("*") if path.is_file())


def test_a_picture_lies_under_its_reason_with_what_was_said_beside_it(tmp_path: Path) -> None:
    assert keep(a_folder(tmp_path), 3) == [True]
    place = tmp_path / "test" / "defect" / f"cam_1_{SESSION}_3.png"
    assert place.read_bytes() == PNG
    assert json.loads(place.with_suffix(".json").read_text()) == {"a": 1}


def test_beyond_its_bytes_the_oldest_leave_whatever_their_reason(tmp_path: Path) -> None:
    folder = a_folder(tmp_path)
    keep(folder, *range(5), reason=Reason.BAD_FRAME)
    keep(folder, *range(8))
    assert seqs_in(tmp_path, "bad_frame") == [3, 4]
    assert seqs_in(tmp_path) == list(range(8))
    assert folder.bytes == size_of(tmp_path) == 1000


def test_what_an_earlier_run_has_left_counts_and_leaves_first(tmp_path: Path) -> None:
    keep(a_folder(tmp_path), *range(10))
    for age, seq in enumerate((4, 7, 1)):  # these are the oldest, in this order
        for suffix in (".png", ".json"):
            os.utime(tmp_path / "test" / "defect" / f"cam_1_{SESSION}_{seq}{suffix}", (age, age))
    keep(a_folder(tmp_path), 10, 11)
    assert seqs_in(tmp_path) == [0, 1, 2, 3, 5, 6, 8, 9, 10, 11]


def test_what_a_killed_worker_has_half_written_counts_and_leaves_too(tmp_path: Path) -> None:
    folder = tmp_path / "test" / "defect"
    folder.mkdir(parents=True)
    half = folder / f".cam_1_{SESSION}_0.png.new"
    half.write_bytes(b"p" * 50)
    os.utime(half, (0, 0))
    keep(a_folder(tmp_path), *range(1, 11))
    assert not half.exists()
    assert seqs_in(tmp_path) == list(range(1, 11))


def test_files_of_others_are_neither_counted_nor_removed(tmp_path: Path) -> None:
    keep(a_folder(tmp_path), 0)
    mine = [tmp_path / "test" / "defect" / "mine.png", tmp_path / "test" / "good" / f"cam_1_{SESSION}_1.png"]
    for path in mine:
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"m" * 5000)
    folder = a_folder(tmp_path)
    keep(folder, *range(20))
    assert all(path.exists() for path in mine)
    assert folder.bytes == 1000


def test_the_same_frame_twice_is_one_picture_and_counts_once(tmp_path: Path) -> None:
    folder = a_folder(tmp_path)
    keep(folder, 1, 1)
    assert folder.bytes == size_of(tmp_path) == 100


def test_a_picture_larger_than_all_that_may_lie_here_is_refused_and_drives_nothing_out(tmp_path: Path) -> None:
    folder = a_folder(tmp_path)
    keep(folder, 0)
    assert keep(folder, 1, png=b"p" * 1000) == [False]
    assert seqs_in(tmp_path) == [0]


def test_workers_that_share_a_folder_keep_it_within_its_bytes_but_for_what_they_have_not_seen(tmp_path: Path) -> None:
    max_bytes = 50 * LOOK_EVERY
    one, other = a_folder(tmp_path, max_bytes), a_folder(tmp_path, max_bytes)
    for seq in range(0, 2 * LOOK_EVERY, 2):
        keep(one, seq)
        keep(other, seq + 1)
    assert size_of(tmp_path) <= 2 * max_bytes
    keep(a_folder(tmp_path, max_bytes), 9999)
    assert size_of(tmp_path) <= max_bytes


def test_what_somebody_else_has_removed_is_not_missed(tmp_path: Path) -> None:
    folder = a_folder(tmp_path)
    keep(folder, *range(10))
    for path in (tmp_path / "test" / "defect").iterdir():
        path.unlink()
    assert keep(folder, 10) == [True]
    assert seqs_in(tmp_path) == [10]


def test_a_folder_that_can_t_be_made_is_an_error_and_made_once_it_can_be(tmp_path: Path) -> None:
    """A full disk: `test_evidence`."""
    folder = a_folder(tmp_path)
    (tmp_path / "test").touch()
    with pytest.raises(OSError, match="test"):
        keep(folder, 1)
    assert folder.bytes == 0
    (tmp_path / "test").unlink()
    assert keep(folder, 2) == [True]
