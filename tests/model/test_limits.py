"""`sightline limits`: what a bundle can't see."""

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner, Result

from model.bundle import read_bundle
from model.contract import InputContract
from model.engine import Engine
from model.limits import CONTRASTS, SIZES, Cell, Limits, limits, missed_tiles, with_spot
from model.metrics import Rate
from model.scoring import Scoring
from tests.model.small import CALIBRATION, CONTRACT, is_one_sentence, plates, save_picture, write_small
from worker.cli import app


def sightline(*words: Any) -> Result:
    return CliRunner().invoke(app, [str(word) for word in words])


def with_threshold(out: Path, threshold: float, **changes: Any) -> Path:
    calibration = CALIBRATION.model_copy(update={"threshold": threshold, "median": threshold - 1})
    write_small(out, calibration=calibration, **changes)
    return out


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("good")
    for index, image in enumerate(plates(6)):
        save_picture(root / f"{index}.png", image)
    return root


def highest(bundle: Path) -> float:
    engine = Engine.of(read_bundle(bundle), device="cpu")
    return max(engine.inspect([image])[0].score for image in plates(6))


def test_what_never_fails_is_never_detected_and_each_kind_of_miss_is_shown(good: Path, tmp_path: Path) -> None:
    bundle = with_threshold(tmp_path / "blind", 1e6)
    files = ("--plot", tmp_path / "limits.png", "--missed", tmp_path / "missed.png")
    result = sightline("limits", bundle, good, *files, "--trials", 2, "--device", "cpu", "--json")
    assert result.exit_code == 0, result.stderr
    answer = json.loads(result.stdout)
    assert [cell["detection"] for cell in answer["cells"]] == [0] * len(SIZES) * len(CONTRASTS)
    assert (answer["pictures"], answer["failing"], answer["trials"]) == (6, 0, 2)
    assert cv2.imread(str(tmp_path / "limits.png")) is not None
    sheet = cv2.imread(str(tmp_path / "missed.png"))
    assert sheet is not None
    assert sheet.shape[0] == 5 * 222  # twenty pairs, four in a row


def test_detection_is_judged_as_on_the_line_contract_included(good: Path, tmp_path: Path) -> None:
    """A threshold that nothing reaches, and a contract that allows no brighter picture than the good ones are."""
    narrow = InputContract.of(plates(6)).model_copy(update={"sharpness": None, "contrast": None})
    bright = narrow.brightness
    assert bright is not None
    middle = (bright[0] * bright[1]) ** 0.5
    narrow = narrow.model_copy(update={"brightness": (middle / 1.005, middle * 1.005)})
    bundle = read_bundle(with_threshold(tmp_path / "p", 1e6, contract=narrow))
    found = limits(bundle, plates(6), trials=4, device="cpu")
    detections = {(cell.size, cell.contrast): cell.detection.value for cell in found.cells}
    assert detections[SIZES[0], CONTRASTS[0]] == 0
    assert detections[SIZES[-1], CONTRASTS[-1]] == 1  # 1.7 % of the frame, 40 % brighter: 0.7 of 45 % is 1.5 %


def test_pictures_that_fail_anyway_are_left_out_and_where_all_do_that_is_said(
    good: Path, small_bundle: Path, tmp_path: Path
) -> None:
    just = with_threshold(tmp_path / "just", highest(small_bundle) - 1e-6)
    answer = json.loads(sightline("limits", just, good, "--plot", tmp_path / "a.png", "--trials", 1, "--json").stdout)
    assert (answer["pictures"], answer["failing"]) == (5, 1)
    none = with_threshold(tmp_path / "none", -1e6)
    result = sightline("limits", none, good, "--plot", tmp_path / "a.png", "--device", "cpu")
    assert result.exit_code == 6
    assert is_one_sentence(result.stderr.strip().splitlines()[-1])
    assert "not one of 6 good pictures passes" in result.stderr


def test_the_table_says_from_where_on_defects_are_seen(good: Path, tmp_path: Path) -> None:
    bundle = with_threshold(tmp_path / "blind", 1e6)
    result = sightline("limits", bundle, good, "--plot", tmp_path / "a.png", "--trials", 1, "--device", "cpu")
    assert result.stdout.count("not seen at any size") == len(CONTRASTS)
    assert "1 spots each in 6 pictures" in result.stdout


def test_the_smallest_size_seen_is_that_from_which_on_all_are() -> None:
    found = {0.05: (10, 10, 8, 9, 10), 0.1: (0, 9, 10, 10, 10), 0.2: (10,) * 5, 0.4: (10, 10, 10, 10, 0)}
    cells = [Cell(size, c, Rate(n, 10)) for c, row in found.items() for size, n in zip(SIZES, row, strict=True)]
    seen = [Limits(tuple(cells), 1, 0).smallest(contrast) for contrast in CONTRASTS]
    assert seen == [SIZES[3], SIZES[1], SIZES[0], None]


def test_spots_lie_where_is_judged_alone(tmp_path: Path) -> None:
    ignore = ("#" * 4, "#" * 4, "#" * 4, "###.")
    bundle = read_bundle(with_threshold(tmp_path / "p", 1e6, scoring=Scoring(ignore=ignore), contract=CONTRACT))
    tiles = missed_tiles(bundle, limits(bundle, plates(1), trials=8, device="cpu"))
    for tile in tiles:
        changed = np.argwhere((tile.picture != cv2.cvtColor(plates(1)[0], cv2.COLOR_RGB2BGR)).any(axis=2))
        middle = changed.mean(axis=0) if len(changed) else np.array([39, 47])
        assert middle[0] > 30 - 4
        assert middle[1] > 36 - 4


@settings(deadline=None, max_examples=60)
@given(
    y=st.floats(0, 1), x=st.floats(0, 1), size=st.sampled_from(SIZES), contrast=st.sampled_from(CONTRASTS),
    level=st.integers(0, 255), wide=st.booleans(),
)  # fmt: skip
def test_a_spot_changes_its_disc_by_its_contrast_and_nothing_else(
    y: float, x: float, size: float, contrast: float, level: int, wide: bool
) -> None:
    image = np.full((80, 120, 3), level * 257 if wide else level, np.uint16 if wide else np.uint8)
    spotted = with_spot(image, np.array([y, x]), size=size, contrast=contrast)
    full = 65535 if wide else 255
    change = (spotted.astype(float) - image) / full
    ys, xs = np.mgrid[:80, :120] + 0.5
    away = np.hypot(ys - y * 80, xs - x * 120)
    assert (change[away > size * 40 + 0.5] == 0).all()
    inside = change[away < size * 40 - 0.5]
    np.testing.assert_allclose(inside, -contrast if level > 127 else contrast, atol=0.51 / full)
    assert (spotted.dtype, image.min(), image.max()) == (image.dtype, image[0, 0, 0], image[0, 0, 0])
