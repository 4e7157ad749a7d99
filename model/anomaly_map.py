"""What an anomaly map says: its regions, and the smooth picture people look at. Its score: `model.scoring`.

NumPy and OpenCV alone, so that a reader beside a PLC rebuilds maps without torch.

Two frames of reference: the *grid* is the network's own output (28 x 28 for a 224-pixel input); the *frame* is
the camera's picture. A grid covers the rectangle `box` (x, y, width, height) of the frame.
"""

from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np
from numpy.typing import NDArray

Grid = NDArray[np.float32]
Box = tuple[float, float, float, float]

SIGMA = 4.0  # network pixels; SimpleNet smooths its maps so (paper, section 3.6)
RADIUS = 16  # four sigma


@dataclass(frozen=True)
class Region:
    """One connected area of the grid above the threshold.

    Attributes:
        box: `(x, y, width, height)` in frame pixels.
        area: in frame pixels.
        peak: highest score inside.
    """

    box: tuple[int, int, int, int]
    area: int
    peak: float


def regions(grid: Grid, *, threshold: float, box: Box) -> list[Region]:
    """Connected areas (8 neighbours) of `grid` above `threshold`, highest peak first.

    A grid whose score is above the threshold has at least one region. Each is at least a pixel, also where cells are
    smaller than that.

    Args:
        grid: `(h, w)` float32.
        threshold: a score.
        box: the frame rectangle that the grid covers.
    """
    above = (grid.astype(np.float64) > threshold).astype(np.uint8)  # as the score is compared, not in float32
    count, labels, stats, _ = cv2.connectedComponentsWithStats(above, connectivity=8)
    height, width = grid.shape
    cell_w, cell_h = box[2] / width, box[3] / height
    found = []
    for label in range(1, count):
        left, top, w, h, area = (int(v) for v in stats[label])
        (x, across), (y, down) = _side(box[0], left, w, cell_w), _side(box[1], top, h, cell_h)
        peak = float(grid[labels == label].max())
        found.append(Region(box=(x, y, across, down), area=max(1, round(area * cell_w * cell_h)), peak=peak))
    return sorted(found, key=lambda region: -region.peak)


def _side(start: float, first: int, cells: int, cell: float) -> tuple[int, int]:
    """Where some cells of a row begin, and how far they reach: to whole pixels, or the one that they lie in."""
    low, high = round(start + first * cell), round(start + (first + cells) * cell)
    return (low, high - low) if high > low else (int(start + first * cell), 1)


@lru_cache(maxsize=64)
def smoothing_matrix(cells: int, pixels: int) -> NDArray[np.float64]:
    """One axis of the smooth map as a matrix: `smooth = A_h @ grid @ A_w.T`, shape `(pixels, cells)`.

    Bilinear enlargement (half-pixel centres, `align_corners=False`), then a Gaussian of `SIGMA` network pixels cut at
    `RADIUS`, with half-sample reflection at the rim (`d c b a | a b c d`).
    """
    taps = np.exp(-0.5 * (np.arange(-RADIUS, RADIUS + 1) / SIGMA) ** 2)
    gaussian = np.zeros((pixels, pixels))
    for offset, weight in zip(range(-RADIUS, RADIUS + 1), taps / taps.sum(), strict=True):
        source = (np.arange(pixels) + offset) % (2 * pixels)
        source = np.where(source < pixels, source, 2 * pixels - 1 - source)
        np.add.at(gaussian, (np.arange(pixels), source), weight)
    matrix = gaussian @ _bilinear_matrix(cells, pixels)
    matrix.setflags(write=False)
    return matrix


def _bilinear_matrix(cells: int, pixels: int) -> NDArray[np.float64]:
    centre = np.clip((np.arange(pixels) + 0.5) * cells / pixels - 0.5, 0, cells - 1)
    low = np.floor(centre).astype(int)
    high = np.minimum(low + 1, cells - 1)
    matrix = np.zeros((pixels, cells))
    np.add.at(matrix, (np.arange(pixels), low), 1 - (centre - low))
    np.add.at(matrix, (np.arange(pixels), high), centre - low)
    return matrix


def smooth(grid: Grid, size: tuple[int, int]) -> Grid:
    """The map at the network's input size.

    Args:
        grid: `(h, w)` float32.
        size: network input `(height, width)` in pixels.

    Returns:
        `(height, width)` float32, in the unit of the scores.
    """
    rows, columns = smoothing_matrix(grid.shape[0], size[0]), smoothing_matrix(grid.shape[1], size[1])
    return (rows @ grid.astype(np.float64) @ columns.T).astype(np.float32)


def place(smooth_map: Grid, *, box: Box, height: int, width: int) -> Grid:
    """The smooth map laid into its `box` of a frame; what the network never saw takes the map's lowest value.

    Args:
        smooth_map: from `smooth`.
        box: the frame rectangle that it covers.
        height: of the frame, pixels.
        width: of the frame, pixels.
    """
    x0, y0 = round(box[0]), round(box[1])
    x1, y1 = round(box[0] + box[2]), round(box[1] + box[3])
    frame = np.full((height, width), smooth_map.min(), np.float32)
    inside = cv2.resize(smooth_map, (x1 - x0, y1 - y0), interpolation=cv2.INTER_LINEAR)
    frame[y0:y1, x0:x1] = inside[: height - y0, : width - x0]
    return frame
