"""A comparison as one self-contained HTML page, with the pictures of the frames that changed."""

import base64
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from jinja2 import Environment, PackageLoader
from numpy.typing import NDArray

from model.picture import draw_boxes, to_bgr
from producers.errors import BadFrame
from producers.frame import decode
from producers.recording.replay import RecordedCapture
from worker.compare.changes import Change, Comparison
from worker.compare.opinion import Opinion
from worker.errors import WorkerError

PAGE = "compare.html"
MOST = 200  # pictures make a page large
SIDE = 340  # pixels of a picture


def write_page(
    folder: Path, comparison: Comparison, pictures: Iterable[RecordedCapture], *, names: tuple[str, str, str]
) -> Path:
    """Writes `compare.html` into a folder and returns its path. It needs no other file and no network.

    Args:
        folder: made where it isn't there yet.
        comparison: what came of it.
        pictures: of the frames that changed; others are left out.
        names: of the recording and of the two that are compared.

    Raises:
        WorkerError: it can't be written.
    """
    shown = {str(change.frame.id): change for change in comparison.changes[:MOST]}
    captures = {str(capture.header.id): capture for capture in pictures if str(capture.header.id) in shown}
    environment = Environment(loader=PackageLoader("worker.compare", "."), autoescape=True)
    page = environment.get_template("page.html").render(
        title=f"{names[0]}: {names[1]} against {names[2]}",
        figures=_figures(comparison),
        changes=[_shown(change, captures, names) for change in shown.values()],
        left_out=len(comparison.changes) - len(shown),
    )
    try:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / PAGE).write_text(page, encoding="utf-8")
    except OSError as error:
        raise WorkerError(f"{folder / PAGE} can't be written: {error.strerror}") from error
    return folder / PAGE


def _figures(comparison: Comparison) -> list[tuple[str, str]]:
    plain = {
        "frames": comparison.frames,
        "compared": comparison.compared,
        "changed": len(comparison.changes),
        **comparison.kinds,
        "with another score": comparison.rescored,
        "largest change of a score": f"{comparison.largest_score_change:.4g}",
        "without a verdict of the first": comparison.without_before,
        "without a verdict of the second": comparison.without_after,
    }
    return [(name, str(value)) for name, value in plain.items()]


def _shown(change: Change, captures: Mapping[str, RecordedCapture], names: tuple[str, str, str]) -> dict[str, Any]:
    capture = captures.get(str(change.frame.id))
    sides = ((names[1], change.before), (names[2], change.after))
    return {
        "id": str(change.frame.id),
        "name": change.frame.part_id or f"{change.frame.id.camera} {change.frame.id.seq}",
        "sides": [(name, opinion.text, _inline(capture, opinion)) for name, opinion in sides],
    }


def _inline(capture: RecordedCapture | None, opinion: Opinion) -> str | None:
    """The frame with a box around each defect, as a JPEG that stands in the page; None if it can't be decoded."""
    if capture is None:
        return None
    try:
        picture: NDArray[np.uint8] = to_bgr(decode(capture.header, capture.payload))
    except BadFrame:
        return None
    draw_boxes(picture, opinion.boxes)
    width, height = picture.shape[1], picture.shape[0]
    scale = min(1.0, SIDE / width)
    size = round(width * scale), max(1, round(height * scale))
    small = cv2.resize(picture, size, interpolation=cv2.INTER_AREA)
    data = base64.b64encode(cv2.imencode(".jpg", small)[1].tobytes()).decode()
    return f"data:image/jpeg;base64,{data}"
