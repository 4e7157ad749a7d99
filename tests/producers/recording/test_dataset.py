"""`sightline replay --to-dataset`: what the line has judged becomes pictures to train with."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from producers.errors import RecordingError
from producers.frame import Picture, frame_of
from producers.recording.message import Topic
from producers.recording.recorder import Note, Recorder
from producers.recording.replay_cli import replay
from producers.recording.settings import RecordingSettings
from tests.producers.recording.frames import frame, jpeg, tag


def recorded(path: Path, said: dict[int, tuple[str, str]]) -> Path:
    """Frames by their seq, the seventh a JPEG, with what was said of them."""
    with Recorder(RecordingSettings(out=path)) as recorder:
        for seq, (decision, reason) in said.items():
            one = jpeg(seq) if seq == 7 else frame(seq)
            recorder.published(one)
            text = json.dumps({"id": str(one.tag.id), "decision": decision, "reason": reason}).encode()
            recorder.offer(Note("cam1", Topic.VERDICT, text, one.tag.captured_ns, seq))
        recorder.published(frame(99))  # has no verdict
    return path


def test_pictures_lie_by_their_verdicts_and_are_the_published_ones(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Passed ones to train, each fifth to test with; defects to test with; late or lost ones nowhere."""
    said = {**dict.fromkeys(range(10), ("pass", "ok")), 10: ("fail", "defect"), 11: ("fail", "late")}
    assert replay(recorded(tmp_path / "a.mcap", said), to_dataset=tmp_path / "data") == 0
    found = {str(path.relative_to(tmp_path / "data").parent) for path in (tmp_path / "data").rglob("*.*")}
    assert found == {"train/good", "test/good", "test/defect"}
    assert "8 train/good" in (out := capsys.readouterr().out)
    assert "2 left out" in out
    (defect,) = (tmp_path / "data" / "test" / "defect").iterdir()
    pixels = cv2.imread(str(defect))
    assert pixels is not None
    assert pixels.tobytes() == bytes(frame(10).payload)
    (file,) = (tmp_path / "data").rglob("*.jpg")
    assert file.read_bytes() == bytes(jpeg(7).payload)
    assert file.stem.endswith("_00000007")
    assert np.array_equal(pixels.shape, (16, 16, 3))


def test_a_folder_that_is_not_empty_or_nothing_to_learn_from_is_told(tmp_path: Path) -> None:
    """Nothing is mixed with what lies there, and no empty data set is made."""
    path = recorded(tmp_path / "a.mcap", {0: ("fail", "lost")})
    with pytest.raises(RecordingError, match="is not empty"):
        replay(path, to_dataset=tmp_path)
    with pytest.raises(RecordingError, match="is a file"):
        replay(path, to_dataset=path)
    with pytest.raises(RecordingError, match="not one frame"):
        replay(path, to_dataset=tmp_path / "data")


def test_a_bayer_picture_in_a_png_file_is_written_in_colour(tmp_path: Path) -> None:
    """As the worker saw it: the mosaic that lies in the file would look like a grey picture with a pattern."""
    payload = cv2.imencode(".png", np.full((16, 24), 90, np.uint8))[1].tobytes()
    mosaic = frame_of(tag(0), Picture(encoding="png", shape=(16, 24, 1), dtype="uint8", color="bayer_rggb"), payload)
    with Recorder(RecordingSettings(out=tmp_path / "a.mcap")) as recorder:
        recorder.published(mosaic)
        text = json.dumps({"id": str(mosaic.tag.id), "decision": "pass", "reason": "ok"}).encode()
        recorder.offer(Note("cam1", Topic.VERDICT, text, mosaic.tag.captured_ns, 0))
    assert replay(tmp_path / "a.mcap", to_dataset=tmp_path / "data") == 0
    (file,) = (tmp_path / "data").rglob("*.png")
    pixels = cv2.imread(str(file), cv2.IMREAD_UNCHANGED)
    assert pixels is not None
    assert pixels.shape == (16, 24, 3)
