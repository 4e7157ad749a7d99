"""Training: what the head learns, from what, and how repeatably."""

from copy import deepcopy
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score
from torch import Generator, Tensor

from model import dataset
from model.bundle import Architecture
from model.engine import Engine
from model.errors import DataError
from model.features import allocate, extract_features, spread
from model.fitting import HeadTraining, draw
from model.fitting import fit as fit_head
from model.images import Image
from model.preprocessing import Preprocessing
from model.settings import RELATIVE_SIGMA_RANDOM, AdaptorStart, TrainSettings
from model.simplenet import AdaptorKind, AnomalousFeatureGenerator, Head
from model.training import split, train
from tests.model.small import ARCHITECTURE, PREPROCESSING, a_plan, is_one_sentence, plates, small_network

QUICK = TrainSettings(steps=4, positions=32)


def NOBODY(what: str, done: int, total: int) -> None:  # noqa: N802 - a constant that is called
    """Progress that nobody watches."""


def trained(images: list[Image], chosen: TrainSettings = QUICK) -> dict[str, Tensor]:
    done = train(images, a_plan(chosen), device="cpu")
    return done.network.state_dict()


def equal(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[key], other[key]) for key in one)


def small_head(channels: int = 6) -> Head:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return Head(channels, hidden=8)


def cache(images: int = 5, positions: int = 4, channels: int = 6) -> Tensor:
    return torch.randn(images, positions, channels, generator=Generator().manual_seed(3))


def fit(head: Head, features: Tensor, **changes: float) -> Head:
    chosen = replace(TrainSettings(sigma=0.5, steps=5, positions=16), **changes)  # type: ignore[arg-type]
    training = HeadTraining(head, features, chosen, device="cpu")
    return fit_head(training, progress=lambda what, done, total: None)


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
    assert equal(trained([*plates(10)]), trained([*plates(10)]))


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
    assert equal(trained(images), before)
    images[next(index for index in range(12) if index not in held)] = images[held[0]]
    assert not equal(trained(images), before)


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


def test_batch_norm_sees_normal_and_noisy_features_in_one_batch() -> None:
    head, features = small_head(), cache()
    before = deepcopy(head)
    before.adaptor.start_as_identity()
    after = fit(head, features, steps=1, ema_decay=0.0, seed=7).discriminator.norm
    drawn = draw(features, TrainSettings(positions=16), step=0, generator=Generator().manual_seed(7))
    adapted = before.adaptor(drawn)
    noisy = AnomalousFeatureGenerator(0.5, Generator().manual_seed(7))(adapted)
    hidden = before.discriminator.hidden(torch.cat([adapted, noisy])).detach()
    assert after.running_mean is not None
    assert after.running_var is not None
    torch.testing.assert_close(after.running_mean, 0.1 * hidden.mean(0))
    torch.testing.assert_close(after.running_var, 0.9 + 0.1 * hidden.var(0))


def test_what_is_kept_is_a_moving_average_with_its_batch_norm_buffers_not_the_last_iterate() -> None:
    last, averaged = (fit(small_head(), cache(), ema_decay=decay, steps=40) for decay in (0.0, 0.99))
    for key in ("adaptor.layers.0.weight", "discriminator.hidden.weight", "discriminator.norm.running_mean"):
        assert not torch.equal(last.state_dict()[key], averaged.state_dict()[key]), key


@pytest.mark.parametrize(("decay", "kept"), [(0.75, 2 / 11), (0.1, 0.1)])
def test_the_second_step_s_average_keeps_the_smaller_of_the_decay_and_two_elevenths(decay: float, kept: float) -> None:
    one, two = (fit(small_head(), cache(), ema_decay=0.0, steps=steps).state_dict() for steps in (1, 2))
    averaged = fit(small_head(), cache(), ema_decay=decay, steps=2).state_dict()
    for key in ("adaptor.layers.0.weight", "discriminator.out.weight", "discriminator.norm.running_var"):
        torch.testing.assert_close(averaged[key], kept * one[key] + (1 - kept) * two[key])


def test_the_average_of_a_short_training_has_forgotten_its_start() -> None:
    """At a decay of 0.995 the first of 60 steps still weighs three quarters, unless the decay is warmed up."""
    features = cache(40, 16) + 5
    kept, last = (
        fit(small_head(), features, steps=60, positions=128, ema_decay=decay).discriminator.norm.running_mean
        for decay in (TrainSettings().ema_decay, 0.0)
    )
    assert kept is not None
    assert last is not None
    assert float((kept - last).norm()) < 0.25 * float(last.norm())


def test_a_trained_head_is_in_evaluation_mode() -> None:
    assert not any(module.training for module in fit(small_head(), cache()).modules())


def test_training_lowers_the_loss_on_features_it_can_tell_apart() -> None:
    features = cache(40, 16) * 0.1 + 2
    head = fit(small_head(), features, sigma=3.0, steps=300, positions=128, learning_rate_discriminator=0.01)
    normal = features.flatten(0, 1)
    noisy = normal + 3 * torch.randn(normal.shape, generator=Generator().manual_seed(1))
    labels = np.repeat([1, 0], len(normal))
    assert roc_auc_score(labels, head(torch.cat([normal, noisy])).detach().numpy()) > 0.9


def test_whole_pictures_are_drawn_where_no_positions_are_asked_for() -> None:
    features = cache()
    drawn = draw(features, TrainSettings(positions=0, batch_images=2), step=0, generator=Generator().manual_seed(0))
    assert drawn.shape == (8, 6)
    pictures = [
        index for index in range(5) if any(torch.equal(features[index], part) for part in drawn.reshape(2, 4, 6))
    ]
    assert len(pictures) == 2


def test_an_epoch_of_the_paper_takes_every_picture_once_in_an_order_of_its_own() -> None:
    features, chosen = torch.arange(5.0)[:, None, None].expand(5, 4, 1), TrainSettings(positions=0, batch_images=2)
    steps = [draw(features, chosen, step=step, generator=Generator())[::4, 0].tolist() for step in range(12)]
    epochs = [[*chain(*steps[start : start + 3])] for start in range(0, 12, 3)]
    assert all(sorted(epoch) == [0, 1, 2, 3, 4] for epoch in epochs)
    assert len({tuple(epoch) for epoch in epochs}) > 1


def test_positions_are_drawn_over_all_of_the_cache() -> None:
    features = torch.arange(20.0).reshape(5, 4, 1)
    generator, chosen = Generator().manual_seed(0), TrainSettings(positions=16)
    drawn = torch.cat([draw(features, chosen, step=step, generator=generator) for step in range(20)])
    assert set(drawn.flatten().tolist()) == set(range(20))


@pytest.mark.parametrize(("pictures", "steps"), [(1, 160), (4, 160), (5, 320), (167, 6720)])
def test_the_paper_s_numbers_are_160_epochs_of_batches_of_four_with_sigma_0_015(pictures: int, steps: int) -> None:
    paper = TrainSettings(steps=3, sigma=9.0, positions=7).paper(pictures)
    assert (paper.steps, paper.batch_images, paper.positions, paper.sigma) == (steps, 4, 0, 0.015)
    assert (paper.learning_rate_adaptor, paper.learning_rate_discriminator) == (1e-4, 2e-4)
    assert (paper.weight_decay, paper.th, paper.ema_decay, paper.adaptor_start) == (1e-5, 0.5, 0.0, "xavier")


@pytest.mark.parametrize(("start", "same"), [("identity", True), ("xavier", False)])
def test_a_linear_adaptor_starts_as_none_or_as_it_was_drawn(start: AdaptorStart, same: bool) -> None:
    features, head = torch.randn(4, 9, 16), Head(16, hidden=8)
    drawn = deepcopy(head.adaptor)
    HeadTraining(head, features, TrainSettings(sigma=1.0, adaptor_start=start), device="cpu")
    assert torch.equal(head.adaptor(features[0]), features[0] if same else drawn(features[0]))


@pytest.mark.parametrize("kind", ["none", "mlp"])
def test_adaptors_that_can_not_start_as_identity_start_as_they_were(kind: AdaptorKind) -> None:
    features, head = torch.randn(4, 9, 16), Head(16, hidden=8, adaptor=kind)
    drawn = deepcopy(head.adaptor)
    HeadTraining(head, features, TrainSettings(sigma=1.0), device="cpu")
    assert torch.equal(head.adaptor(features[0]), drawn(features[0]))


def test_the_paper_s_epochs_count_the_paper_s_batches_whatever_the_batch_was() -> None:
    assert TrainSettings(batch_images=8).paper(40).steps == 160 * 10


def test_training_like_the_paper_reports_the_numbers_it_used() -> None:
    used = train(plates(8), a_plan(QUICK, preset="paper"), device="cpu").settings
    assert (used.steps, used.sigma) == (320, 0.015)
    assert used.provenance()["steps"] == 320


def test_without_a_sigma_it_is_a_share_of_the_training_features_spread() -> None:
    images: list[Image] = [*plates(10)]
    used = train(images, a_plan(QUICK), device="cpu").settings
    training, _ = split(10, holdout=QUICK.holdout, seed=QUICK.seed)
    features = extract_features(
        small_network().extractor, PREPROCESSING, [images[i] for i in training], device="cpu", progress=NOBODY
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


def test_an_interrupted_training_goes_on_to_the_very_same_weights(tmp_path: Path) -> None:
    chosen, checkpoint = TrainSettings(sigma=0.5, steps=30, positions=16), tmp_path / "checkpoint.pt"
    whole = fit(small_head(), cache(), steps=30)
    broken = HeadTraining(small_head(), cache(), chosen, device="cpu")
    for _ in range(13):
        broken.step()
    torch.save(broken.state(), checkpoint)
    again, told = HeadTraining(small_head(), cache(), chosen, device="cpu"), []
    head = fit_head(again, progress=lambda what, done, total: told.append(done), checkpoint=checkpoint)
    assert told == list(range(14, 31))
    assert equal(head.state_dict(), whole.state_dict())
    assert len(again.losses) == 30


@pytest.mark.parametrize(
    "changes", [{"steps": 31}, {"seed": 1}, {"sigma": 0.4}, None], ids=["steps", "seed", "sigma", "features"]
)
def test_a_checkpoint_of_another_training_is_not_taken_up(tmp_path: Path, changes: dict[str, Any] | None) -> None:
    chosen = TrainSettings(sigma=0.5, steps=30, positions=16)
    other = HeadTraining(small_head(), cache() + (changes is None), replace(chosen, **(changes or {})), device="cpu")
    other.step()
    state = other.state()
    training = HeadTraining(small_head(), cache(), chosen, device="cpu")
    assert not training.take_up(state)
    assert training.losses == []


@pytest.mark.parametrize("content", [b"", b"not a checkpoint", b"PK\x03\x04"])
def test_a_damaged_checkpoint_is_worth_as_much_as_none(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "checkpoint.pt").write_bytes(content)
    training = HeadTraining(small_head(), cache(), TrainSettings(sigma=0.5, steps=5, positions=16), device="cpu")
    head = fit_head(training, progress=NOBODY, checkpoint=tmp_path / "checkpoint.pt")
    assert equal(head.state_dict(), fit(small_head(), cache(), steps=5).state_dict())


def test_features_beyond_the_budget_lie_in_a_file_and_train_to_the_same_weights(tmp_path: Path) -> None:
    small, large = (
        train(plates(10), a_plan(QUICK), device="cpu", cache_bytes=budget, scratch=tmp_path) for budget in (0, 1 << 30)
    )
    assert equal(small.network.state_dict(), large.network.state_dict())
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


def test_a_loss_that_is_not_finite_ends_the_training() -> None:
    with pytest.raises(DataError, match="diverged at step") as caught:
        fit(small_head(), torch.full((2, 4, 6), 1e38), sigma=1e38)
    assert is_one_sentence(caught.value)


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
