"""`sightline suspects`: bad parts among the good ones stand out before anything learns from them."""

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner, Result

from model import dataset
from model.plan import Plan
from model.suspects import OUTLYING, modified_z_scores, suspects
from tests.model.small import is_one_sentence, plates, save_picture
from worker.cli import app

QUICK = ("--size", 32, "--steps", 2, "--folds", 3, "--device", "cpu")


def sightline(*words: Any) -> Result:
    return CliRunner().invoke(app, [str(word) for word in words])


@pytest.fixture(scope="module")
def parts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """28 good plates, and one with a hole that somebody took for good."""
    root = tmp_path_factory.mktemp("suspects")
    *good, bad = plates(29)
    for index, image in enumerate(good):
        save_picture(root / f"{index:02}.png", image)
    bad[10:24, 12:30] = 20
    save_picture(root / "bad.png", bad)
    return root


@pytest.fixture(scope="module")
def found(parts: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Result, Path]:
    sheet = tmp_path_factory.mktemp("sheet") / "suspects.png"
    return sightline("suspects", parts, "--sheet", sheet, "--json", *QUICK), sheet


def test_a_bad_part_stands_out_before_all_others(parts: Path) -> None:
    images = dataset.read_each(dataset.pictures(parts), lambda error: pytest.fail(str(error)))
    plan = Plan.of({"size": "32", "steps": 80, "hidden": 64})
    ranked = suspects(list(images), list(images.values()), plan, folds=3, device="cpu")
    assert ranked[0].path.name == "bad.png"
    assert ranked[0].outlying
    assert ranked[0].z > 2 * ranked[1].z
    assert sorted(one.path for one in ranked) == sorted(images)


def test_every_picture_is_listed_once_and_the_most_outlying_come_first(found: tuple[Result, Path], parts: Path) -> None:
    answer = json.loads(found[0].stdout)
    assert sorted(one["image"] for one in answer["pictures"]) == sorted(str(path) for path in parts.iterdir())
    values = [one["z"] for one in answer["pictures"]]
    assert values == sorted(values, reverse=True)
    assert answer["outlying"] == sum(value > OUTLYING for value in values)


def test_the_answer_is_no_exactly_where_a_picture_stands_out_and_a_sheet_shows_it(found: tuple[Result, Path]) -> None:
    result, sheet = found
    assert result.exit_code == int(json.loads(result.stdout)["outlying"] > 0)
    picture = cv2.imread(str(sheet))
    assert picture is not None
    assert picture.std() > 10


def test_pictures_that_are_all_alike_are_no_suspects(tmp_path: Path) -> None:
    for index in range(9):
        save_picture(tmp_path / "same" / f"{index}.png", plates(1)[0])
    sheet = tmp_path / "sheet.png"
    result = sightline("suspects", tmp_path / "same", "--sheet", sheet, *QUICK)
    assert (result.exit_code, sheet.is_file()) == (0, True)
    assert "0 of 9 pictures stand out" in result.stdout


def test_an_unreadable_picture_is_named_and_skipped(tmp_path: Path) -> None:
    for index, image in enumerate(plates(9)):
        save_picture(tmp_path / "some" / f"{index}.png", image)
    (tmp_path / "some" / "torn.png").write_bytes(b"torn")
    result = sightline("suspects", tmp_path / "some", "--sheet", tmp_path / "sheet.png", *QUICK)
    assert "torn.png" in result.stderr
    assert "of 9 pictures" in result.stdout


def test_too_few_pictures_for_the_folds_are_refused(tmp_path: Path) -> None:
    for index, image in enumerate(plates(8)):
        save_picture(tmp_path / f"{index}.png", image)
    result = sightline("suspects", tmp_path, "--folds", 3, "--device", "cpu")
    assert result.exit_code == 6
    last = result.stderr.strip().splitlines()[-1]
    assert "8 readable picture(s) can't be dealt into 3 folds" in last
    assert is_one_sentence(last)


def test_a_sheet_that_can_not_be_written_is_said(parts: Path, tmp_path: Path) -> None:
    result = sightline("suspects", parts, "--sheet", tmp_path / "nowhere" / "sheet.png", *QUICK)
    assert result.exit_code == 6
    assert "sheet.png can't be written" in result.stderr


@settings(deadline=None, max_examples=100)
@given(st.lists(st.floats(-100, 100), min_size=3, max_size=40), st.floats(-5, 5), st.floats(0.1, 10))
def test_z_scores_do_not_depend_on_a_fold_s_own_scale(scores: list[float], shift: float, scale: float) -> None:
    plain = np.round(np.array(scores), 3)
    expected, *_ = modified_z_scores(plain)
    np.testing.assert_allclose(modified_z_scores(plain * scale + shift)[0], expected, rtol=1e-4, atol=1e-4)


def test_a_z_score_is_the_distance_to_the_median_in_deviations() -> None:
    normal = np.random.default_rng(0).normal(5, 2, 100_001)
    z, median, unit = modified_z_scores(normal)
    assert median == pytest.approx(5, abs=0.05)
    assert unit == pytest.approx(2, abs=0.05)
    assert z.std() == pytest.approx(1, abs=0.02)


def test_where_most_scores_are_alike_the_mean_deviation_counts_and_where_all_are_nothing_does() -> None:
    z, _, unit = modified_z_scores(np.array([0.0] * 9 + [10.0]))
    assert unit == pytest.approx(1.253314)
    assert z[-1] == pytest.approx(10 / 1.253314)
    assert modified_z_scores(np.full(5, 3.0))[0].tolist() == [0] * 5
