"""Training: what the head learns, from what, and how repeatably."""

from copy import deepcopy
from dataclasses import replace
from pathlib import Path

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
from model.preprocessing import Image, Preprocessing
from model.simplenet import AnomalousFeatureGenerator, Head
from model.training import (
    RELATIVE_SIGMA_RANDOM,
    TrainSettings,
    draw,
    extract_features,
    split,
    spread,
    train,
    train_head,
)
from tests.model.small import ARCHITECTURE, PREPROCESSING, is_one_sentence, plates, small_network

QUICK = TrainSettings(steps=4, positions=32)


def trained(images: list[Image], chosen: TrainSettings = QUICK) -> dict[str, Tensor]:
    network, _, _ = train(images, architecture=ARCHITECTURE, preprocessing=PREPROCESSING, settings=chosen, device="cpu")
    return network.state_dict()


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
    return train_head(head, features, chosen, device="cpu", progress=lambda what, done, total: None)


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


def test_a_split_of_many_holds_out_the_share_asked_for() -> None:
    training, held = split(209, holdout=0.2, seed=0)
    assert (len(training), len(held)) == (167, 42)
    assert split(209, holdout=0.2, seed=1)[1] != held


def test_the_same_seed_gives_the_same_weights_to_the_bit() -> None:
    assert equal(trained([*plates(10)]), trained([*plates(10)]))


def test_another_seed_gives_other_weights() -> None:
    one, other = trained([*plates(10)]), trained([*plates(10)], replace(QUICK, seed=1))
    assert not torch.equal(one["head.adaptor.linear.weight"], other["head.adaptor.linear.weight"])


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
    network, calibration, used = train(
        images, architecture=ARCHITECTURE, preprocessing=PREPROCESSING, settings=QUICK, device="cpu"
    )
    _, held = split(20, holdout=used.holdout, seed=used.seed)
    engine = Engine(network, PREPROCESSING, device="cpu")
    scores = [engine.inspect([images[index]])[0].score for index in held]
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
    after = fit(head, features, steps=1, ema_decay=0.0, seed=7).discriminator.norm
    drawn = next(iter(draw(features, TrainSettings(steps=1, positions=16), Generator().manual_seed(7))))
    adapted = before.adaptor(drawn)
    noisy = AnomalousFeatureGenerator(0.5, Generator().manual_seed(7))(adapted)
    hidden = before.discriminator.hidden(torch.cat([adapted, noisy])).detach()
    assert after.running_mean is not None
    assert after.running_var is not None
    torch.testing.assert_close(after.running_mean, 0.1 * hidden.mean(0))
    torch.testing.assert_close(after.running_var, 0.9 + 0.1 * hidden.var(0))


def test_what_is_kept_is_a_moving_average_with_its_batch_norm_buffers_not_the_last_iterate() -> None:
    last, averaged = (fit(small_head(), cache(), ema_decay=decay, steps=40) for decay in (0.0, 0.99))
    for key in ("adaptor.linear.weight", "discriminator.hidden.weight", "discriminator.norm.running_mean"):
        assert not torch.equal(last.state_dict()[key], averaged.state_dict()[key]), key


@pytest.mark.parametrize(("decay", "kept"), [(0.75, 2 / 11), (0.1, 0.1)])
def test_the_second_step_s_average_keeps_the_smaller_of_the_decay_and_two_elevenths(decay: float, kept: float) -> None:
    one, two = (fit(small_head(), cache(), ema_decay=0.0, steps=steps).state_dict() for steps in (1, 2))
    averaged = fit(small_head(), cache(), ema_decay=decay, steps=2).state_dict()
    for key in ("adaptor.linear.weight", "discriminator.out.weight", "discriminator.norm.running_var"):
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
    drawn = next(iter(draw(features, TrainSettings(positions=0, batch_images=2), Generator().manual_seed(0))))
    assert drawn.shape == (8, 6)
    pictures = [
        index for index in range(5) if any(torch.equal(features[index], part) for part in drawn.reshape(2, 4, 6))
    ]
    assert len(pictures) == 2


def test_positions_are_drawn_over_all_of_the_cache() -> None:
    features = torch.arange(20.0).reshape(5, 4, 1)
    drawn = torch.cat(list(draw(features, TrainSettings(steps=20, positions=16), Generator().manual_seed(0))))
    assert set(drawn.flatten().tolist()) == set(range(20))


@pytest.mark.parametrize(("pictures", "steps"), [(1, 160), (4, 160), (5, 320), (167, 6720)])
def test_the_paper_s_numbers_are_160_epochs_of_batches_of_four_with_sigma_0_015(pictures: int, steps: int) -> None:
    paper = TrainSettings(steps=3, sigma=9.0, positions=7).paper(pictures)
    assert (paper.steps, paper.batch_images, paper.positions, paper.sigma) == (steps, 4, 0, 0.015)
    assert (paper.learning_rate_adaptor, paper.learning_rate_discriminator) == (1e-4, 2e-4)
    assert (paper.weight_decay, paper.th, paper.ema_decay) == (1e-5, 0.5, 0.0)


def test_the_paper_s_epochs_count_the_paper_s_batches_whatever_the_batch_was() -> None:
    assert TrainSettings(batch_images=8).paper(40).steps == 160 * 10


def test_training_like_the_paper_reports_the_numbers_it_used() -> None:
    _, _, used = train(
        plates(8),
        architecture=ARCHITECTURE,
        preprocessing=PREPROCESSING,
        settings=QUICK,
        paper=True,
        device="cpu",
    )
    assert (used.steps, used.sigma) == (320, 0.015)
    assert used.provenance()["steps"] == 320


def test_without_a_sigma_it_is_a_share_of_the_training_features_spread() -> None:
    images: list[Image] = [*plates(10)]
    _, _, used = train(images, architecture=ARCHITECTURE, preprocessing=PREPROCESSING, settings=QUICK, device="cpu")
    training, _ = split(10, holdout=QUICK.holdout, seed=QUICK.seed)
    features = extract_features(
        small_network(), PREPROCESSING, [images[i] for i in training], device="cpu", progress=lambda *told: None
    )
    assert used.sigma == pytest.approx(RELATIVE_SIGMA_RANDOM * spread(features.flatten(0, 1)))
    assert features.shape == (8, 16, 384)


def test_progress_is_told_step_by_step() -> None:
    told: list[tuple[str, int, int]] = []
    train(
        plates(10),
        architecture=ARCHITECTURE,
        preprocessing=PREPROCESSING,
        settings=QUICK,
        device="cpu",
        progress=lambda what, done, total: told.append((what, done, total)),
    )
    assert told == [
        *(("features", done, 8) for done in range(1, 9)),
        *(("training", done, 4) for done in range(1, 5)),
        *(("threshold", done, 2) for done in range(1, 3)),
    ]


def refusal(images: list[Image], chosen: TrainSettings = QUICK, rate: float | None = None) -> str:
    with pytest.raises(DataError) as caught:
        train(
            images,
            architecture=ARCHITECTURE,
            preprocessing=PREPROCESSING,
            settings=chosen,
            false_reject_rate=rate,
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
            architecture=ARCHITECTURE,
            preprocessing=PREPROCESSING,
            settings=QUICK,
            false_reject_rate=0.001,
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
        one["head.adaptor.linear.weight"], other["head.adaptor.linear.weight"], atol=1e-3, rtol=1e-2
    )


def test_a_trained_network_fails_an_obviously_bad_picture_and_passes_good_ones() -> None:
    preprocessing = Preprocessing(resize=(64, 64), crop=(64, 64))
    network, calibration, _ = train(
        plates(40),
        architecture=Architecture(hidden=64),
        preprocessing=preprocessing,
        settings=TrainSettings(
            steps=120,
            positions=256,
            learning_rate_adaptor=1e-3,
            learning_rate_discriminator=2e-3,
        ),
        device="cpu",
    )
    engine, fresh, bad = Engine(network, preprocessing, device="cpu"), plates(20, seed=9), plates(20, seed=10)
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
    network, calibration, _ = train(
        [dataset.read_image(path) for path in dataset.good_pictures(root)[:40]],
        architecture=Architecture(hidden=256),
        preprocessing=preprocessing,
        settings=TrainSettings(weights=str(weights_file), steps=150, positions=512),
        device="cpu",
    )
    engine = Engine(network, preprocessing, device="cpu")
    tests = [test for test in dataset.test_pictures(root) if test.kind in ("good", "broken_large")]
    scores = [engine.inspect([dataset.read_image(test.path)])[0].score for test in tests]
    assert len(tests) == 40
    assert roc_auc_score([test.defective for test in tests], scores) > 0.9
    caught = [not calibration.passes(score) for test, score in zip(tests, scores, strict=True) if test.defective]
    assert np.mean(caught) > 0.8
