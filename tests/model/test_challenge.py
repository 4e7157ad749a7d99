"""`sightline challenge` and `repeatability`: parts one knows."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner, Result

from model.bundle import read_bundle
from model.challenge import LOG
from model.dataset import read_image
from model.engine import Engine
from tests.model.small import edited_copy, is_one_sentence, plates, save_picture
from worker.cli import app


def sightline(*words: object) -> Result:
    return CliRunner().invoke(app, [str(word) for word in words])


def scores(bundle: Path, folder: Path) -> dict[str, float]:
    engine = Engine.of(read_bundle(bundle), device="cpu")
    return {
        path.relative_to(folder).as_posix(): engine.inspect([read_image(path)])[0].score
        for path in folder.rglob("*.png")
    }


def with_threshold(bundle: Path, out: Path, threshold: float) -> Path:
    change = {"threshold": threshold, "median": threshold - 1}
    return edited_copy(bundle, out, lambda manifest: manifest["calibration"].update(change))


@pytest.fixture
def masters(tmp_path: Path) -> Path:
    for index, image in enumerate(plates(4)):
        save_picture(tmp_path / "masters" / ("dent" if index % 2 else "good") / f"{index}.png", image)
    return tmp_path / "masters"


@pytest.fixture
def told_apart(small_bundle: Path, masters: Path, tmp_path: Path) -> tuple[Path, Path]:
    """A bundle and master parts sorted so that its threshold lies between the good and the bad ones."""
    ordered = sorted(scores(small_bundle, masters).items(), key=lambda item: item[1])
    for place, (name, _) in enumerate(ordered):
        (masters / name).rename(masters / ("good" if place < 2 else "dent") / f"sorted_{place}.png")
    middle = (ordered[1][1] + ordered[2][1]) / 2
    return with_threshold(small_bundle, tmp_path / "plate", middle), masters


def test_a_challenge_is_held_if_good_ones_pass_and_bad_ones_fail(told_apart: tuple[Path, Path]) -> None:
    result = sightline("challenge", *told_apart, "--device", "cpu")
    assert result.exit_code == 0, result.output
    assert "the challenge is held" in result.stdout


@pytest.mark.parametrize(("threshold", "wrong"), [(99.0, "dent"), (-99.0, "good")])
def test_a_challenge_is_lost_if_one_part_is_judged_wrong(
    small_bundle: Path, masters: Path, tmp_path: Path, threshold: float, wrong: str
) -> None:
    bundle = with_threshold(small_bundle, tmp_path / "plate", threshold)
    result = sightline("challenge", bundle, masters, "--device", "cpu", "--json")
    assert result.exit_code == 1
    found = json.loads(result.stdout)
    assert not found["held"]
    assert {part["name"].split("/")[0] for part in found["parts"] if not part["right"]} == {wrong}


def test_severities_are_shown_beside_those_of_last_time(told_apart: tuple[Path, Path]) -> None:
    first, second = (json.loads(sightline("challenge", *told_apart, "--json").stdout) for _ in range(2))
    assert [part["before"] for part in first["parts"]] == [None] * 4
    assert [part["before"] for part in second["parts"]] == [part["severity"] for part in first["parts"]]
    assert len((told_apart[1] / LOG).read_text().splitlines()) == 2


def test_a_known_bad_part_that_breaks_the_contract_fails_as_on_the_line(told_apart: tuple[Path, Path]) -> None:
    save_picture(told_apart[1] / "dent" / "grey.png", plates(1)[0][:, :, 0])
    assert sightline("challenge", *told_apart).exit_code == 0
    save_picture(told_apart[1] / "good" / "grey.png", plates(1)[0][:, :, 0])
    assert sightline("challenge", *told_apart).exit_code == 1


def test_a_known_bad_part_that_can_not_be_read_proves_nothing(told_apart: tuple[Path, Path]) -> None:
    (told_apart[1] / "dent" / "torn.png").write_bytes(b"torn")
    result = sightline("challenge", *told_apart)
    assert result.exit_code == 1
    assert "can't be read" in result.stdout


def refusal(*words: Any) -> str:
    result = sightline(*words, "--device", "cpu")
    assert result.exit_code == 6, result.output
    last = result.stderr.strip().splitlines()[-1]
    assert is_one_sentence(last)
    return last


def test_a_challenge_without_a_known_bad_part_is_refused(small_bundle: Path, tmp_path: Path) -> None:
    save_picture(tmp_path / "masters" / "good" / "1.png", plates(1)[0])
    assert "no known-bad part" in refusal("challenge", small_bundle, tmp_path / "masters")
    assert "no known-bad part" in refusal("challenge", small_bundle, tmp_path / "nowhere")


def test_a_log_that_is_something_else_is_left_alone(told_apart: tuple[Path, Path], tmp_path: Path) -> None:
    other = tmp_path / "notes.txt"
    other.write_text("do not touch")
    assert "notes.txt" in refusal("challenge", *told_apart, "--log", other)
    assert other.read_text() == "do not touch"
    assert "can't be written" in refusal("challenge", *told_apart, "--log", tmp_path / "nowhere" / "log.jsonl")


def test_repeatability_is_six_deviations_over_the_margin(small_bundle: Path, tmp_path: Path) -> None:
    for index, image in enumerate(plates(5)):
        save_picture(tmp_path / "same" / f"{index}.png", image)
    found = json.loads(sightline("repeatability", small_bundle, tmp_path / "same", "--json").stdout)
    expected = list(scores(small_bundle, tmp_path / "same").values())
    assert sorted(found["scores"]) == sorted(expected)
    margin = abs(found["threshold"] - np.mean(expected))
    assert found["share"] == pytest.approx(6 * np.std(expected, ddof=1) / margin)


@pytest.mark.parametrize(("shift", "code"), [(99.0, 0), (0.0, 1), (-99.0, 0)])
def test_repeatability_says_no_if_decisions_are_not_alike(
    small_bundle: Path, tmp_path: Path, shift: float, code: int
) -> None:
    for index, image in enumerate(plates(4)):
        save_picture(tmp_path / "same" / f"{index}.png", image)
    ordered = sorted(scores(small_bundle, tmp_path / "same").values())
    bundle = with_threshold(small_bundle, tmp_path / "plate", (ordered[1] + ordered[2]) / 2 + shift)
    result = sightline("repeatability", bundle, tmp_path / "same", "--device", "cpu")
    assert result.exit_code == code
    assert "of the margin" in result.stdout


def test_repeatability_of_one_picture_or_of_a_torn_one_is_refused(small_bundle: Path, tmp_path: Path) -> None:
    save_picture(tmp_path / "same" / "1.png", plates(1)[0])
    assert "at least twice" in refusal("repeatability", small_bundle, tmp_path / "same")
    (tmp_path / "same" / "2.png").write_bytes(b"torn")
    assert "2.png" in refusal("repeatability", small_bundle, tmp_path / "same")
