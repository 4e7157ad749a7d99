"""`sightline train`, `evaluate` and `inspect`, as a person or a script meets them."""

import hashlib
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load, save
from typer.testing import CliRunner, Result

from model.bundle import MANIFEST, WEIGHTS, read_bundle
from model.dataset import read_image
from model.engine import Engine
from tests.model.small import contents, edited_copy, is_one_sentence, plates, save_picture
from worker.cli import app

ROOT = Path(__file__).parent.parent.parent
QUICK = ("--steps", "1", "--device", "cpu")


def sightline(*words: object) -> Result:
    return CliRunner().invoke(app, [str(word) for word in words])


def complaint(result: Result, code: int | tuple[int, ...]) -> str:
    """What a refused command says: one sentence at the end of standard error, and a named exit code."""
    assert result.exception is None or isinstance(result.exception, SystemExit), repr(result.exception)
    assert result.exit_code in (code if isinstance(code, tuple) else (code,))
    last = result.stderr.strip().splitlines()[-1]
    assert last.startswith("sightline ")
    assert is_one_sentence(last)
    return last


@pytest.fixture
def good(tmp_path: Path) -> Path:
    """A folder with twelve good pictures to train from."""
    for index, image in enumerate(plates(12)):
        save_picture(tmp_path / "data" / "train" / "good" / f"{index:02}.png", image)
    return tmp_path / "data"


@pytest.fixture
def labelled(tmp_path: Path) -> Path:
    """Two good and two bad pictures to judge."""
    for index, image in enumerate(plates(4)):
        save_picture(tmp_path / "labelled" / "test" / ("hole" if index % 2 else "good") / f"{index}.png", image)
    return tmp_path / "labelled"


def with_threshold(bundle: Path, out: Path, threshold: float) -> Path:
    change = {"threshold": threshold, "median": threshold - 1}
    return edited_copy(bundle, out, lambda manifest: manifest["calibration"].update(change))


@pytest.fixture
def lenient(small_bundle: Path, tmp_path: Path) -> Path:
    return with_threshold(small_bundle, tmp_path / "lenient", 1e6)


@pytest.fixture
def strict(small_bundle: Path, tmp_path: Path) -> Path:
    return with_threshold(small_bundle, tmp_path / "strict", -1e6)


@pytest.fixture
def not_finite(small_bundle: Path, tmp_path: Path) -> Path:
    """A bundle whose digest is right and whose weights are NaN."""
    tensors = load((small_bundle / WEIGHTS).read_bytes())
    content = save({**tensors, "head.adaptor.layers.0.weight": torch.full((384, 384), torch.nan)})
    digest = hashlib.sha256(content).hexdigest()
    out = edited_copy(small_bundle, tmp_path / "nan", lambda manifest: manifest.update(weights_sha256=digest))
    (out / WEIGHTS).unlink()
    (out / WEIGHTS).write_bytes(content)
    return out


def test_training_writes_a_bundle_that_says_how_it_was_made(good: Path, tmp_path: Path) -> None:
    result = sightline("train", good, "--out", tmp_path / "plate", "--seed", "3", *QUICK)
    assert result.exit_code == 0, result.stderr
    assert result.stdout == ""
    manifest = read_bundle(tmp_path / "plate").manifest
    assert (manifest.name, manifest.calibration.images) == ("plate", 2)
    assert (manifest.contract.height, manifest.contract.width) == ((40, 40), (48, 48))
    for key, value in {"seed": 3, "steps": 1, "good_pictures": 12, "skipped": 0, "preset": None}.items():
        assert manifest.provenance[key] == value
    assert "33.3%" in result.stderr  # the smallest possible rate of two held-out pictures, said aloud
    assert read_bundle(tmp_path / "plate").label in result.stderr


def test_an_unreadable_good_picture_is_named_skipped_and_counted(good: Path, tmp_path: Path) -> None:
    (good / "train" / "good" / "broken.png").write_bytes(b"not a picture")
    (good / "train" / "good" / "folder.png").mkdir()
    result = sightline("train", good, "--out", tmp_path / "plate", *QUICK)
    assert result.exit_code == 0, result.stderr
    skipped = [line for line in result.stderr.splitlines() if line.startswith("skipped: ")]
    assert ["broken.png" in skipped[0], "folder.png" in skipped[1]] == [True, True]
    assert "(2 skipped)" in result.stderr
    assert read_bundle(tmp_path / "plate").manifest.provenance["skipped"] == 2


def test_a_picture_s_name_is_printed_whole_whatever_brackets_it_has(good: Path, tmp_path: Path) -> None:
    (good / "train" / "good" / "part[red].png").write_bytes(b"")
    result = sightline("train", good, "--out", tmp_path / "plate", *QUICK)
    assert result.exit_code == 0, repr(result.exception)
    assert "part[red].png" in result.stderr


def test_a_folder_without_good_pictures_is_named_and_no_bundle_is_left(tmp_path: Path) -> None:
    last = complaint(sightline("train", tmp_path, "--out", tmp_path / "plate", *QUICK), 6)
    assert str(tmp_path / "train" / "good") in last
    assert list(tmp_path.iterdir()) == []


def test_somebody_s_folder_is_refused_before_anything_is_trained(good: Path) -> None:
    before = contents(good)
    assert str(good) in complaint(sightline("train", good, "--out", good, *QUICK), 3)
    assert contents(good) == before


@pytest.mark.parametrize(
    ("flags", "named"),
    [
        (("--preset", "patchcore"), "patchcore"),
        (("--backbone", "resnet19"), "resnet19"),
        (("--weights", "nowhere.pth"), "nowhere.pth"),
        (("--false-reject", "0.001"), "0.3333"),
        (("--false-reject", "nan"), "nan"),
        (("--false-reject", "1.5"), "1.5"),
        (("--device", "banana"), "banana"),
    ],
)
def test_a_flag_that_cannot_be_kept_is_refused_and_no_bundle_is_left(
    good: Path, tmp_path: Path, flags: tuple[str, ...], named: str
) -> None:
    result = sightline("train", good, "--out", tmp_path / "plate", *QUICK, *flags)
    assert named in complaint(result, (2, 6))
    assert not (tmp_path / "plate").exists()


@pytest.mark.parametrize("flag", ["sigma", "steps"])
def test_a_flag_that_the_paper_s_preset_would_override_is_refused_before_anything_else(
    tmp_path: Path, flag: str
) -> None:
    save_picture(tmp_path / "train" / "good" / "only.png", plates(1)[0])  # too few: nothing is trained either way
    result = sightline("train", tmp_path, "--out", tmp_path / "plate", "--preset", "paper", f"--{flag}", "1")
    assert f"--{flag}" in complaint(result, (2, 6))


def test_good_pictures_of_mixed_kinds_are_refused_and_no_bundle_is_left(good: Path, tmp_path: Path) -> None:
    save_picture(good / "train" / "good" / "grey.png", plates(1)[0][:, :, 0])
    last = complaint(sightline("train", good, "--out", tmp_path / "plate", *QUICK), 6)
    assert "1 channel(s) of uint8" in last
    assert not (tmp_path / "plate").exists()


def test_a_failed_training_leaves_the_old_bundle_in_place(good: Path, lenient: Path) -> None:
    before = contents(lenient)
    complaint(sightline("train", good, "--out", lenient, *QUICK, "--false-reject", "0.001"), 6)
    assert contents(lenient) == before


@pytest.mark.parametrize(
    "words", [("evaluate", "{bundle}", "{data}"), ("inspect", "{bundle}", "{data}/test/good/0.png")]
)
def test_a_damaged_bundle_ends_every_command_with_3(
    small_bundle: Path, labelled: Path, tmp_path: Path, words: tuple[str, ...]
) -> None:
    bad = edited_copy(small_bundle, tmp_path / "bad", lambda manifest: manifest.update(weights_sha256="0" * 64))
    result = sightline(*(word.format(bundle=bad, data=labelled) for word in words))
    assert "sha256" in complaint(result, 3)
    assert result.stdout == ""
    missing = sightline(*(word.format(bundle=tmp_path / "none", data=labelled) for word in words))
    assert MANIFEST in complaint(missing, 3)


def test_inspect_ends_with_0_where_all_pass_1_where_one_fails_and_6_where_one_cannot_be_judged(
    lenient: Path, strict: Path, labelled: Path, tmp_path: Path
) -> None:
    pictures = sorted(labelled.rglob("*.png"))
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"")
    assert sightline("inspect", lenient, *pictures).exit_code == 0
    assert sightline("inspect", strict, *pictures).exit_code == 1
    assert sightline("inspect", lenient, *pictures, broken).exit_code == 6
    assert sightline("inspect", strict, broken, *pictures).exit_code == 6


def inspected(*words: object) -> dict[str, Any]:
    result = sightline("inspect", *words, "--json")
    answer: dict[str, Any] = json.loads(result.stdout, parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))
    return answer


def test_inspect_json_is_one_object_with_a_decision_for_each_picture(lenient: Path, tmp_path: Path) -> None:
    (image,) = plates(1)
    path = save_picture(tmp_path / "a.png", image)
    tall = save_picture(tmp_path / "tall.png", plates(1, height=90)[0])
    bundle = read_bundle(lenient)
    answer = inspected(lenient, path, tall, tmp_path / "none.png", "--device", "cpu")
    assert (answer["model"], answer["threshold"]) == (bundle.label, 1e6)
    first, second, third = answer["results"]
    assert (first["image"], first["decision"], first["reason"]) == (str(path), "pass", "ok")
    assert first["score"] == Engine.of(bundle, device="cpu").inspect([image])[0].score
    assert [second["decision"], second["reason"]] == [third["decision"], third["reason"]] == ["fail", "bad_frame"]
    assert "90 pixels high" in second["note"]
    assert is_one_sentence(third["note"])


def test_inspect_writes_a_heat_map_for_each_picture_it_could_judge(
    lenient: Path, labelled: Path, tmp_path: Path
) -> None:
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"")
    sightline("inspect", lenient, *sorted(labelled.rglob("*.png")), broken, "--maps", tmp_path / "maps")
    names = sorted(path.name for path in (tmp_path / "maps").iterdir())
    assert names == ["0001_good_0.png", "0002_good_2.png", "0003_hole_1.png", "0004_hole_3.png"]
    assert all(read_image(tmp_path / "maps" / name).shape == (40, 48, 3) for name in names)


def test_heat_maps_of_pictures_with_one_name_do_not_overwrite_each_other(lenient: Path, tmp_path: Path) -> None:
    paths = [save_picture(tmp_path / where / "good" / "0.png", plates(1)[0]) for where in ("monday", "tuesday")]
    sightline("inspect", lenient, *paths, "--maps", tmp_path / "maps")
    assert len(list((tmp_path / "maps").iterdir())) == 2


def test_heat_maps_that_cannot_be_written_end_inspect_with_a_sentence(lenient: Path, labelled: Path) -> None:
    picture = labelled / "test" / "good" / "0.png"
    complaint(sightline("inspect", lenient, picture, "--maps", picture), (2, 6))


def test_inspect_prints_a_picture_s_name_whole_whatever_brackets_it_has(lenient: Path, tmp_path: Path) -> None:
    path = save_picture(tmp_path / "lot[a" / "b]" / "part[red].png", plates(1)[0])
    closing = save_picture(tmp_path / "lot[" / "b].png", plates(1)[0])
    assert str(path) in sightline("inspect", lenient, path).stdout
    assert str(closing) in sightline("inspect", lenient, closing).stdout


def test_a_score_that_is_not_finite_fails_and_its_json_is_still_json(not_finite: Path, tmp_path: Path) -> None:
    path = save_picture(tmp_path / "a.png", plates(1)[0])
    result = sightline("inspect", not_finite, path)
    assert result.exit_code != 0
    assert result.exception is None or isinstance(result.exception, SystemExit)
    (found,) = inspected(not_finite, path)["results"]
    assert found["decision"] == "fail"


def test_heat_maps_of_scores_that_are_not_finite_are_no_crash(not_finite: Path, tmp_path: Path) -> None:
    path = save_picture(tmp_path / "a.png", plates(1)[0])
    result = sightline("inspect", not_finite, path, "--maps", tmp_path / "maps")
    assert result.exception is None or isinstance(result.exception, SystemExit), repr(result.exception)
    assert result.exit_code != 0


def test_evaluate_json_prints_exactly_one_object_on_standard_output(lenient: Path, labelled: Path) -> None:
    (labelled / "test" / "good" / "broken.png").write_bytes(b"")
    result = sightline("evaluate", lenient, labelled, "--json")
    assert result.exit_code == 0, result.stderr
    found = json.loads(result.stdout)
    assert result.stdout.count("\n") == 1
    assert (found["good"], found["bad"], found["false_reject_rate"], found["miss_rate"]) == (2, 2, 0.0, 1.0)
    assert sorted(found["scores"]) == [f"test/{name}.png" for name in ("good/0", "good/2", "hole/1", "hole/3")]
    assert len(found["skipped"]) == 1
    assert "broken.png" in result.stderr


def test_evaluate_json_of_scores_that_are_not_finite_is_still_json(not_finite: Path, labelled: Path) -> None:
    result = sightline("evaluate", not_finite, labelled, "--json")
    assert result.exception is None or isinstance(result.exception, SystemExit), repr(result.exception)
    json.loads(result.stdout, parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))


def test_evaluate_prints_a_table_for_people(strict: Path, labelled: Path) -> None:
    result = sightline("evaluate", strict, labelled)
    assert result.exit_code == 0
    for words in ("image AUROC", "false reject rate", "100.0% (2 of 2;", "2 good, 2 bad"):
        assert words in " ".join(result.stdout.split())


def test_evaluate_without_test_pictures_ends_with_6(lenient: Path, tmp_path: Path) -> None:
    assert str(tmp_path) in complaint(sightline("evaluate", lenient, tmp_path), 6)


def test_a_real_process_ends_with_its_exit_code_and_clean_streams(small_bundle: Path, tmp_path: Path) -> None:
    """What the runner above cannot show: the command itself, as a script calls it."""
    path = save_picture(tmp_path / "grey.png", np.full((40, 48), 120, np.uint16))
    words = ["inspect", str(small_bundle), str(path), "--json", "--device", "cpu"]
    command = [sys.executable, "-W", "error", "-m", "worker.cli", *words]
    answer = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert (answer.returncode, answer.stderr) == (6, "")
    assert json.loads(answer.stdout)["results"][0]["reason"] == "bad_frame"
