"""Anomaly maps through Redis: small, readable by anything, and rebuilt to within one step."""

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from model import anomaly_map
from tests.worker.frames import verdict
from worker.errors import ResultError
from worker.heatmap import decode_map, encode_map, severity_map, smooth_map


def grid_of(seed: int, height: int = 28, width: int = 28) -> anomaly_map.Grid:
    return np.random.default_rng(seed).normal(size=(height, width)).astype(np.float32)


@given(st.integers(0, 1000), st.integers(1, 40), st.integers(1, 40))
@settings(deadline=None, max_examples=50)
def test_a_grid_comes_back_to_within_half_a_step(seed: int, height: int, width: int) -> None:
    grid = grid_of(seed, height, width)
    image = encode_map(grid, size=(224, 224), box=(0, 0, 100, 100))
    assert image is not None
    half_step = (image.high - image.low) / 255 / 2
    assert np.abs(decode_map(image) - grid).max() <= half_step + 1e-5


def test_the_smooth_map_is_rebuilt_to_within_half_a_step() -> None:
    grid = grid_of(1)
    image = encode_map(grid, size=(224, 224), box=(0, 0, 300, 200))
    assert image is not None
    rebuilt = smooth_map(verdict().model_copy(update={"map": image}), height=200, width=300)
    exact = anomaly_map.place(anomaly_map.smooth(grid, (224, 224)), box=(0, 0, 300, 200), height=200, width=300)
    assert rebuilt is not None
    assert np.abs(rebuilt - exact).max() <= (image.high - image.low) / 255 / 2 + 1e-5


def test_a_map_is_a_png_of_about_a_kilobyte_that_anything_reads() -> None:
    image = encode_map(grid_of(2), size=(224, 224), box=(0, 0, 1, 1))
    assert image is not None
    assert len(image.png) < 1100
    decoded = cv2.imdecode(np.frombuffer(image.png, np.uint8), cv2.IMREAD_UNCHANGED)
    assert decoded is not None
    assert (decoded.dtype.name, int(decoded.min()), int(decoded.max())) == ("uint8", 0, 255)


def test_a_flat_map_can_be_encoded() -> None:
    image = encode_map(np.full((3, 3), 0.25, np.float32), size=(24, 24), box=(0, 0, 24, 24))
    assert image is not None
    assert (decode_map(image) == 0.25).all()


def test_a_map_that_is_not_finite_is_none() -> None:
    grid = grid_of(3)
    grid[0, 0] = np.nan
    assert encode_map(grid, size=(1, 1), box=(0, 0, 1, 1)) is None


def test_a_damaged_png_is_a_result_error() -> None:
    image = encode_map(grid_of(4), size=(224, 224), box=(0, 0, 1, 1))
    assert image is not None
    for broken in (b"", b"\x89PNG", image.png[:40]):
        with pytest.raises(ResultError):
            decode_map(image.model_copy(update={"png": broken or b"x"}))
    with pytest.raises(ResultError):
        decode_map(image.model_copy(update={"shape": (27, 28)}))


@pytest.mark.parametrize("passed", [True, False])
def test_severity_is_the_line_through_median_and_threshold(passed: bool) -> None:
    grid = np.full((28, 28), 0.125, np.float32)  # the threshold everywhere
    image = encode_map(grid, size=(224, 224), box=(0, 0, 50, 50))
    severity = severity_map(verdict(passed=passed).model_copy(update={"map": image}), height=50, width=50)
    assert severity is not None
    assert severity == pytest.approx(np.ones((50, 50)), abs=1e-5)
