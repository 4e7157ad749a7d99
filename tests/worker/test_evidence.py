"""Evidence: pictures of rejects are kept, nothing waits for them, and a full disk costs pictures alone."""

import json
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch")

import structlog
from pydantic import SecretStr

from model.dataset import test_pictures as pictures_in
from model.images import Image, read_image
from producers.frame import FrameId
from producers.publisher import FramePublisher, PublisherSettings
from tests.worker.frames import verdict
from tests.worker.processes import eventually, stored_verdicts
from worker.bench.null import RECIPE, NullPipeline
from worker.demo.processes import free_ports
from worker.evidence import REASONS, Evidence
from worker.evidence_folder import EvidenceFolder
from worker.settings import CameraSettings, WorkerSettings
from worker.verdict import Decision, Reason, Verdict

PICTURE = np.random.default_rng(0).integers(0, 256, (40, 48, 3), np.uint8)


def rejected(seq: int, reason: Reason = Reason.DEFECT) -> Verdict:
    return verdict(seq, passed=False).model_copy(update={"reason": reason})


@contextmanager
def keeping(folder: EvidenceFolder, **bounds: int) -> Iterator[Evidence]:
    evidence = Evidence(folder, **bounds)
    evidence.start()
    try:
        yield evidence
    finally:
        evidence.close()


def a_folder(root: Path, max_bytes: int = 10**7) -> EvidenceFolder:
    return EvidenceFolder(root, max_bytes, REASONS)


class Held(EvidenceFolder):
    """A disk that hangs until it is let go."""

    def __init__(self, root: Path) -> None:
        super().__init__(root, 10**7, REASONS)
        self.asked, self.may_go_on = threading.Event(), threading.Event()

    def keep(self, frame: FrameId, reason: Reason, *, png: bytes, line: bytes) -> bool:
        self.asked.set()
        self.may_go_on.wait(60)
        return super().keep(frame, reason, png=png, line=line)


@pytest.mark.parametrize(
    "image", [PICTURE, PICTURE[:, :, 0], PICTURE[:, :, 0].astype(np.uint16) * 257], ids=["colour", "grey", "16 bit"]
)
def test_what_evaluate_reads_from_the_folder_is_the_picture_that_was_judged(tmp_path: Path, image: Image) -> None:
    with keeping(a_folder(tmp_path)) as evidence:
        evidence.offer([(image, rejected(1)), (image, rejected(2, Reason.BAD_FRAME))])
    found = pictures_in(tmp_path)
    assert [picture.kind for picture in found] == ["bad_frame", "defect"]
    assert all(np.array_equal(read_image(picture.path), image) for picture in found)


def test_the_line_beside_a_picture_says_id_score_severity_and_regions(tmp_path: Path) -> None:
    with keeping(a_folder(tmp_path)) as evidence:
        evidence.offer([(PICTURE, rejected(1))])
    (line,) = tmp_path.rglob("*.json")
    said = json.loads(line.read_text())
    assert said["id"] == str(rejected(1).tag.id)
    assert (said["score"], said["severity"], said["reason"]) == (0.5, 2.0, "defect")
    assert said["regions"] == [{"box": [1, 1, 2, 2], "area": 4, "severity": 2.0}]


@pytest.mark.parametrize("reason", [Reason.OK, Reason.LATE])
def test_pictures_of_parts_that_look_good_are_not_kept(tmp_path: Path, reason: Reason) -> None:
    decision = Decision.PASS if reason is Reason.OK else Decision.FAIL
    with keeping(a_folder(tmp_path)) as evidence:
        evidence.offer([(PICTURE, verdict(1).model_copy(update={"reason": reason, "decision": decision}))])
    assert not list(tmp_path.rglob("*.png"))
    assert evidence.kept == sum(evidence.dropped.values()) == 0


def test_a_disk_that_hangs_costs_pictures_and_nobody_s_time(tmp_path: Path) -> None:
    folder = Held(tmp_path)
    with keeping(folder, max_frames=3) as evidence:
        evidence.offer([(PICTURE, rejected(0))])
        assert folder.asked.wait(30)
        for seq in range(1, 11):
            evidence.offer([(PICTURE, rejected(seq))])
        assert evidence.dropped["queue"] == 7
        folder.may_go_on.set()
    assert evidence.kept == 4


def test_pictures_that_wait_are_bounded_by_their_bytes_and_one_always_fits(tmp_path: Path) -> None:
    folder = Held(tmp_path)
    with keeping(folder, max_bytes=PICTURE.nbytes // 2) as evidence:
        evidence.offer([(PICTURE, rejected(0))])
        assert folder.asked.wait(30)
        evidence.offer([(PICTURE, rejected(seq)) for seq in range(1, 4)])
        assert evidence.dropped["queue"] == 2
        folder.may_go_on.set()
    assert evidence.kept == 2


def test_a_picture_that_cannot_be_written_as_png_is_counted_and_the_next_one_is_kept(tmp_path: Path) -> None:
    with keeping(a_folder(tmp_path)) as evidence, structlog.testing.capture_logs() as said:
        evidence.offer([(np.zeros((0, 4, 3), np.uint8), rejected(0)), (PICTURE, rejected(1))])
        assert eventually(lambda: evidence.kept == 1)
    assert evidence.dropped["unforeseen"] == 1
    assert [entry["log_level"] for entry in said] == ["warning", "info"]


# -- a disk that is full ---------------------------------------------------------------------------------------------


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 256 KiB."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256k", "none", str(disk)], check=False)
    if mounted.returncode:
        pytest.skip("no file system can be mounted here: that takes root")
    yield disk
    subprocess.run(["umount", "--lazy", str(disk)], check=True)


def fill(disk: Path) -> Path:
    """Takes all its room; returns the file to be removed."""
    filler = disk / "filler"
    with filler.open("wb", buffering=0) as file:
        for size in (256 * 1024, 4096, 1):
            with suppress(OSError):
                while file.write(bytes(size)):
                    pass
    return filler


def test_a_full_disk_is_said_once_and_counted_and_pictures_are_kept_again_once_there_is_room(small_disk: Path) -> None:
    filler = fill(small_disk)
    with keeping(a_folder(small_disk / "evidence")) as evidence, structlog.testing.capture_logs() as said:
        evidence.offer([(PICTURE, rejected(seq)) for seq in range(5)])
        assert eventually(lambda: evidence.dropped["disk"] == 5)
        assert [path for path in small_disk.rglob("*") if path.is_file()] == [filler]
        filler.unlink()
        evidence.offer([(PICTURE, rejected(5))])
        assert eventually(lambda: evidence.kept == 1)
    assert [(entry["log_level"], entry.get("error"), entry.get("lost")) for entry in said] == [
        ("warning", "No space left on device", None),
        ("info", None, 5),
    ]
    assert len(pictures_in(small_disk / "evidence")) == 1


def test_a_line_whose_evidence_disk_is_full_goes_on_and_every_frame_has_its_verdict(
    small_disk: Path, redis_url: str, line: str
) -> None:
    filler = fill(small_disk)
    work, live = (f"tcp://127.0.0.1:{port}" for port in free_ports(2))
    settings = WorkerSettings(
        line=line,
        redis=SecretStr(redis_url),
        cameras={"cam1": CameraSettings(endpoint=work, recipe=RECIPE)},
        evidence=small_disk / "evidence",
    )
    bad = np.full((16, 16, 3), 200, np.uint8)
    with FramePublisher(PublisherSettings(camera="cam1", work=work, live=live, recipe=RECIPE)) as publisher:
        evidence = Evidence.of(settings)
        with NullPipeline(settings, evidence=evidence) as pipeline:

            def judge(image: Image, count: int) -> None:
                for _ in range(count):
                    publisher.publish(image)
                pipeline.serve(until=lambda: publisher.counts()["open"] == 0)

            assert evidence is not None
            judge(bad, 10)
            assert eventually(lambda: evidence.dropped["disk"] == 10)
            filler.unlink()
            judge(bad, 3)
            judge(np.zeros_like(bad), 3)
            assert eventually(lambda: evidence.kept == 3)
    assert [found.reason for found in stored_verdicts(redis_url, line)] == [Reason.DEFECT] * 13 + [Reason.OK] * 3
    assert [picture.kind for picture in pictures_in(small_disk / "evidence")] == ["defect"] * 3
