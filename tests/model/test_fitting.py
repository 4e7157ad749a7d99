"""Fitting a head to cached features: the loop, its average, its recipes, and going on after an interruption."""

from copy import deepcopy
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.metrics import roc_auc_score
from torch import Generator, Tensor

from model.errors import DataError
from model.fitting import HeadTraining, draw
from model.fitting import fit as fit_head
from model.settings import AdaptorStart, TrainSettings
from model.simplenet import AdaptorKind, AnomalousFeatureGenerator, Head
from tests.model.small import is_one_sentence, same_tensors, unwatched


def small_head(channels: int = 6) -> Head:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return Head(channels, hidden=8)


def cache(images: int = 5, positions: int = 4, channels: int = 6) -> Tensor:
    return torch.randn(images, positions, channels, generator=Generator().manual_seed(3))


def fit(head: Head, features: Tensor, **changes: float) -> Head:
    chosen = replace(TrainSettings(sigma=0.5, steps=5, positions=16), **changes)  # type: ignore[arg-type]
    training = HeadTraining(head, features, chosen, device="cpu")
    return fit_head(training, progress=unwatched)


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
    assert same_tensors(head.state_dict(), whole.state_dict())
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
    head = fit_head(training, progress=unwatched, checkpoint=tmp_path / "checkpoint.pt")
    assert same_tensors(head.state_dict(), fit(small_head(), cache(), steps=5).state_dict())


def test_a_loss_that_is_not_finite_ends_the_training() -> None:
    with pytest.raises(DataError, match="diverged at step") as caught:
        fit(small_head(), torch.full((2, 4, 6), 1e38), sigma=1e38)
    assert is_one_sentence(caught.value)
