"""The score rule, from the network's map to one number, for calibration, evaluation and the line. No torch."""

import cv2
import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, field_validator

from model.anomaly_map import Box, Grid
from model.errors import DataError

IGNORED, JUDGED = "#", "."


class Scoring(BaseModel):
    """How a map is scored: what the mask ignores is left out, small areas are opened away, the highest cells count.

    Attributes:
        top_k: the score is the mean of so many highest cells; 1 is their maximum (paper, Eq. 11).
        min_area: smallest defect in cells of the grid (8 x 8 network pixels each at level 2): a grey-scale area
            opening lowers every peak to the level at which it is that large (Vincent, "Grayscale area openings and
            closings", 1993). 1 changes nothing.
        ignore: rows of the grid, `#` for cells that are never judged; empty: none.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    top_k: int = Field(default=1, ge=1)
    min_area: int = Field(default=1, ge=1)
    ignore: tuple[str, ...] = ()

    @field_validator("ignore")
    @classmethod
    def _rectangle(cls, rows: tuple[str, ...]) -> tuple[str, ...]:
        if rows and (len({len(row) for row in rows}) != 1 or set("".join(rows)) - {IGNORED, JUDGED}):
            raise ValueError(f"rows of one length, made of {IGNORED} and {JUDGED}, are expected")
        if rows and JUDGED not in "".join(rows):
            raise ValueError("nothing would be judged at all")
        return rows

    def fits(self, shape: tuple[int, int]) -> bool:
        """Whether a grid of this shape can be scored."""
        return not self.ignore or (len(self.ignore), len(self.ignore[0])) == shape

    def apply(self, grid: Grid) -> Grid:
        """The map that is judged and shown: ignored cells take the lowest value of the others, small areas are gone.

        Args:
            grid: `(h, w)` float32, the network's own. One that is not finite comes back as it is.
        """
        if not np.isfinite(grid).all():
            return grid
        judged = self._judged(grid.shape)
        masked = np.where(judged, grid, grid[judged].min())
        return area_opening(masked, self.min_area) if self.min_area > 1 else masked

    def score(self, applied: Grid) -> float:
        """The picture's anomaly score. NaN if a cell is NaN.

        Args:
            applied: `(h, w)` float32, from `apply`.
        """
        cells = applied[self._judged(applied.shape)]
        k = min(self.top_k, cells.size)
        return float(np.partition(cells, cells.size - k)[cells.size - k :].mean(dtype=np.float64))

    def _judged(self, shape: tuple[int, ...]) -> NDArray[np.bool_]:
        if not self.ignore:
            return np.ones(shape, np.bool_)
        return np.array([[cell == JUDGED for cell in row] for row in self.ignore])


def ignored_cells(mask: NDArray[np.bool_], *, box: Box, shape: tuple[int, int]) -> tuple[str, ...]:
    """Which cells a frame-sized mask leaves out: those it covers wholly. A cell half covered is judged.

    Args:
        mask: `(H, W)`, true where nothing shall be judged.
        box: the rectangle of the frame that the grid covers.
        shape: `(h, w)` of the grid.

    Raises:
        DataError: nothing would be judged at all.
    """
    x0, y0, x1, y1 = (round(edge) for edge in (box[0], box[1], box[0] + box[2], box[1] + box[3]))
    covered = cv2.resize(mask[y0:y1, x0:x1].astype(np.float32), (shape[1], shape[0]), interpolation=cv2.INTER_AREA)
    if covered.min() > 0.999:
        raise DataError("the ignore mask covers everything: nothing would be judged at all")
    return tuple("".join(IGNORED if share > 0.999 else JUDGED for share in row) for row in covered)


def area_opening(grid: Grid, min_area: int) -> Grid:
    """Lowers each peak until the area at or above its level has `min_area` cells (8 neighbours).

    Args:
        grid: `(h, w)` float32, finite.
        min_area: cells, at least 1. More than there are cells levels the grid to its minimum.
    """
    height, width = grid.shape
    flat, opened = grid.ravel(), np.full(grid.size, grid.min(), np.float32)
    areas: dict[int, list[int]] = {}  # by root: the cells that still wait for their level; empty once it is found
    root = np.full(grid.size, -1)

    def find(cell: int) -> int:
        while root[cell] != cell:
            root[cell] = cell = root[root[cell]]
        return cell

    found: set[int] = set()  # roots of areas that are large enough
    for cell in map(int, np.argsort(-flat, kind="stable")):
        root[cell], areas[cell] = cell, [cell]
        y, x = divmod(cell, width)
        for near in (n * width + m for n in range(max(0, y - 1), min(height, y + 2)) for m in _around(x, width)):
            if root[near] >= 0 and (other := find(near)) != (own := find(cell)):
                root[own] = other
                areas[other] += areas.pop(own)
                if own in found:
                    found.add(other)
        top = find(cell)
        if top in found or len(areas[top]) >= min_area:
            found.add(top)
            opened[areas[top]] = flat[cell]
            areas[top] = []
    return opened.reshape(grid.shape)


def _around(x: int, width: int) -> range:
    return range(max(0, x - 1), min(width, x + 2))
