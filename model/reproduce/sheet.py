"""The sheet of Figure 8: pictures of defects, their masks and the network's maps, side by side."""

from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from model import anomaly_map, metrics
from model.dataset import TestPicture
from model.engine import Inspection
from model.errors import DataError
from model.images import read_image, read_mask
from model.picture import Picture, overlay, to_bgr
from model.reproduce.grid import Trial

SIDE = 192
"""Of a tile, pixels."""


def examples(trial: Trial) -> dict[str, Any]:
    """The first test picture of each kind of defect with its map, and the scale that the maps are painted in.

    Raises:
        DataError: training diverged, or the test pictures are not of both kinds.
    """
    found = trial.inspections(trial.head())
    scores, labels = np.array([inspection.score for inspection in found]), trial.labels
    best = metrics.f1_max(labels, scores)
    if best is None:
        raise DataError("the sheet needs good and defective test pictures, with finite scores")
    median = float(np.median(scores[~labels]))
    first: dict[str, tuple[TestPicture, Inspection]] = {}
    for picture, inspection in zip(trial.features.labelled, found, strict=True):
        if picture.defective:
            first.setdefault(picture.kind, (picture, inspection))
    chosen = [_example(picture, inspection) for picture, inspection in first.values()]
    threshold = best[1] if np.isfinite(best[1]) else float(scores.min())
    return {"threshold": threshold, "median": median, "examples": chosen}


def _example(picture: TestPicture, inspection: Inspection) -> dict[str, Any]:
    return {
        "kind": picture.kind,
        "picture": picture.path.name,
        "masked": picture.mask is not None,
        "score": inspection.score,
        "grid": [[float(f"{cell:.5g}") for cell in row] for row in inspection.grid.tolist()],
        "size": list(inspection.size),
        "box": list(inspection.box),
    }


def draw(category: Path, cell: dict[str, Any]) -> bytes:
    """The sheet as PNG: a row an example, of picture, mask and map.

    Args:
        category: where the pictures lie.
        cell: from `examples`.

    Raises:
        DataError: a picture or mask can't be read.
    """
    rows = [_row(category, example, cell) for example in cell["examples"]]
    return cv2.imencode(".png", np.concatenate(rows))[1].tobytes()


def _row(category: Path, example: dict[str, Any], cell: dict[str, Any]) -> Picture:
    path = category / "test" / example["kind"] / example["picture"]
    shown = to_bgr(read_image(path))
    mask = np.zeros(shown.shape[:2], np.bool_)
    if example["masked"]:
        mask = read_mask(category / "ground_truth" / example["kind"] / f"{path.stem}_mask.png")
    tiles = [shown, _white(mask), overlay(shown, _severity(example, cell, shown.shape[0], shown.shape[1]))]
    return np.concatenate([_tile(tile) for tile in tiles], axis=1)


def _severity(example: dict[str, Any], cell: dict[str, Any], height: int, width: int) -> NDArray[np.float32]:
    smooth = anomaly_map.smooth(np.array(example["grid"], np.float32), tuple(example["size"]))
    placed = anomaly_map.place(smooth, box=tuple(example["box"]), height=height, width=width)
    scale = max(cell["threshold"] - cell["median"], 1e-6)
    return np.asarray((placed - cell["median"]) / scale, np.float32)


def _white(mask: NDArray[np.bool_]) -> Picture:
    return np.repeat((mask * 255).astype(np.uint8)[:, :, None], 3, axis=2)


def _tile(picture: Picture) -> Picture:
    return np.asarray(cv2.resize(picture, (SIDE, SIDE), interpolation=cv2.INTER_AREA), np.uint8)
