"""`sightline calibrate`: a threshold anew, and everything else as it was."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner, Result

from model.bundle import TRAINING, WEIGHTS, read_bundle
from model.dataset import good_pictures, read_image
from model.engine import Engine
from model.threshold import digest
from tests.model.small import contents, is_one_sentence, plates, save_picture
from worker.cli import app


def sightline(*words: object) -> Result:
    return CliRunner().invoke(app, [str(word) for word in words])


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle and the folder it has learned from."""
    root = tmp_path_factory.mktemp("trained")
    for index, image in enumerate(plates(12)):
        save_picture(root / "data" / "train" / "good" / f"{index:02}.png", image)
    arguments = ("--steps", 2, "--size", "32", "--hidden", 16, "--device", "cpu")
    assert sightline("train", root / "data", "--out", root / "plate", *arguments).exit_code == 0
    return root


@pytest.fixture
def bundle(trained: Path, tmp_path: Path) -> Path:
    """A copy of the bundle that a test may change."""
    copy = tmp_path / "plate"
    copy.mkdir()
    for path in (trained / "plate").iterdir():
        (copy / path.name).write_bytes(path.read_bytes())
    return copy


@pytest.fixture
def fresh(tmp_path: Path) -> Path:
    """Thirty good pictures that nobody has learned from."""
    for index, image in enumerate(plates(30, seed=5)):
        save_picture(tmp_path / "fresh" / "train" / "good" / f"{index:02}.png", image)
    return tmp_path / "fresh"


def scores(bundle: Path, data: Path) -> list[float]:
    engine = Engine.of(read_bundle(bundle), device="cpu")
    return sorted(engine.inspect([read_image(path)])[0].score for path in good_pictures(data))


def test_the_threshold_is_the_rank_of_the_fresh_pictures_scores(bundle: Path, fresh: Path) -> None:
    before = read_bundle(bundle)
    result = sightline("calibrate", bundle, fresh, "--false-reject", 0.1, "--device", "cpu")
    assert result.exit_code == 0, result.stderr
    after = read_bundle(bundle)
    assert after.manifest.calibration.threshold == scores(bundle, fresh)[27]  # ceil(31 * 0.9) = 28
    assert (after.manifest.calibration.images, after.manifest.calibration.rank) == (30, 28)
    assert after.digest != before.digest
    kept = {"calibration": before.manifest.calibration, "modes": before.manifest.modes}
    assert after.manifest.model_copy(update=kept) == before.manifest


def test_the_weights_and_the_record_of_the_training_stay(bundle: Path, fresh: Path) -> None:
    before = contents(bundle)
    assert sightline("calibrate", bundle, fresh, "--device", "cpu").exit_code == 0
    after = contents(bundle)
    assert before.keys() == after.keys()
    assert {name for name in before if before[name] != after[name]} == {"manifest.json", "scores.png"}
    assert WEIGHTS in before
    assert len(json.loads((bundle / TRAINING).read_text())["learned_from"]) == 10


def test_pictures_the_network_has_learned_from_are_left_out_and_counted(
    bundle: Path, trained: Path, fresh: Path
) -> None:
    for path in good_pictures(trained / "data"):
        (fresh / "train" / "good" / f"old_{path.name}").write_bytes(path.read_bytes())
    result = sightline("calibrate", bundle, fresh, "--device", "cpu")
    assert "left out 10 picture(s)" in result.stderr
    assert read_bundle(bundle).manifest.calibration.images == 32  # thirty fresh ones, two that were held out


def test_a_mask_and_a_score_rule_become_the_bundle_s(bundle: Path, fresh: Path, tmp_path: Path) -> None:
    mask = np.zeros((40, 48), np.uint8)
    mask[:21] = 255
    path = save_picture(tmp_path / "mask.png", mask)
    arguments = ("--ignore", path, "--min-area", 2, "--top-k", 3, "--device", "cpu")
    assert sightline("calibrate", bundle, fresh, *arguments).exit_code == 0
    scoring = read_bundle(bundle).manifest.scoring
    assert (scoring.ignore, scoring.min_area, scoring.top_k) == (("####", "####", "....", "...."), 2, 3)
    (found,) = Engine.of(read_bundle(bundle), device="cpu").inspect(plates(1))
    assert len(np.unique(found.grid[:2])) == 1


@pytest.mark.parametrize(
    ("arguments", "named", "code"),
    [
        (("--false-reject", "0.001"), "0.03226", 6),
        (("--false-reject", "2"), "2", 6),
        (("--ignore", "nowhere.png"), "nowhere.png", 6),
        (("--device", "banana"), "banana", 6),
    ],
)
def test_what_can_not_be_kept_is_refused_and_the_bundle_stays_as_it_was(
    bundle: Path, fresh: Path, arguments: tuple[Any, ...], named: str, code: int
) -> None:
    before = contents(bundle)
    result = sightline("calibrate", bundle, fresh, *arguments)
    assert result.exit_code == code
    assert named in result.stderr
    assert is_one_sentence(result.stderr.strip().splitlines()[-1])
    assert contents(bundle) == before


def test_pictures_of_another_kind_are_skipped_by_name(bundle: Path, fresh: Path) -> None:
    save_picture(fresh / "train" / "good" / "grey.png", plates(1)[0][:, :, 0])
    result = sightline("calibrate", bundle, fresh, "--device", "cpu")
    assert result.exit_code == 0
    assert "grey.png" in result.stderr
    assert read_bundle(bundle).manifest.calibration.images == 30


def test_learned_pictures_alone_set_no_threshold(bundle: Path, trained: Path, tmp_path: Path) -> None:
    """Of the twelve, two were held out: they may set one again, the ten others never."""
    learned = set(json.loads((bundle / TRAINING).read_text())["learned_from"])
    from model.threshold import digest

    for path in good_pictures(trained / "data"):
        if digest(read_image(path)) in learned:
            save_picture(tmp_path / "old" / "train" / "good" / path.name, read_image(path))
    result = sightline("calibrate", bundle, tmp_path / "old", "--device", "cpu")
    assert result.exit_code == 6
    assert "not one picture" in result.stderr


def test_a_good_picture_that_looks_too_different_counts_as_rejected_and_is_said(bundle: Path, fresh: Path) -> None:
    dark = fresh / "train" / "good" / "99.png"
    save_picture(dark, plates(1)[0] // 2)
    result = sightline("calibrate", bundle, fresh, "--false-reject", 0.1, "--device", "cpu")
    assert result.exit_code == 0, result.stderr
    assert "rejected whatever the threshold: picture's brightness" in result.stderr
    dark.unlink()
    calibration = read_bundle(bundle).manifest.calibration
    assert (calibration.images, calibration.rank) == (31, 29)
    assert calibration.threshold == scores(bundle, fresh)[28]


def test_a_training_keeps_lots_together(tmp_path: Path) -> None:
    """Five lots of three, the pictures of a lot told apart by their digests: none is on both sides."""
    images, rows = plates(15), ["path,lot"]
    for index, image in enumerate(images):
        save_picture(tmp_path / f"{index:02}.png", image)
        rows.append(f"{index:02}.png,lot{index % 5}")
    (tmp_path / "parts.csv").write_text("\n".join(rows))
    arguments = ("--steps", 2, "--size", "32", "--hidden", 16, "--device", "cpu")
    assert sightline("train", tmp_path / "parts.csv", "--out", tmp_path / "b" / "plate", *arguments).exit_code == 0
    learned = set(json.loads((tmp_path / "b" / "plate" / TRAINING).read_text())["learned_from"])
    by_lot = [{digest(image) in learned for image in images[lot::5]} for lot in range(5)]
    assert sorted(map(len, by_lot)) == [1] * 5
    assert by_lot.count({False}) == 1
