"""The contact sheet: rejected parts with their heat maps, worst first, as one PNG."""

from collections.abc import Callable, Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from model.picture import overlay
from worker.heatmap import severity_map
from worker.verdict import Verdict

TILE = 200  # pixels
CAPTION = 22
COLUMNS = 4
MOST = 48


def contact_sheet(
    rejected: Sequence[Verdict], picture_of: Callable[[Verdict], NDArray[np.uint8]]
) -> NDArray[np.uint8] | None:
    """Draws the rejected parts, each beside its heat map.

    Args:
        rejected: verdicts that are not a pass.
        picture_of: the picture a verdict is about, `(H, W, 3)` BGR.

    Returns:
        `(H, W, 3)` BGR; None if there is nothing to show.
    """
    shown = sorted(rejected, key=lambda verdict: -(verdict.severity or 0))[:MOST]
    if not shown:
        return None
    cells = [_cell(verdict, picture_of(verdict)) for verdict in shown]
    columns = min(COLUMNS, len(cells))
    cells += [np.zeros_like(cells[0])] * (-len(cells) % columns)
    rows = [np.hstack(cells[start : start + columns]) for start in range(0, len(cells), columns)]
    return np.vstack(rows)


def _cell(verdict: Verdict, picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
    height, width = picture.shape[:2]
    severity = severity_map(verdict, height=height, width=width)
    boxes = [region.box for region in verdict.regions]
    glowing = picture if severity is None else overlay(picture, severity, boxes)
    tiles = [cv2.resize(image, (TILE, TILE), interpolation=cv2.INTER_AREA) for image in (picture, glowing)]
    cell = np.zeros((TILE + CAPTION, 2 * TILE + 8, 3), np.uint8)
    cell[CAPTION:, : 2 * TILE] = np.hstack(tiles)
    number = "" if verdict.severity is None else f" {verdict.severity:.1f}"
    caption = f"{verdict.tag.part_id or verdict.tag.seq}: {verdict.reason.word}{number}"
    cv2.putText(cell, caption, (4, 15), cv2.FONT_HERSHEY_SIMPLEX, 0.45, (255, 255, 255), 1, cv2.LINE_AA)
    return cell
