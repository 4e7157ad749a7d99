"""What people look at: a severity map in colour, alone or glowing on the picture it belongs to. No torch."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from model import anomaly_map
from model.anomaly_map import Grid
from model.errors import DataError

if TYPE_CHECKING:  # the reader's side imports this module without torch
    from model.engine import Inspection

Image = NDArray[np.uint8] | NDArray[np.uint16]
Picture = NDArray[np.uint8]

TILE = 200  # pixels of a picture in a contact sheet
CAPTION = 22
COLUMNS = 4


class Scale(Protocol):
    """Where severity is 0 and where it is 1, as a `Calibration` has it."""

    @property
    def median(self) -> float:
        """The score of severity 0."""

    @property
    def threshold(self) -> float:
        """The score of severity 1."""


class Tile(NamedTuple):
    """One cell of a contact sheet: a picture beside what is shown of it, both `(H, W, 3)` BGR."""

    caption: str
    picture: Picture
    shown: Picture


def paint(severity: Grid) -> Picture:
    """A severity map in colour: blue at the median good score, green at the threshold, red at twice that and above.

    Args:
        severity: `(H, W)` float32, 0 at the median good score, 1 at the threshold.

    Returns:
        `(H, W, 3)` BGR.
    """
    levels = (np.clip(severity / 2, 0, 1) * 255).astype(np.uint8)
    return np.asarray(cv2.applyColorMap(levels, cv2.COLORMAP_TURBO), np.uint8)


def overlay(picture: Picture, severity: Grid, boxes: Sequence[tuple[int, int, int, int]] = ()) -> Picture:
    """A picture with what is anomalous glowing on it, and a frame around each box.

    Args:
        picture: `(H, W, 3)` BGR.
        severity: `(H, W)` float32, 0 at the median good score, 1 at the threshold.
        boxes: `(x, y, width, height)` in the picture's pixels.

    Returns:
        `(H, W, 3)` BGR.
    """
    opacity = np.clip(severity - 0.3, 0, 0.6)[:, :, None]
    blended: Picture = (picture * (1 - opacity) + paint(severity) * opacity).astype(np.uint8)
    draw_boxes(blended, boxes)
    return blended


def draw_boxes(picture: Picture, boxes: Sequence[tuple[int, int, int, int]]) -> None:
    """Draws a red frame around each box, `(x, y, width, height)`, into the picture itself."""
    for x, y, width, height in boxes:
        cv2.rectangle(picture, (x, y), (x + width - 1, y + height - 1), (40, 40, 255), max(1, picture.shape[1] // 200))


def overlay_of(image: Image, inspection: "Inspection", scale: Scale) -> Picture:
    """A judged picture with its heat map and its defects' boxes: `(H, W, 3)` BGR.

    Args:
        image: `(H, W)` grey or `(H, W, 3)` RGB, uint8 or uint16.
        inspection: what the network says of it.
        scale: a bundle's calibration, say.
    """
    height, width = image.shape[:2]
    smooth = anomaly_map.smooth(inspection.grid, inspection.size)
    placed = anomaly_map.place(smooth, box=inspection.box, height=height, width=width)
    severity = (placed - scale.median) / (scale.threshold - scale.median)
    found = anomaly_map.regions(inspection.grid, threshold=scale.threshold, box=inspection.box)
    return overlay(to_bgr(image), severity.astype(np.float32), [region.box for region in found])


def save_overlay(path: Path, image: Image, inspection: "Inspection", scale: Scale) -> None:
    """Writes `overlay_of` a picture as a PNG; its folder is made.

    Raises:
        DataError: the file can't be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DataError(f"{path.parent} can't be made: {error.strerror}") from error
    write_png(path, overlay_of(image, inspection, scale))


def contact_sheet(tiles: Sequence[Tile]) -> Picture:
    """Draws captioned pairs of pictures, at most `COLUMNS` in a row: `(H, W, 3)` BGR. At least one is expected."""
    columns = min(COLUMNS, len(tiles))
    cells = [_cell(tile) for tile in tiles]
    cells += [np.zeros_like(cells[0])] * (-len(cells) % columns)
    return np.vstack([np.hstack(cells[start : start + columns]) for start in range(0, len(cells), columns)])


def _cell(tile: Tile) -> Picture:
    pair = [cv2.resize(picture, (TILE, TILE), interpolation=cv2.INTER_AREA) for picture in (tile.picture, tile.shown)]
    cell = np.zeros((TILE + CAPTION, 2 * TILE + 8, 3), np.uint8)
    cell[CAPTION:, : 2 * TILE] = np.hstack(pair)
    cv2.putText(cell, tile.caption, (4, 15), cv2.FONT_HERSHEY_SIMPLEX, 0.45, (255, 255, 255), 1, cv2.LINE_AA)
    return cell


def to_bgr(image: Image) -> Picture:
    """A picture for showing: `(H, W)` grey or `(H, W, 3)` RGB, 8 or 16 bit, as `(H, W, 3)` uint8 BGR."""
    eight = image if image.dtype == np.uint8 else (image >> 8).astype(np.uint8)
    return np.asarray(cv2.cvtColor(eight, cv2.COLOR_GRAY2BGR if image.ndim == 2 else cv2.COLOR_RGB2BGR), np.uint8)


def write_png(path: Path, picture: Picture) -> None:
    """Writes a picture as PNG; unlike OpenCV's own call it fails aloud.

    Raises:
        DataError: the file can't be written.
    """
    write_bytes(path, cv2.imencode(".png", picture)[1].tobytes())


def write_bytes(path: Path, data: bytes) -> None:
    """Writes a file.

    Raises:
        DataError: it can't be written.
    """
    try:
        path.write_bytes(data)
    except OSError as error:
        raise DataError(f"{path} can't be written: {error.strerror}") from error
