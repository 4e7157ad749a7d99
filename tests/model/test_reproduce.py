"""The paper's tables on tiny data: what is stored, what is taken up again, what stands beside what."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner, Result

from model.backbone import build_backbone
from model.errors import DataError
from model.reproduce import figures, grid, novelty, paper, tables
from model.reproduce.grid import Grid, Trial, judged
from model.reproduce.outcome import IMAGE, PIXEL, Row, Spread, mean_of
from model.reproduce.store import Store
from model.reproduce.study import Study, Training, Variant, training_of
from model.reproduce.trial import categories
from tests.model.small import is_one_sentence, plates, save_picture
from worker.cli import app

ENGINE_TOLERANCE = 1e-5


def category(root: Path, *, seed: int = 0) -> Path:
    """A category in MVTec layout: four good pictures, and a test of two good and two with a dark hole."""
    for index, image in enumerate(plates(4, seed=seed)):
        save_picture(root / "train" / "good" / f"{index}.png", image)
    for index, image in enumerate(plates(2, seed=seed + 1)):
        save_picture(root / "test" / "good" / f"{index}.png", image)
        mask = np.zeros(image.shape[:2], np.uint8)
        mask[10:26, 12:30] = 255
        holed = np.where(mask[:, :, None] > 0, 5, image).astype(np.uint8)
        save_picture(root / "test" / "hole" / f"{index}.png", holed)
        save_picture(root / "ground_truth" / "hole" / f"{index}_mask.png", mask)
    return root


@pytest.fixture(scope="module")
def bottle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return category(tmp_path_factory.mktemp("mvtec") / "bottle")


def make_small(monkeypatch: pytest.MonkeyPatch) -> None:
    """From here on every cell has a narrow discriminator and draws few positions."""

    def small(*args: Any, **kwargs: Any) -> Training:
        training = training_of(*args, **kwargs)
        architecture = training.architecture.model_copy(update={"hidden": 16})
        return replace(training, architecture=architecture, settings=replace(training.settings, positions=64))

    for module in (grid, novelty):
        monkeypatch.setattr(module, "training_of", small)


def a_study(data: Path, out: Path, **changes: Any) -> Study:
    given: dict[str, Any] = {"recipe": "ours", "weights": "random", "steps": 2, "size": 32, "device": "cpu"}
    return Study(data=data, out=out, **{**given, **changes})


def reproduce(table: str, *words: object) -> Result:
    quick = ("--recipe", "ours", "--weights", "random", "--steps", "2", "--size", "32", "--device", "cpu")
    return CliRunner().invoke(app, ["reproduce", table, *quick, *(str(word) for word in words)])


def complaint(result: Result, code: int) -> str:
    assert result.exit_code == code, result.output
    last = result.stderr.strip().splitlines()[-1]
    assert is_one_sentence(last)
    return last


@pytest.fixture(autouse=True)
def small_heads(monkeypatch: pytest.MonkeyPatch) -> None:
    """Heads that train in no time."""
    make_small(monkeypatch)


@pytest.fixture
def trained(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The seeds of every head that is trained from here on."""
    seeds: list[str] = []

    def watched(trial: Trial) -> dict[str, Any]:
        seeds.append(f"{trial.training.architecture.adaptor} {trial.training.settings.seed}")
        return judged(trial)

    monkeypatch.setattr(tables, "judged", watched)
    return seeds


def test_table1_puts_ours_beside_the_papers_figures_of_the_same_category(bottle: Path, tmp_path: Path) -> None:
    result = reproduce("table1", "--data", bottle, "--out", tmp_path, "--seeds", 2, "--json")
    assert result.exit_code == 0, result.output
    row, mean = json.loads(result.stdout)["rows"]
    assert row["label"] == "bottle"
    assert (row["figures"][IMAGE]["paper"], row["figures"][PIXEL]["paper"]) == (100.0, 98.0)
    assert len(row["figures"][IMAGE]["by_seed"]) == 2
    assert row["figures"][PIXEL]["mean"] == pytest.approx(np.mean(row["figures"][PIXEL]["by_seed"]))
    assert row["figures"][PIXEL]["standard_deviation"] == pytest.approx(
        np.std(row["figures"][PIXEL]["by_seed"], ddof=1)
    )
    assert mean["label"] == "mean of 1"


def test_every_category_of_a_folder_has_a_row_and_one_unknown_to_the_paper_a_dash(tmp_path: Path) -> None:
    for name in ("screw", "own_part"):
        category(tmp_path / "data" / name)
    (tmp_path / "data" / "notes").mkdir()
    result = reproduce("table1", "--data", tmp_path / "data", "--out", tmp_path / "out")
    lines = {line.split()[1]: line for line in result.stdout.splitlines() if line.startswith("│ ")}
    assert [name for name in lines if name in ("own_part", "screw", "notes")] == ["own_part", "screw"]
    assert lines["own_part"].split("│")[3].strip() == "-"
    assert lines["screw"].split("│")[3].strip() == "98.2"


def test_a_finished_cell_is_not_trained_again_and_says_the_same(
    bottle: Path, tmp_path: Path, trained: list[str]
) -> None:
    study = a_study(bottle, tmp_path, seeds=2)
    first, again = tables.table1(study), tables.table1(study)
    assert trained == ["linear 0", "linear 1"]
    assert first == again


def test_after_an_interruption_only_what_was_missing_is_trained(
    bottle: Path, tmp_path: Path, trained: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(trial: Trial) -> dict[str, Any]:
        if trial.training.architecture.adaptor == "mlp":
            raise KeyboardInterrupt
        return judged(trial)

    with monkeypatch.context() as patch:
        patch.setattr(tables, "judged", interrupted)
        with pytest.raises(KeyboardInterrupt):
            tables.table3(a_study(bottle, tmp_path))
    stored = json.loads((tmp_path / "table3.json").read_text())["cells"]
    assert [cell["settings"]["architecture"]["adaptor"] for cell in stored.values()] == ["none"]
    assert [row.label for row in tables.table3(a_study(bottle, tmp_path)).rows] == [
        variant.label for variant, _ in tables.ADAPTORS
    ]
    assert trained == ["mlp 0", "linear 0", "linear 0"]


@pytest.mark.parametrize("change", [{"steps": 3}, {"size": 40}, {"backbone": "resnet50"}], ids=str)
def test_cells_of_other_settings_are_neither_used_nor_lost(
    bottle: Path, tmp_path: Path, trained: list[str], change: dict[str, Any]
) -> None:
    tables.table1(a_study(bottle, tmp_path))
    tables.table1(a_study(bottle, tmp_path, **change))
    assert len(trained) == 2
    tables.table1(a_study(bottle, tmp_path))
    assert len(trained) == 2


def test_other_pictures_in_the_same_folder_are_other_cells(tmp_path: Path, trained: list[str]) -> None:
    data = category(tmp_path / "part")
    tables.table1(a_study(data, tmp_path / "out"))
    save_picture(data / "train" / "good" / "new.png", plates(1, seed=9)[0])
    tables.table1(a_study(data, tmp_path / "out"))
    assert len(trained) == 2


def test_results_that_lie_beside_the_pictures_are_no_part_of_the_data(tmp_path: Path, trained: list[str]) -> None:
    data = category(tmp_path / "part")
    tables.table1(a_study(data, data))
    tables.table1(a_study(data, data))
    assert len(trained) == 1


def test_weights_are_known_by_their_content_not_by_their_name(bottle: Path, tmp_path: Path) -> None:
    identities = []
    for content in (b"one", b"two"):
        (tmp_path / "weights.pth").write_bytes(content)
        study = a_study(bottle, tmp_path, weights=str(tmp_path / "weights.pth"))
        identities.append(training_of(study, Variant(""), pictures=4, seed=0).identity())
    assert identities[0] != identities[1]
    (tmp_path / "moved.pth").write_bytes(b"two")
    moved = training_of(a_study(bottle, tmp_path, weights=str(tmp_path / "moved.pth")), Variant(""), pictures=4, seed=0)
    assert moved.identity() == identities[1]


def test_a_cell_scores_as_the_engine_does(bottle: Path, tmp_path: Path) -> None:
    from model.dataset import test_pictures
    from model.engine import Engine
    from model.images import read_image
    from model.simplenet import SimpleNet

    compared = []

    def compare(trial: Trial) -> dict[str, Any]:
        head = trial.head()
        engine = Engine(SimpleNet(trial.network.extractor, head), trial.training.preprocessing, device="cpu")
        plain = [engine.inspect([read_image(picture.path)])[0] for picture in test_pictures(bottle)]
        for ours, theirs in zip(trial.inspections(head), plain, strict=True):
            assert ours.score == pytest.approx(theirs.score, abs=ENGINE_TOLERANCE)
            assert np.allclose(ours.grid, theirs.grid, atol=ENGINE_TOLERANCE)
            assert (ours.box, ours.size) == (theirs.box, theirs.size)
            compared.append(ours.score)
        return {}

    Grid(a_study(bottle, tmp_path), "table1").run([Variant("")], compare)
    assert len(compared) == 4


def test_the_papers_recipe_trains_160_epochs_of_four_pictures_with_its_noise_and_crop(tmp_path: Path) -> None:
    training = training_of(Study(data=tmp_path, out=tmp_path), Variant(""), pictures=209, seed=0)
    assert (training.settings.steps, training.settings.batch_images, training.settings.positions) == (160 * 53, 4, 0)
    assert training.resolved(7.0).sigma == 0.015
    assert training.architecture.backbone == "wide_resnet50_2"
    assert (training.preprocessing.resize, training.preprocessing.crop) == ((256, 256), (224, 224))


def test_the_rows_of_the_ablations_change_what_they_say(bottle: Path, tmp_path: Path) -> None:
    study = a_study(bottle, tmp_path)
    of = [training_of(study, variant, pictures=4, seed=0) for variant, _ in tables.ADAPTORS]
    assert [(one.architecture.adaptor, one.settings.loss) for one in of] == [
        ("none", "truncated_l1"),
        ("mlp", "truncated_l1"),
        ("linear", "cross_entropy"),
        ("linear", "truncated_l1"),
    ]
    levels = [training_of(study, variant, pictures=4, seed=0).architecture.levels for variant in tables.LEVELS]
    assert levels == list(paper.LEVELS)


def test_table2_has_a_row_for_each_choice_of_levels(bottle: Path, tmp_path: Path) -> None:
    rows = tables.table2(a_study(bottle, tmp_path)).rows
    assert [row.label for row in rows][-2:] == ["levels 2 + 3", "levels 1 + 2 + 3"]
    assert rows[-2].paper == {IMAGE: 99.6, PIXEL: 98.1}
    assert rows[0].paper == {IMAGE: None, PIXEL: None}
    assert all(row.ours[PIXEL] for row in rows)


def test_a_backbone_without_weights_is_listed_and_left_out(bottle: Path, tmp_path: Path) -> None:
    import torch

    folder = tmp_path / "weights"
    folder.mkdir()
    torch.save(build_backbone("resnet18", levels=(1, 2, 3)).state_dict(), folder / "resnet18_own.pth")
    result = reproduce("table4", "--data", bottle, "--out", tmp_path / "out", "--weights", folder, "--json")
    assert result.exit_code == 0, result.output
    rows = {row["label"]: row for row in json.loads(result.stdout)["rows"]}
    assert {label: row["note"] for label, row in rows.items()} == {
        "resnet18": "",
        "resnet50": "no weights",
        "resnet101": "no weights",
        "wide_resnet50_2": "no weights",
    }
    assert rows["resnet18"]["figures"][IMAGE]["mean"] is not None
    assert rows["resnet50"]["figures"][IMAGE] == {
        "mean": None,
        "standard_deviation": None,
        "by_seed": [],
        "paper": 99.6,
    }


def test_no_backbone_with_weights_at_all_is_an_error(bottle: Path, tmp_path: Path) -> None:
    result = reproduce("table4", "--data", bottle, "--out", tmp_path, "--weights", tmp_path / "nowhere.pth")
    assert "not one backbone has weights" in complaint(result, 6)


def test_a_table_that_the_paper_has_not_is_one_sentence(tmp_path: Path) -> None:
    assert "unknown table 'table9'" in complaint(reproduce("table9", "--data", tmp_path), 6)


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("--recipe", "theirs"), "unknown recipe"),
        (("--recipe", "paper", "--size", "64"), "contradict"),
        (("--backbone", "vgg"), "backbone"),
        (("--weights", "nowhere.pth"), "nowhere.pth"),
        (("--device", "tpu"), "tpu"),
    ],
)
def test_what_can_not_be_done_is_one_sentence(
    bottle: Path, tmp_path: Path, words: tuple[str, ...], sentence: str
) -> None:
    assert sentence in complaint(reproduce("table1", "--data", bottle, "--out", tmp_path, *words), 6)


def test_a_folder_without_categories_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="neither a category"):
        categories(tmp_path)
    with pytest.raises(DataError, match="neither a category"):
        categories(tmp_path / "nowhere")


@pytest.mark.parametrize("content", ["", "[]", '{"cells": []}', '{"format": 1, "table": "table2", "cells": {}}'])
def test_a_foreign_file_in_the_stores_place_is_refused_and_left_alone(tmp_path: Path, content: str) -> None:
    (tmp_path / "table1.json").write_text(content)
    with pytest.raises(DataError) as caught:
        Store(tmp_path, "table1")
    assert is_one_sentence(caught.value)
    assert (tmp_path / "table1.json").read_text() == content


def test_a_crash_while_a_cell_is_written_loses_none_of_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = Store(tmp_path, "table1")
    store.put({"seed": 0}, {"image": 90.0})

    def crash(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("os.fsync", crash)
    with pytest.raises(KeyboardInterrupt):
        store.put({"seed": 1}, {"image": 91.0})
    found = Store(tmp_path, "table1")
    assert found.get({"seed": 0}) == {"image": 90.0}
    assert found.get({"seed": 1}) is None


def test_the_mean_over_rows_is_taken_seed_by_seed() -> None:
    mean = mean_of([Spread((90.0, 94.0)), Spread((80.0, 100.0))])
    assert mean is not None
    assert mean.values == (85.0, 97.0)
    assert mean_of([Spread((90.0,)), None]) is None


def test_a_single_seed_has_no_deviation_and_two_have_that_of_the_sample() -> None:
    assert str(Spread((90.0,))) == "90.00"
    assert str(Spread((90.0, 94.0))) == "92.00 ± 2.83"
    assert Row("", {}).note == ""


def test_the_papers_own_mean_stands_beside_all_fifteen_categories_alone() -> None:
    assert tables.paper_mean(list(paper.MVTEC)) == paper.MVTEC_MEAN
    assert tables.paper_mean(["carpet", "screw"]) == paper.Auroc(98.95, 98.75)
    assert tables.paper_mean(["carpet", "own_part"]) == paper.Auroc()


def test_the_rows_of_table1_average_to_the_papers_own_mean() -> None:
    rows = paper.MVTEC.values()
    assert round(float(np.mean([row.image for row in rows if row.image])), 1) == paper.MVTEC_MEAN.image
    assert round(float(np.mean([row.pixel for row in rows if row.pixel])), 1) == paper.MVTEC_MEAN.pixel


@pytest.mark.parametrize(
    ("name", "files"),
    [
        ("figure4", ["figure4.png"]),
        ("figure5", ["figure5.png"]),
        ("figure6", ["figure6.png"]),
        ("figure7", ["figure7-auroc.png", "figure7-loss.png"]),
        ("figure8", ["figure8-bottle.png"]),
    ],
)
def test_a_figure_is_drawn_and_its_numbers_are_stored(
    bottle: Path, tmp_path: Path, name: str, files: list[str]
) -> None:
    outcome = getattr(figures, name)(a_study(bottle, tmp_path))
    assert [path.name for path in outcome.pictures] == files
    for path in outcome.pictures:
        assert path.read_bytes().startswith(b"\x89PNG")
        path.unlink()
    assert all(row.ours for row in outcome.rows)
    assert json.loads((tmp_path / f"{name}.json").read_text())["cells"]
    again = getattr(figures, name)(a_study(bottle, tmp_path))
    assert again == outcome
    assert all(path.is_file() for path in again.pictures)


def test_figure5_multiplies_the_noise_and_nothing_else(bottle: Path, tmp_path: Path) -> None:
    study = Study(data=bottle, out=tmp_path)
    one, four = (training_of(study, Variant("", sigma_times=times), pictures=4, seed=0) for times in (1.0, 4.0))
    assert four.resolved(9.0).sigma == pytest.approx(0.06)
    assert one.settings == four.settings
    assert one.identity() != four.identity()
