"""The folder of recipes on disk, and `sightline recipe`: what is in use changes at once or not at all."""

import json
import os
import shutil
from pathlib import Path

import pytest

pytest.importorskip("torch")

from model.bundle import read_bundle
from model.dataset import read_image
from model.errors import BundleError, DataError
from producers.daemon import ExitCode
from tests.worker.bundles import add_golden, damage, label_of, remade
from tests.worker.processes import sightline
from tests.worker.test_cli import expect
from worker.recipes import load_recipes
from worker.versions import HISTORY, VERSIONS, activate, rollback, versions_in


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "recipes"


@pytest.fixture
def bundles(tmp_path: Path, recipes: Path) -> list[Path]:
    """Three that differ."""
    return [remade(recipes / "part", tmp_path / f"v{number}", note=f"v{number}") for number in range(3)]


def in_use(folder: Path) -> str:
    return label_of(folder / "part")


def put(bundle: Path, folder: Path) -> Path:
    return activate(bundle, folder, "part", read_bundle)


def back(folder: Path) -> Path:
    return rollback(folder, "part", read_bundle)


def no_good(path: Path) -> None:
    raise BundleError(f"{path} is no good")


def test_an_activated_bundle_is_a_copy_of_its_own_that_a_worker_loads(folder: Path, bundles: list[Path]) -> None:
    version = put(bundles[0], folder)
    digest = read_bundle(bundles[0]).digest
    assert version == folder / VERSIONS / "part" / digest
    assert (folder / "part").is_symlink()
    assert (folder / "part").resolve() == version.resolve()
    shutil.rmtree(bundles[0])
    loaded = load_recipes(folder, ["part"], device="cpu", engine="torch", max_batch=2)
    assert loaded.keys() == {"part"}
    assert loaded["part"].label.endswith(digest[:12])


def test_rollback_goes_back_one_version_after_another_and_says_when_there_is_none(
    folder: Path, bundles: list[Path]
) -> None:
    for bundle in bundles:
        put(bundle, folder)
    for bundle in reversed(bundles[:-1]):
        back(folder)
        assert in_use(folder) == label_of(bundle)
    with pytest.raises(DataError, match="no version before"):
        back(folder)
    assert in_use(folder) == label_of(bundles[0])


def test_what_is_activated_after_a_rollback_goes_back_to_what_was_in_use_then(
    folder: Path, bundles: list[Path]
) -> None:
    first, second, third = bundles
    put(first, folder)
    put(second, folder)
    back(folder)
    put(third, folder)
    back(folder)
    assert in_use(folder) == label_of(first)


def test_activating_what_is_in_use_changes_nothing_that_rollback_goes_back_to(
    folder: Path, bundles: list[Path]
) -> None:
    first, second, _ = bundles
    for bundle in (first, second, second):
        put(bundle, folder)
    back(folder)
    assert in_use(folder) == label_of(first)


def test_a_bundle_that_is_no_good_changes_nothing(folder: Path, bundles: list[Path]) -> None:
    put(bundles[0], folder)
    before = sorted(folder.rglob("*"))
    with pytest.raises(BundleError, match="no good"):
        activate(bundles[1], folder, "part", no_good)
    with pytest.raises(BundleError, match="sha256"):
        activate(damage(bundles[2]), folder, "part", lambda copy: None)
    assert sorted(folder.rglob("*")) == before
    assert in_use(folder) == label_of(bundles[0])


def test_a_version_that_was_damaged_since_is_not_rolled_back_to(folder: Path, bundles: list[Path]) -> None:
    version = put(bundles[0], folder)
    put(bundles[1], folder)
    damage(version)
    with pytest.raises(BundleError, match="sha256"):
        back(folder)
    assert in_use(folder) == label_of(bundles[1])


def test_a_bundle_that_lies_there_as_a_directory_becomes_the_version_before(folder: Path, bundles: list[Path]) -> None:
    folder.mkdir()
    first = label_of(bundles[0])
    bundles[0].rename(folder / "part")
    put(bundles[1], folder)
    assert in_use(folder) == label_of(bundles[1])
    back(folder)
    assert in_use(folder) == first


def test_a_link_that_somebody_made_by_hand_is_what_rollback_goes_back_to(folder: Path, bundles: list[Path]) -> None:
    folder.mkdir()
    (folder / "part").symlink_to(bundles[0])
    put(bundles[1], folder)
    back(folder)
    assert in_use(folder) == label_of(bundles[0])
    assert (folder / "part").readlink() == bundles[0]


def test_an_activation_that_was_cut_short_before_the_link_leads_nowhere_wrong(
    folder: Path, bundles: list[Path]
) -> None:
    """The history is written first: what stands in it behind the version in use was never in use."""
    first, second, third = bundles
    put(first, folder)
    put(second, folder)
    history = folder / VERSIONS / "part" / HISTORY
    history.write_text(history.read_text() + f"{VERSIONS}/part/{read_bundle(third).digest}\n")
    back(folder)
    assert in_use(folder) == label_of(first)


def test_golden_images_travel_with_the_bundle_and_newer_ones_take_their_place(
    folder: Path, bundles: list[Path], parts_root: Path
) -> None:
    picture = read_image(sorted((parts_root / "train" / "good").glob("*.png"))[0])
    add_golden(bundles[0], "bad", picture, "old.png")
    put(bundles[0], folder)
    shutil.rmtree(bundles[0] / "golden")
    add_golden(bundles[0], "bad", picture, "new.png")
    version = put(bundles[0], folder)
    assert [path.name for path in (version / "golden" / "bad").iterdir()] == ["new.png"]


@pytest.mark.parametrize("name", ["../part", ".part", "a b", ""])
def test_a_name_that_no_recipe_can_have_is_refused(name: str, folder: Path, bundles: list[Path]) -> None:
    with pytest.raises(BundleError, match="named"):
        activate(bundles[0], folder, name, read_bundle)
    assert not folder.exists()


def test_the_list_says_what_is_in_use_and_names_what_cannot_be_read(folder: Path, bundles: list[Path]) -> None:
    put(bundles[0], folder)
    put(bundles[1], folder)
    (folder / "broken").mkdir()
    (folder / "broken" / "manifest.json").write_text("{")
    broken, part = versions_in(folder)
    assert "not JSON" in (broken.problem or "")
    assert part.problem is None
    assert (part.label, part.digest) == (label_of(bundles[1]), read_bundle(bundles[1]).digest)
    assert part.before == read_bundle(bundles[0]).digest
    assert part.threshold == read_bundle(bundles[1]).manifest.calibration.threshold
    assert part.activated.endswith("+00:00")


# -- the command -----------------------------------------------------------------------------------------------------


def recipe(*arguments: str, folder: Path) -> "tuple[int, str]":
    done = sightline("recipe", *arguments, "--recipes", str(folder))
    assert done.stderr == ""
    return done.returncode, done.stdout


def test_the_command_activates_lists_and_rolls_back(folder: Path, bundles: list[Path]) -> None:
    for bundle in bundles[:2]:
        code, said = recipe("activate", str(bundle), "--json", folder=folder)
        assert (code, json.loads(said)["label"]) == (0, label_of(bundle))
    code, said = recipe("list", "--json", folder=folder)
    (found,) = json.loads(said)
    assert (code, found["name"], found["label"]) == (0, "part", label_of(bundles[1]))
    code, said = recipe("list", folder=folder)
    assert label_of(bundles[1]) in said
    code, said = recipe("rollback", "part", folder=folder)
    assert code == 0
    assert label_of(bundles[0]) in said
    assert in_use(folder) == label_of(bundles[0])
    expect(sightline("recipe", "rollback", "part", "--recipes", str(folder)), ExitCode.DATA, "no version before")


def test_check_says_in_one_sentence_what_a_bundle_is(bundles: list[Path]) -> None:
    done = sightline("recipe", "check", str(bundles[0]))
    assert done.returncode == 0, done.stderr
    assert label_of(bundles[0]) in done.stdout
    assert "no golden images" in done.stdout
    assert len(done.stdout.splitlines()) == 1


def test_a_damaged_bundle_and_one_that_misjudges_a_golden_image_end_with_the_code_for_bundles(
    folder: Path, tmp_path: Path, recipes: Path, parts_root: Path
) -> None:
    damaged = damage(remade(recipes / "part", tmp_path / "damaged"))
    blind = remade(recipes / "part", tmp_path / "blind", threshold=1000.0)
    add_golden(blind, "bad", read_image(sorted((parts_root / "test" / "good").glob("*.png"))[0]), "scratch.png")
    expect(sightline("recipe", "check", str(damaged)), ExitCode.BUNDLE, "sha256")
    expect(sightline("recipe", "check", str(blind)), ExitCode.BUNDLE, "golden/bad/scratch.png")
    expect(
        sightline("recipe", "activate", str(blind), "--as", "part", "--recipes", str(folder)),
        ExitCode.BUNDLE,
        "golden/bad/scratch.png",
    )
    assert not os.path.lexists(folder / "part")
    assert sightline("recipe", "check", str(tmp_path / "none")).returncode == ExitCode.BUNDLE
