"""What a map says: its score, its regions, and the smooth picture."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.ndimage import gaussian_filter
from torch.nn import functional as F

from model import anomaly_map
from model.anomaly_map import Grid
from model.preprocessing import Preprocessing

WHOLE = Preprocessing(resize=(64, 64), crop=(64, 64))
PAPER = Preprocessing(resize=(256, 256), crop=(224, 224))

scores32 = st.floats(-100, 100, width=32)
grids = arrays(np.float32, st.tuples(st.integers(1, 9), st.integers(1, 9)), elements=scores32)


def torch_then_scipy(grid: Grid, size: tuple[int, int]) -> Grid:
    planes = torch.from_numpy(grid.astype(np.float64))[None, None]
    enlarged = F.interpolate(planes, size=size, mode="bilinear", align_corners=False)[0, 0].numpy()
    return np.asarray(gaussian_filter(enlarged, sigma=4, radius=16, mode="reflect"), np.float32)


@pytest.mark.parametrize(
    ("cells", "pixels"),
    [
        ((28, 28), (224, 224)),
        ((7, 5), (56, 40)),
        ((5, 9), (61, 83)),
        ((1, 3), (17, 31)),
        ((1, 1), (1, 1)),
        ((2, 2), (5, 9)),
        ((12, 3), (12, 3)),
    ],
)
def test_smoothing_is_bilinear_enlargement_then_a_reflected_gaussian(
    cells: tuple[int, int], pixels: tuple[int, int]
) -> None:
    grid = np.random.default_rng(3).normal(size=cells).astype(np.float32)
    np.testing.assert_allclose(anomaly_map.smooth(grid, pixels), torch_then_scipy(grid, pixels), atol=1e-6)


@settings(deadline=None, max_examples=40)
@given(cells=st.integers(1, 40), pixels=st.integers(1, 200))
def test_each_row_of_a_smoothing_matrix_is_an_average(cells: int, pixels: int) -> None:
    matrix = anomaly_map.smoothing_matrix(cells, pixels)
    assert matrix.shape == (pixels, cells)
    assert (matrix >= 0).all()
    np.testing.assert_allclose(matrix.sum(axis=1), 1, atol=1e-12)


def test_a_cached_smoothing_matrix_cannot_be_changed() -> None:
    with pytest.raises(ValueError, match="read-only"):
        anomaly_map.smoothing_matrix(4, 32)[0, 0] = 1


@settings(deadline=None, max_examples=40)
@given(grid=grids)
def test_a_smooth_map_stays_between_the_lowest_and_the_highest_cell(grid: Grid) -> None:
    smooth = anomaly_map.smooth(grid, (24, 40))
    assert smooth.shape == (24, 40)
    assert smooth.dtype == np.float32
    assert grid.min() - 1e-3 <= smooth.min()
    assert smooth.max() <= grid.max() + 1e-3


@settings(deadline=None)
@given(grid=grids, threshold=scores32)
def test_a_grid_has_regions_exactly_when_its_score_is_above_the_threshold(grid: Grid, threshold: float) -> None:
    found = anomaly_map.regions(grid, threshold=threshold, box=(0, 0, 64, 64))
    assert bool(found) == (float(grid.max()) > threshold)


def test_a_score_above_a_threshold_that_float32_cannot_hold_still_has_a_region() -> None:
    grid = np.full((2, 2), 0.1, np.float32)
    threshold = math.nextafter(float(grid[0, 0]), 0.0)
    assert float(grid.max()) > threshold
    assert anomaly_map.regions(grid, threshold=threshold, box=(0, 0, 64, 64))


@settings(deadline=None)
@given(
    grid=grids,
    threshold=scores32,
    height=st.integers(1, 500),
    width=st.integers(1, 500),
    preprocessing=st.sampled_from([WHOLE, PAPER]),
)
def test_every_region_lies_inside_its_frame(
    grid: Grid, threshold: float, height: int, width: int, preprocessing: Preprocessing
) -> None:
    for region in anomaly_map.regions(grid, threshold=threshold, box=preprocessing.box(height, width)):
        x, y, w, h = region.box
        assert 0 <= x <= x + w <= width
        assert 0 <= y <= y + h <= height


@settings(deadline=None)
@given(grid=grids, threshold=scores32)
def test_regions_come_highest_peak_first_and_cover_every_cell_above_the_threshold(grid: Grid, threshold: float) -> None:
    height, width = grid.shape
    found = anomaly_map.regions(grid, threshold=threshold, box=(0, 0, width * 8.0, height * 8.0))
    peaks = [region.peak for region in found]
    assert peaks == sorted(peaks, reverse=True)
    assert sum(region.area for region in found) == 64 * int((grid > threshold).sum())
    assert all(peak > threshold for peak in peaks)
    for region in found:
        x, y, w, h = region.box
        assert grid[y // 8 : (y + h) // 8, x // 8 : (x + w) // 8].max() >= region.peak


def test_cells_that_touch_at_a_corner_are_one_region() -> None:
    grid = np.eye(4, dtype=np.float32)
    (region,) = anomaly_map.regions(grid, threshold=0.5, box=(0, 0, 40, 80))
    assert region == anomaly_map.Region(box=(0, 0, 40, 80), area=4 * 10 * 20, peak=1.0)


def test_a_region_of_a_cropped_map_is_offset_by_the_crop() -> None:
    grid = np.zeros((28, 28), np.float32)
    grid[0, 27] = 1
    (region,) = anomaly_map.regions(grid, threshold=0.5, box=PAPER.box(512, 1024))
    assert region.box == (4 * (16 + 216), 2 * 16, 4 * 8, 2 * 8)


def test_a_nan_cell_is_no_region_and_no_warning() -> None:
    grid = np.full((3, 3), np.nan, np.float32)
    assert anomaly_map.regions(grid, threshold=0.0, box=(0, 0, 3, 3)) == []


@settings(deadline=None, max_examples=60)
@given(height=st.integers(1, 300), width=st.integers(1, 300), preprocessing=st.sampled_from([WHOLE, PAPER]))
def test_a_placed_map_has_the_frame_s_size_whatever_it_is(
    height: int, width: int, preprocessing: Preprocessing
) -> None:
    smooth = np.random.default_rng(0).normal(size=preprocessing.crop).astype(np.float32)
    placed = anomaly_map.place(smooth, box=preprocessing.box(height, width), height=height, width=width)
    assert placed.shape == (height, width)
    assert smooth.min() - 1e-5 <= placed.min() <= placed.max() <= smooth.max() + 1e-5


def test_what_the_network_never_saw_takes_the_map_s_lowest_value() -> None:
    smooth = np.random.default_rng(0).normal(size=(224, 224)).astype(np.float32)
    placed = anomaly_map.place(smooth, box=PAPER.box(256, 256), height=256, width=256)
    np.testing.assert_array_equal(placed[16:240, 16:240], smooth)
    placed[16:240, 16:240] = smooth.min()
    assert (placed == smooth.min()).all()


def test_a_peak_is_placed_where_it_is_in_the_frame() -> None:
    grid = np.zeros((28, 28), np.float32)
    grid[10, 20] = 1
    smooth = anomaly_map.smooth(grid, (224, 224))
    placed = anomaly_map.place(smooth, box=(0, 0, 448, 896), height=896, width=448)
    row, column = np.unravel_index(placed.argmax(), placed.shape)
    assert abs(row - 10.5 * 32) <= 4
    assert abs(column - 20.5 * 16) <= 2
