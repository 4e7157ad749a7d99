"""What people look at: a severity map in colour, alone or on the picture it belongs to."""

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from model.engine import Inspection
from model.errors import DataError
from model.picture import overlay, paint, save_overlay, to_bgr, write_png
from tests.model.small import CALIBRATION, PREPROCESSING, plates


def inspection_of(image: NDArray[Any], grid: NDArray[np.float32]) -> Inspection:
    box = PREPROCESSING.box(image.shape[0], image.shape[1])
    return Inspection(score=float(grid.max()), grid=grid, size=PREPROCESSING.crop, box=box)


def test_colours_run_from_blue_over_green_to_red_and_stay_there() -> None:
    blue, green, red, beyond, below = paint(np.array([[0.05, 1.0, 1.9, 9.0, -5.0]], np.float32))[0].astype(int)
    assert blue.argmax() == 0
    assert green.argmax() == 1
    assert red.argmax() == 2
    np.testing.assert_array_equal(beyond, paint(np.full((1, 1), 2.0, np.float32))[0, 0])
    np.testing.assert_array_equal(below, paint(np.zeros((1, 1), np.float32))[0, 0])


def test_a_picture_shows_untouched_where_it_is_good() -> None:
    picture = plates(1)[0]
    severity = np.full((40, 48), 0.3, np.float32)
    severity[10:20, 10:20] = 2
    shown = overlay(picture, severity)
    changed = (shown != picture).any(axis=2)
    assert changed[10:20, 10:20].all()
    assert changed.sum() == 100


def test_an_overlay_leaves_the_picture_it_was_given_as_it_was() -> None:
    picture = plates(1)[0]
    before = picture.copy()
    overlay(picture, np.full((40, 48), 2, np.float32), [(0, 0, 48, 40)])
    np.testing.assert_array_equal(picture, before)


def test_a_box_is_drawn_around_a_defect_inside_its_pixels() -> None:
    shown = overlay(np.zeros((40, 48, 3), np.uint8), np.zeros((40, 48), np.float32), [(5, 8, 20, 10)])
    rows, columns = np.nonzero(shown.any(axis=2))
    assert (rows.min(), rows.max(), columns.min(), columns.max()) == (8, 17, 5, 24)


@pytest.mark.parametrize("channels", [None, 3])
def test_sixteen_bits_show_like_eight(channels: int | None) -> None:
    eight = plates(1)[0] if channels else plates(1)[0][:, :, 0]
    np.testing.assert_array_equal(to_bgr(eight.astype(np.uint16) * 257), to_bgr(eight))
    assert to_bgr(eight).shape == (40, 48, 3)


def test_rgb_becomes_bgr() -> None:
    np.testing.assert_array_equal(to_bgr(np.array([[[1, 2, 3]]], np.uint8)), [[[3, 2, 1]]])


def test_a_png_comes_back_as_it_was_written(tmp_path: Path) -> None:
    picture = plates(1)[0]
    write_png(tmp_path / "a.png", picture)
    np.testing.assert_array_equal(cv2.imread(str(tmp_path / "a.png"), cv2.IMREAD_UNCHANGED), picture)


def test_a_png_that_cannot_be_written_fails_aloud(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="nowhere"):
        write_png(tmp_path / "nowhere" / "a.png", plates(1)[0])


def test_a_saved_overlay_glows_where_the_defect_is_and_makes_its_folder(tmp_path: Path) -> None:
    image = np.full((40, 48, 3), 100, np.uint8)
    grid = np.full((4, 4), -0.5, np.float32)
    grid[0, 3] = 10
    path = tmp_path / "maps" / "deep" / "a.png"
    save_overlay(path, image, inspection_of(image, grid), CALIBRATION)
    shown = cv2.imread(str(path))
    assert shown is not None
    assert shown.shape == image.shape
    changed = (shown != 100).any(axis=2)
    assert changed[:10, 36:].any()
    assert not changed[30:, :10].any()


@pytest.mark.parametrize("shape", [(1, 1, 3), (1, 300, 3), (300, 1), (3, 2, 3)])
def test_an_overlay_of_a_picture_of_any_shape_is_saved(tmp_path: Path, shape: tuple[int, ...]) -> None:
    image = np.zeros(shape, np.uint8)
    save_overlay(tmp_path / "a.png", image, inspection_of(image, np.ones((4, 4), np.float32)), CALIBRATION)
    shown = cv2.imread(str(tmp_path / "a.png"))
    assert shown is not None
    assert shown.shape[:2] == shape[:2]
