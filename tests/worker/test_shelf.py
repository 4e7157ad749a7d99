"""Recipes that change under a running worker: what is taken in, what is refused, and what is left of the old ones."""

import gc
import shutil
import threading
import weakref
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch")

from model.dataset import read_image
from model.engine import infer
from model.images import Image
from tests.worker.bundles import add_golden, damage, label_of, put_in_place, remade, with_another_trunk
from tests.worker.processes import eventually
from worker.recipes import BatchCost, EngineBuilder, load_recipes
from worker.shelf import RecipeStatus, Shelf

BUILDER = EngineBuilder("cpu", "torch", max_batch=2)


@pytest.fixture
def folder(tmp_path: Path, recipes: Path) -> Path:
    """Recipes of a test's own, with the bundle `part`."""
    copied = tmp_path / "recipes"
    shutil.copytree(recipes, copied)
    return copied


@pytest.fixture
def spare(tmp_path: Path) -> Path:
    """Where bundles lie that are not in use yet."""
    made = tmp_path / "spare"
    made.mkdir()
    return made


@pytest.fixture
def good_part(parts_root: Path) -> Image:
    return read_image(sorted((parts_root / "train" / "good").glob("*.png"))[0])


def shelf_of(folder: Path) -> Shelf:
    return Shelf(folder, load_recipes(folder, (), device="cpu", engine="torch", max_batch=2), BUILDER)


def look_twice(shelf: Shelf) -> None:
    for _ in range(2):
        shelf.look()


def test_a_bundle_that_a_link_leads_to_now_is_taken_in_once_it_looks_the_same_twice(folder: Path, spare: Path) -> None:
    shelf = shelf_of(folder)
    before, new = shelf.recipes, remade(folder / "part", spare / "new")
    put_in_place(new, folder / "part")
    shelf.look()
    assert shelf.recipes is before
    shelf.look()
    assert shelf.recipes["part"].label == label_of(new) != before["part"].label
    assert shelf.status() == {"part": RecipeStatus(label_of(new))}


def test_a_bundle_whose_directory_is_exchanged_is_taken_in_and_the_mapping_before_never_changes(
    folder: Path, spare: Path
) -> None:
    shelf = shelf_of(folder)
    before, old = shelf.recipes, label_of(folder / "part")
    new = remade(folder / "part", spare / "new")
    (folder / "part").rename(spare / "old")
    new.rename(folder / "part")
    look_twice(shelf)
    assert shelf.recipes["part"].label == label_of(folder / "part") != old
    assert before["part"].label == old


def test_what_has_not_changed_is_not_made_again(folder: Path) -> None:
    shelf = shelf_of(folder)
    before = shelf.recipes
    for _ in range(3):
        shelf.look()
    assert shelf.recipes is before


def test_the_same_bundle_at_another_place_keeps_the_engine_in_use(folder: Path, spare: Path) -> None:
    shelf = shelf_of(folder)
    before = shelf.recipes
    shutil.copytree(folder / "part", spare / "same")
    put_in_place(spare / "same", folder / "part")
    look_twice(shelf)
    assert shelf.recipes is before


def test_a_damaged_bundle_is_refused_the_old_one_stays_and_a_good_one_heals_it(folder: Path, spare: Path) -> None:
    shelf = shelf_of(folder)
    before = shelf.recipes
    put_in_place(damage(remade(folder / "part", spare / "damaged")), folder / "part")
    look_twice(shelf)
    status = shelf.status()["part"]
    assert shelf.recipes is before
    assert status.label == before["part"].label
    assert "sha256" in (status.refused or "")
    put_in_place(remade(spare / "damaged" / ".." / ".." / "recipes" / ".part.old", spare / "good"), folder / "part")
    look_twice(shelf)
    assert shelf.status() == {"part": RecipeStatus(label_of(spare / "good"))}


def test_a_bundle_that_misjudges_a_golden_image_is_refused_by_the_images_name(
    folder: Path, spare: Path, good_part: Image
) -> None:
    shelf = shelf_of(folder)
    before = shelf.recipes
    new = remade(folder / "part", spare / "new", threshold=1000.0)  # nothing is a defect to it
    add_golden(new, "good", good_part)
    add_golden(new, "bad", good_part, "overlooked.png")
    put_in_place(new, folder / "part")
    look_twice(shelf)
    assert shelf.recipes is before
    assert "golden/bad/overlooked.png" in (shelf.status()["part"].refused or "")
    (new / "golden" / "bad" / "overlooked.png").unlink()
    (new / "golden" / "bad").rmdir()
    look_twice(shelf)
    assert shelf.status() == {"part": RecipeStatus(label_of(new))}


def test_a_new_recipe_is_offered_and_one_that_is_bad_only_says_so(folder: Path, spare: Path) -> None:
    shelf = shelf_of(folder)
    damage(remade(folder / "part", folder / "bad"))
    remade(folder / "part", folder / "new")
    remade(folder / "part", folder / "no recipe's name")
    remade(folder / "part", folder / ".hidden")
    look_twice(shelf)
    assert shelf.recipes.keys() == {"part", "new"}
    refused = {name: status for name, status in shelf.status().items() if status.refused}
    assert refused.keys() == {"bad", "no recipe's name"}
    assert all(not status.label for status in refused.values())
    shutil.rmtree(folder / "bad")
    look_twice(shelf)
    assert "bad" not in shelf.status()


def test_a_recipe_whose_bundle_is_gone_is_served_on_also_when_the_whole_folder_is(folder: Path, spare: Path) -> None:
    shelf = shelf_of(folder)
    before = shelf.recipes
    folder.rename(spare / "elsewhere")
    for _ in range(3):
        shelf.look()
    assert shelf.recipes is before
    assert shelf.status() == {"part": RecipeStatus(before["part"].label)}
    (spare / "elsewhere").rename(folder)
    look_twice(shelf)
    assert shelf.recipes is before


def test_a_bundle_that_is_copied_in_file_by_file_is_not_read_half(folder: Path, spare: Path) -> None:
    shelf = shelf_of(folder)
    source = with_another_trunk(folder / "part", spare / "source")
    (folder / "slow").mkdir()
    for name in ("manifest.json", "model.safetensors"):
        shutil.copy(source / name, folder / "slow" / name)
        shelf.look()
        assert "slow" not in shelf.status()
    shelf.look()
    assert shelf.status()["slow"] == RecipeStatus(label_of(source))


def test_a_bundle_of_the_same_kind_takes_over_the_measured_cost(folder: Path, spare: Path) -> None:
    """What would be measured beside a busy line is the line: frames would count as hopeless that are not."""
    shelf = shelf_of(folder)
    before = shelf.recipes["part"]
    put_in_place(with_another_trunk(folder / "part", spare / "new"), folder / "part")
    look_twice(shelf)
    after = shelf.recipes["part"]
    assert after.label != before.label
    assert after.cost is before.cost


def test_of_bundles_with_the_same_work_to_do_one_is_measured(folder: Path, spare: Path) -> None:
    put_in_place(with_another_trunk(folder / "part", spare / "new"), folder / "lid")
    recipes = load_recipes(folder, (), device="cpu", engine="torch", max_batch=2)
    lid, part = recipes["lid"], recipes["part"]
    assert lid.engine.trunk is not part.engine.trunk
    assert lid.cost is part.cost
    assert lid.engine.at_once == part.engine.at_once == part.cost.best


def test_a_cost_is_right_for_one_frame_and_for_as_many_as_go_through_at_once() -> None:
    cost = BatchCost.of({1: 0.0135, 2: 0.0242, 4: 0.0467, 8: 0.1})
    assert cost.seconds(1) == pytest.approx(0.0135)
    assert cost.seconds(4) == pytest.approx(0.0467)


def test_a_batch_that_goes_through_in_parts_costs_as_much_as_these() -> None:
    one_by_one = BatchCost.of({1: 0.010, 2: 0.020, 4: 0.040, 8: 0.0795})
    assert [one_by_one.seconds(frames) for frames in (1, 2, 8)] == pytest.approx([0.010, 0.020, 0.080])
    by_fours = BatchCost.of({1: 0.0135, 2: 0.0242, 4: 0.0467, 8: 0.1})
    assert by_fours.seconds(8) == pytest.approx(2 * 0.0467)
    assert by_fours.seconds(5) == pytest.approx(by_fours.seconds(3) + by_fours.seconds(2))


def test_a_larger_batch_never_counts_as_quicker_than_a_smaller_one() -> None:
    """Measured on a machine that had something else to do at first."""
    cost = BatchCost.of({1: 0.02, 2: 0.015, 4: 0.016})
    assert cost.seconds(4) >= cost.seconds(1)


def test_a_recipe_for_larger_pictures_is_measured_by_itself(folder: Path) -> None:
    recipe = load_recipes(folder, (), device="cpu", engine="torch", max_batch=1)["part"]
    contract = recipe.manifest.contract
    larger = contract.model_copy(update={"height": (2000, 2000), "width": (2000, 2000)})
    assert recipe.costs_as_much_as(recipe.engine, recipe.manifest)
    assert not recipe.costs_as_much_as(recipe.engine, recipe.manifest.model_copy(update={"contract": larger}))


def test_a_worker_may_take_frames_one_at_a_time(folder: Path) -> None:
    recipe = load_recipes(folder, (), device="cpu", engine="torch", max_batch=1)["part"]
    assert (recipe.cost.best, recipe.cost.further_s) == (1, 0)
    assert recipe.cost.seconds(1) > 0


def test_the_engine_and_the_trunk_of_a_bundle_that_is_exchanged_are_freed(folder: Path, spare: Path) -> None:
    shelf = shelf_of(folder)
    engine, trunk = (weakref.ref(thing) for thing in (shelf.recipes["part"].engine, shelf.recipes["part"].engine.trunk))
    put_in_place(with_another_trunk(folder / "part", spare / "new"), folder / "part")
    look_twice(shelf)
    gc.collect()
    assert engine() is None
    assert trunk() is None


def test_an_engine_judges_the_same_while_another_is_made_on_its_trunk(
    folder: Path, spare: Path, good_part: Image
) -> None:
    shelf = shelf_of(folder)
    engine, rng = shelf.recipes["part"].engine, np.random.default_rng(0)
    batch = [(engine, good_part), (engine, rng.permuted(good_part, axis=0))]
    expected = [inspection.score for inspection in infer(batch)]
    news = [remade(folder / "part", spare / str(number), note=str(number)) for number in range(4)]
    made: list[str] = []

    def make() -> None:
        made.extend(BUILDER.prepare(new).label for new in news)

    maker = threading.Thread(target=make)
    maker.start()
    seen = []
    while maker.is_alive():
        seen.append([inspection.score for inspection in infer(batch)])
    maker.join()
    assert len(made) == len(news)
    assert len(seen) > len(news)
    assert all(scores == expected for scores in seen)


def test_the_thread_takes_in_what_changes_and_ends_when_it_is_asked_to(folder: Path, spare: Path) -> None:
    shelf = Shelf(folder, shelf_of(folder).recipes, BUILDER, every_s=0.05)
    shelf.start()
    try:
        new = remade(folder / "part", spare / "new")
        put_in_place(new, folder / "part")
        assert eventually(lambda: shelf.status() == {"part": RecipeStatus(label_of(new))})
    finally:
        shelf.close()
    assert not any(thread.name == "shelf" for thread in threading.enumerate())
