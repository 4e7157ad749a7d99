"""The score rule: what counts of an anomaly map, and how much."""

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from pydantic import ValidationError

from model import anomaly_map
from model.anomaly_map import Grid
from model.errors import DataError
from model.scoring import Scoring, area_opening, ignored_cells

levels = st.integers(-4, 9).map(float)  # few of them: ties matter
grids = arrays(np.float32, array_shapes(min_dims=2, max_dims=2, max_side=9), elements=levels)
rules = st.builds(Scoring, top_k=st.integers(1, 12), min_area=st.integers(1, 12))


def opened_by_definition(grid: Grid, min_area: int) -> Grid:
    """At every level, the areas at or above it that are large enough keep it."""
    opened = np.full(grid.shape, grid.min(), np.float32)
    for level in np.unique(grid):
        count, labels, stats, _ = cv2.connectedComponentsWithStats((grid >= level).astype(np.uint8), connectivity=8)
        for label in range(1, count):
            if stats[label, cv2.CC_STAT_AREA] >= min_area:
                opened[labels == label] = level
    return opened


def test_by_default_the_score_is_the_maximum_of_the_unsmoothed_map() -> None:
    grid = np.zeros((5, 7), np.float32)
    grid[2, 3] = 1.5
    assert Scoring().score(Scoring().apply(grid)) == 1.5
    np.testing.assert_array_equal(Scoring().apply(grid), grid)


def test_top_k_is_the_mean_of_the_highest_cells() -> None:
    grid = np.array([[5, 1], [3, -2]], np.float32)
    assert [Scoring(top_k=k).score(grid) for k in (1, 2, 3, 4, 99)] == [5, 4, 3, 1.75, 1.75]


@settings(deadline=None)
@given(grid=grids, min_area=st.integers(1, 20))
def test_an_area_opening_is_what_its_definition_says(grid: Grid, min_area: int) -> None:
    np.testing.assert_array_equal(area_opening(grid, min_area), opened_by_definition(grid, min_area))


def test_a_defect_smaller_than_the_minimum_area_does_not_raise_the_score() -> None:
    grid = np.zeros((6, 6), np.float32)
    grid[1, 1] = 9
    grid[4, 2:5] = 4
    assert [Scoring(min_area=area).score(Scoring(min_area=area).apply(grid)) for area in (1, 2, 3, 4)] == [9, 4, 4, 0]


def test_ignored_cells_count_neither_for_the_score_nor_for_the_regions() -> None:
    scoring, grid = Scoring(ignore=("##", "..")), np.array([[9, 9], [1, 2]], np.float32)
    applied = scoring.apply(grid)
    assert scoring.score(applied) == 2
    assert applied.max() == 2
    assert anomaly_map.regions(applied, threshold=2.5, box=(0, 0, 16, 16)) == []


def test_top_k_counts_judged_cells_alone() -> None:
    scoring = Scoring(top_k=3, ignore=("##.", "..#"))
    assert scoring.score(scoring.apply(np.array([[9, 9, 3], [2, 1, 9]], np.float32))) == 2


@settings(deadline=None)
@given(grid=grids, scoring=rules, threshold=levels)
def test_a_picture_that_fails_has_a_region(grid: Grid, scoring: Scoring, threshold: float) -> None:
    applied = scoring.apply(grid)
    if scoring.score(applied) > threshold:
        assert anomaly_map.regions(applied, threshold=threshold, box=(0, 0, 64, 64))


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("scoring", [Scoring(), Scoring(top_k=3, min_area=2), Scoring(ignore=("#..", "...", "..."))])
def test_a_cell_that_is_not_finite_is_never_scored_away(value: float, scoring: Scoring) -> None:
    grid = np.zeros((3, 3), np.float32)
    grid[1, 1] = value
    applied = scoring.apply(grid)
    assert not np.isfinite(applied).all()


@pytest.mark.parametrize("rows", [("#.", "#"), ("ab",), ("##", "##")], ids=["ragged", "other signs", "all ignored"])
def test_a_mask_that_is_none_is_refused(rows: tuple[str, ...]) -> None:
    with pytest.raises(ValidationError):
        Scoring(ignore=rows)


def test_a_cell_is_ignored_only_if_the_mask_covers_it_wholly() -> None:
    mask = np.zeros((40, 60), np.bool_)
    mask[:, :29] = True
    assert ignored_cells(mask, box=(0, 0, 60, 40), shape=(4, 6)) == ("##....",) * 4


def test_a_mask_is_laid_over_what_the_network_sees_of_the_frame() -> None:
    mask = np.zeros((40, 40), np.bool_)
    mask[10:20, 10:30] = True
    assert ignored_cells(mask, box=(10, 10, 20, 20), shape=(2, 2)) == ("##", "..")


def test_a_mask_over_everything_is_refused() -> None:
    with pytest.raises(DataError, match="nothing would be judged"):
        ignored_cells(np.ones((8, 8), np.bool_), box=(0, 0, 8, 8), shape=(2, 2))
