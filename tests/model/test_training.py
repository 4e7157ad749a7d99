"""Training: what is learned, from which pictures, and how repeatably."""

from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score
from torch import Tensor

from model import dataset
from model.bundle import Architecture
from model.engine import Engine
from model.errors import DataError
from model.features import allocate, extract_features, spread
from model.images import Image
from model.preprocessing import Preprocessing
from model.settings import RELATIVE_SIGMA_RANDOM, TrainSettings
from model.simplenet import AdaptorKind
from model.training import split, train
from tests.model.small import (
    ARCHITECTURE,
    PREPROCESSING,
    a_plan,
    is_one_sentence,
    plates,
    same_tensors,
    small_network,
    unwatched,
)

QUICK = TrainSettings(steps=4, positions=32)


def trained(images: list[Image], chosen: TrainSettings = QUICK) -> dict[str, Tensor]:
    done = train(images, a_plan(chosen), device="cpu")
    return done.network.state_dict()


@settings(deadline=None)
@given(count=st.integers(3, 400), holdout=st.floats(0.01, 0.99), seed=st.integers(0, 2**31))
def test_a_split_puts_every_picture_on_exactly_one_side_and_neither_is_empty(
    count: int, holdout: float, seed: int
) -> None:
    training, held = split(count, holdout=holdout, seed=seed)
    assert sorted(training + held) == list(range(count))
    assert training
    assert held
    assert split(count, holdout=holdout, seed=seed) == (training, held)


@settings(deadline=None, max_examples=100)
@given(
    lots=st.lists(st.sampled_from("abcdefgh"), min_size=3, max_size=40).filter(lambda lots: len(set(lots)) > 2),
    holdout=st.sampled_from([0.05, 0.2, 0.5]),
    seed=st.integers(0, 5),
)
def test_a_lot_is_never_divided_and_both_sides_have_pictures(lots: list[str], holdout: float, seed: int) -> None:
    training, held = split(len(lots), holdout=holdout, seed=seed, lots=lots)
    assert sorted(training + held) == list(range(len(lots)))
    assert not {lots[index] for index in training} & {lots[index] for index in held}
    assert training
    assert len(held) >= 2


def test_one_lot_alone_can_not_be_split() -> None:
    with pytest.raises(DataError, match="a lot is never divided"):
        split(9, holdout=0.2, seed=0, lots=["a"] * 9)


def test_lots_of_one_picture_each_are_split_as_if_they_were_not_known() -> None:
    assert split(20, holdout=0.2, seed=3, lots=list("abcdefghijklmnopqrst")) == split(20, holdout=0.2, seed=3)


def test_a_split_of_many_holds_out_the_share_asked_for() -> None:
    training, held = split(209, holdout=0.2, seed=0)
    assert (len(training), len(held)) == (167, 42)
    assert split(209, holdout=0.2, seed=1)[1] != held


def test_the_same_seed_gives_the_same_weights_to_the_bit() -> None:
    assert same_tensors(trained([*plates(10)]), trained([*plates(10)]))


def test_another_seed_gives_other_weights() -> None:
    one, other = trained([*plates(10)]), trained([*plates(10)], replace(QUICK, seed=1))
    assert not torch.equal(one["head.adaptor.layers.0.weight"], other["head.adaptor.layers.0.weight"])


def test_training_leaves_the_global_generator_alone() -> None:
    torch.manual_seed(0)
    expected = torch.rand(1)
    torch.manual_seed(0)
    trained([*plates(10)])
    assert torch.equal(torch.rand(1), expected)


def test_held_out_pictures_do_not_touch_the_weights() -> None:
    images: list[Image] = [*plates(12)]
    before = trained(images)
    _, held = split(12, holdout=QUICK.holdout, seed=QUICK.seed)
    for index in held:
        images[index] = np.random.default_rng(index).integers(0, 256, (40, 48, 3)).astype(np.uint8)
    assert same_tensors(trained(images), before)
    images[next(index for index in range(12) if index not in held)] = images[held[0]]
    assert not same_tensors(trained(images), before)


def test_the_threshold_comes_from_the_held_out_pictures_and_the_engine_s_own_scores() -> None:
    images: list[Image] = [*plates(20)]
    done = train(images, a_plan(QUICK), device="cpu")
    calibration = done.calibration
    _, held = split(20, holdout=QUICK.holdout, seed=QUICK.seed)
    engine = Engine(done.network, PREPROCESSING, device="cpu")
    scores = [engine.inspect([images[index]])[0].score for index in held]
    assert done.scores == scores
    assert calibration.images == len(held) == 4
    assert calibration.threshold == max(scores)
    assert (calibration.low, calibration.high) == (min(scores), max(scores))


def test_the_backbone_is_the_same_after_training() -> None:
    before = small_network().extractor.state_dict()
    after = trained([*plates(10)])
    assert all(torch.equal(after[f"extractor.{key}"], value) for key, value in before.items())


def test_training_like_the_paper_reports_the_numbers_it_used() -> None:
    used = train(plates(8), a_plan(QUICK, preset="paper"), device="cpu").settings
    assert (used.steps, used.sigma) == (320, 0.015)
    assert used.provenance()["steps"] == 320


def test_without_a_sigma_it_is_a_share_of_the_training_features_spread() -> None:
    images: list[Image] = [*plates(10)]
    used = train(images, a_plan(QUICK), device="cpu").settings
    training, _ = split(10, holdout=QUICK.holdout, seed=QUICK.seed)
    features = extract_features(
        small_network().extractor, PREPROCESSING, [images[i] for i in training], device="cpu", progress=unwatched
    )
    assert used.sigma == pytest.approx(RELATIVE_SIGMA_RANDOM * spread(features))
    assert features.shape == (8, 16, 384)


def test_progress_is_told_step_by_step() -> None:
    told: list[tuple[str, int, int]] = []
    train(
        plates(10),
        a_plan(QUICK),
        device="cpu",
        progress=lambda what, done, total: told.append((what, done, total)),
    )
    assert told == [
        *(("features", done, 8) for done in range(1, 9)),
        *(("training", done, 4) for done in range(1, 5)),
        *(("threshold", done, 2) for done in range(1, 3)),
    ]


@pytest.mark.parametrize("changes", [{"loss": "cross_entropy"}, {"positions": 0, "batch_images": 2}])
def test_every_recipe_trains_and_is_not_the_default(changes: dict[str, Any]) -> None:
    one, other = trained([*plates(10)]), trained([*plates(10)], replace(QUICK, **changes))
    assert not torch.equal(one["head.discriminator.out.weight"], other["head.discriminator.out.weight"])


@pytest.mark.parametrize(("adaptor", "layers"), [("none", 0), ("linear", 1), ("mlp", 2)])
def test_each_adaptor_trains_and_has_its_layers(adaptor: AdaptorKind, layers: int) -> None:
    architecture = ARCHITECTURE.model_copy(update={"adaptor": adaptor})
    done = train(plates(10), a_plan(QUICK, architecture=architecture), device="cpu")
    names = [name for name in done.network.state_dict() if name.startswith("head.adaptor")]
    assert len(names) == layers
    assert np.isfinite(done.losses).all()


@pytest.mark.parametrize("levels", [(1,), (2,), (3,), (1, 2), (1, 3), (2, 3), (1, 2, 3)])
@pytest.mark.parametrize("size", [(32, 32), (37, 53)])
def test_every_subset_of_levels_trains_on_odd_and_non_square_inputs(
    levels: tuple[Literal[1, 2, 3], ...], size: tuple[int, int]
) -> None:
    architecture = ARCHITECTURE.model_copy(update={"levels": levels, "patch_size": 5})
    preprocessing = Preprocessing(resize=size, crop=size)
    done = train(plates(8), a_plan(QUICK, architecture=architecture, preprocessing=preprocessing), device="cpu")
    (found,) = Engine(done.network, preprocessing, device="cpu").inspect(plates(1))
    assert found.grid.shape == architecture.grid(size)


def test_features_beyond_the_budget_lie_in_a_file_and_train_to_the_same_weights(tmp_path: Path) -> None:
    small, large = (
        train(plates(10), a_plan(QUICK), device="cpu", cache_bytes=budget, scratch=tmp_path) for budget in (0, 1 << 30)
    )
    assert same_tensors(small.network.state_dict(), large.network.state_dict())
    assert list(tmp_path.iterdir()) == []


def test_no_room_for_the_features_is_said_in_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no room for") as caught:
        allocate((10**6, 10**4, 100), budget_bytes=0, folder=tmp_path)
    assert is_one_sentence(caught.value)
    assert list(tmp_path.iterdir()) == []


def refusal(images: list[Image], chosen: TrainSettings = QUICK, rate: float | None = None) -> str:
    with pytest.raises(DataError) as caught:
        train(
            images,
            a_plan(chosen, false_reject_rate=rate),
            device="cpu",
        )
    assert is_one_sentence(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("count", [0, 1])
def test_fewer_than_two_pictures_are_refused(count: int) -> None:
    assert str(count) in refusal([*plates(count)])


def test_two_different_pictures_are_refused_as_too_few_not_as_alike() -> None:
    assert "alike" not in refusal([*plates(2)])


def test_identical_pictures_are_refused_because_their_scores_are_alike() -> None:
    assert "alike" in refusal([*plates(1)] * 20)


def test_five_pictures_that_differ_are_enough_to_train() -> None:
    """One is held out by the share alone, and one score lies never above its own median."""
    assert trained([*plates(5)])


def test_a_false_reject_rate_too_small_for_the_pictures_is_refused_before_anything_is_trained() -> None:
    told: list[str] = []
    with pytest.raises(DataError) as caught:
        train(
            plates(10),
            a_plan(QUICK, false_reject_rate=0.001),
            device="cpu",
            progress=lambda what, done, total: told.append(what),
        )
    assert "0.3333" in str(caught.value)
    assert "training" not in told


def test_features_that_are_not_finite_are_refused(tmp_path: Path) -> None:
    state = dict(small_network().extractor.backbone.state_dict())
    state["layer3.1.bn2.bias"] = torch.full_like(state["layer3.1.bn2.bias"], torch.nan)
    torch.save(state, tmp_path / "nan.pth")
    assert "not finite" in refusal([*plates(4)], replace(QUICK, weights=str(tmp_path / "nan.pth")))


def test_sixteen_bit_grey_pictures_train_like_any_other() -> None:
    grey = [image[:, :, 0].astype(np.uint16) * 257 for image in plates(10)]
    eight = [image[:, :, 0] for image in plates(10)]
    one, other = trained([*grey]), trained([*eight])
    torch.testing.assert_close(
        one["head.adaptor.layers.0.weight"], other["head.adaptor.layers.0.weight"], atol=1e-3, rtol=1e-2
    )


def test_a_trained_network_fails_an_obviously_bad_picture_and_passes_good_ones() -> None:
    preprocessing = Preprocessing(resize=(64, 64), crop=(64, 64))
    done = train(
        plates(40),
        a_plan(
            TrainSettings(
                steps=120,
                positions=256,
                learning_rate_adaptor=1e-3,
                learning_rate_discriminator=2e-3,
            ),
            architecture=Architecture(hidden=64),
            preprocessing=preprocessing,
        ),
        device="cpu",
    )
    engine, calibration = Engine(done.network, preprocessing, device="cpu"), done.calibration
    fresh, bad = plates(20, seed=9), plates(20, seed=10)
    for image in bad:
        image[8:28, 10:34] = 255
    good_scores = [inspection.score for inspection in engine.inspect(fresh)]
    bad_scores = [inspection.score for inspection in engine.inspect(bad)]
    assert min(bad_scores) > max(good_scores)
    assert not any(calibration.passes(score) for score in bad_scores)
    assert sum(calibration.passes(score) for score in good_scores) >= 12


def test_real_bottles_are_told_from_broken_ones(data_root: Path, weights_file: Path) -> None:
    root = data_root / "mvtec_bottle"
    preprocessing = Preprocessing(resize=(160, 160), crop=(160, 160))
    done = train(
        [dataset.read_image(path) for path in dataset.good_pictures(root)[:40]],
        a_plan(
            TrainSettings(weights=str(weights_file), steps=150, positions=512),
            architecture=Architecture(hidden=256),
            preprocessing=preprocessing,
        ),
        device="cpu",
    )
    engine, calibration = Engine(done.network, preprocessing, device="cpu"), done.calibration
    tests = [test for test in dataset.test_pictures(root) if test.kind in ("good", "broken_large")]
    scores = [engine.inspect([dataset.read_image(test.path)])[0].score for test in tests]
    assert len(tests) == 40
    assert roc_auc_score([test.defective for test in tests], scores) > 0.9
    caught = [not calibration.passes(score) for test, score in zip(tests, scores, strict=True) if test.defective]
    assert np.mean(caught) > 0.8
