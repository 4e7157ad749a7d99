"""A recording and its verdicts as pictures to train with, in the layout of MVTec AD."""

from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path

import cv2
import structlog

from producers.errors import BadFrame, RecordingError
from producers.frame import decode
from producers.recording.judged import Said
from producers.recording.replay import RecordedCapture, Replay

log = structlog.get_logger("dataset")

TEST_EVERY = 5
"""Every so many passed frames one is kept to test with. What a network learns from is no test of it."""


def write_dataset(
    replay: Replay,
    said: Mapping[str, Said],
    folder: Path,
    *,
    written: Callable[[], None] = lambda: None,
) -> Counter[str]:
    """Writes pictures into `train/good`, `test/good` and `test/defect`.

    Passed frames are good, every fifth of them to test with; those that failed as a defect are bad. A frame that failed
    for another reason, or has no verdict, says nothing of the part and is left out. JPEG and PNG files are written as
    they are, but for Bayer patterns; all others as PNG, in colour; their names are the frames' ids.

    Args:
        replay: the frames that were asked for.
        said: the verdict of each, by its id.
        folder: is made; it must not exist, or be empty.
        written: called after each frame.

    Returns:
        How many pictures each folder got, and `left out`.

    Raises:
        RecordingError: the folder is not empty or can't be written, or no frame has a verdict that helps.
    """
    if folder.exists() and not folder.is_dir():
        raise RecordingError(f"{folder} is a file: choose another folder")
    if folder.exists() and any(folder.iterdir()):
        raise RecordingError(f"{folder} is not empty: choose another folder")
    counts: Counter[str] = Counter()
    for capture in replay.frames():
        place = _place(said.get(str(capture.header.id)), counts)
        try:
            if place != "left out":
                _write(capture, folder / place)
        except BadFrame as error:
            place = "left out"
            log.warning("a picture can't be read, it is left out", frame=str(capture.header.id), error=str(error))
        except OSError as error:
            raise RecordingError(f"{folder} can't be written: {error.strerror or error}") from error
        counts[place] += 1
        written()
    if set(counts) <= {"left out"}:
        raise RecordingError("not one frame that was asked for has a verdict that says what its part is like")
    return counts


def _place(said: Said | None, counts: Counter[str]) -> str:
    if said is not None and said.decision == "pass":
        good = counts["train/good"] + counts["test/good"] + 1
        return "test/good" if good % TEST_EVERY == 0 else "train/good"
    return "test/defect" if said is not None and said.reason == "defect" else "left out"


def _write(capture: RecordedCapture, folder: Path) -> None:
    header = capture.header
    image = decode(header, capture.payload)  # also of a file: what can't be decoded is no picture to learn from
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{header.camera}_{header.session}_{header.seq:08d}"
    if header.encoding != "raw" and not header.color.startswith("bayer_"):  # as it lies there that would be a mosaic
        path.with_suffix(".jpg" if header.encoding == "jpeg" else ".png").write_bytes(capture.payload)
        return
    stored = image if image.ndim == 2 else cv2.cvtColor(image, cv2.COLOR_RGB2BGR)
    path.with_suffix(".png").write_bytes(cv2.imencode(".png", stored)[1].tobytes())
