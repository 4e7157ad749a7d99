"""The boxes of the paper's Figure 3."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import uniform_filter
from torch import Generator, Tensor
from torch.nn import functional as F

from model.backbone import build_backbone
from model.simplenet import (
    AnomalousFeatureGenerator,
    Discriminator,
    FeatureAdaptor,
    FeatureExtractor,
    Head,
    feature_channels,
    truncated_l1,
)
from tests.model.small import small_network


def pictures(count: int = 2, height: int = 48, width: int = 64) -> Tensor:
    return torch.randn(count, 3, height, width, generator=Generator().manual_seed(1))


def averaged(level: Tensor) -> Tensor:
    """The mean over 3 x 3 cells, counting zeros beyond the rim, by SciPy."""
    return torch.from_numpy(uniform_filter(level.numpy(), size=(1, 1, 3, 3), mode="constant", cval=0.0))


def test_the_extractor_averages_neighbourhoods_and_lays_levels_side_by_side_at_the_largest() -> None:
    backbone = build_backbone("resnet18")
    two, three = backbone(pictures())
    features = FeatureExtractor(backbone)(pictures())
    assert features.shape == (2, 128 + 256, 6, 8)
    torch.testing.assert_close(features[:, :128], averaged(two), atol=1e-5, rtol=1e-4)
    resized = F.interpolate(averaged(three), size=(6, 8), mode="bilinear", align_corners=False)
    torch.testing.assert_close(features[:, 128:], resized, atol=1e-5, rtol=1e-4)


def test_a_neighbourhood_of_one_leaves_the_level_as_it_is() -> None:
    backbone = build_backbone("resnet18", levels=(2,))
    torch.testing.assert_close(FeatureExtractor(backbone, patch_size=1)(pictures()), backbone(pictures())[0])


@pytest.mark.parametrize(("levels", "channels"), [((1,), 64), ((2, 3), 384), ((1, 2, 3), 448)])
def test_the_channels_are_those_of_all_levels_together(levels: tuple[int, ...], channels: int) -> None:
    assert feature_channels(build_backbone("resnet18", levels=levels), (32, 32)) == channels


def test_the_adaptor_is_one_linear_layer_without_bias() -> None:
    adaptor = FeatureAdaptor(6)
    assert [name for name, _ in adaptor.named_parameters()] == ["layers.0.weight"]
    features = torch.randn(5, 6)
    torch.testing.assert_close(adaptor(features), features @ next(adaptor.parameters()).T)
    assert not adaptor(torch.zeros(1, 6)).any()


def test_the_discriminator_is_linear_batch_norm_leaky_relu_and_a_linear_layer_without_bias() -> None:
    discriminator = Discriminator(6, hidden=4)
    features = torch.randn(64, 6)
    hidden = features @ discriminator.hidden.weight.T + discriminator.hidden.bias
    normed = (hidden - hidden.mean(0)) / (hidden.var(0, unbiased=False) + 1e-5).sqrt()
    expected = torch.where(normed > 0, normed, 0.2 * normed) @ discriminator.out.weight[0]
    torch.testing.assert_close(discriminator(features), expected, atol=1e-4, rtol=1e-4)
    assert discriminator.out.bias is None


def test_the_head_starts_xavier_normal() -> None:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        head = Head(200, hidden=300)
    assert float(next(head.adaptor.parameters()).std().detach()) == pytest.approx((2 / 400) ** 0.5, rel=0.02)
    assert float(head.discriminator.hidden.weight.std().detach()) == pytest.approx((2 / 500) ** 0.5, rel=0.02)


def test_the_noise_is_gaussian_with_the_sigma_asked_for_and_independent_of_the_features() -> None:
    adapted = torch.randn(2000, 100, generator=Generator().manual_seed(1)) * 5 + 3
    noise = (AnomalousFeatureGenerator(0.015, Generator().manual_seed(0))(adapted) - adapted).numpy().ravel()
    count = noise.size
    assert abs(noise.mean()) < 4 * 0.015 / count**0.5
    assert noise.std() == pytest.approx(0.015, rel=4 / (2 * count) ** 0.5)
    assert np.mean(np.abs(noise) > 2 * 0.015) == pytest.approx(0.0455, abs=0.003)
    assert abs(np.corrcoef(noise, adapted.numpy().ravel())[0, 1]) < 4 / count**0.5


def test_the_noise_follows_its_generator_and_never_repeats() -> None:
    adapted = torch.zeros(4, 3)
    one, same = (AnomalousFeatureGenerator(1.0, Generator().manual_seed(7)) for _ in range(2))
    first = one(adapted)
    assert torch.equal(first, same(adapted))
    assert not torch.equal(first, one(adapted))


@settings(deadline=None)
@given(
    normal=st.lists(st.floats(-3, 3, width=32), min_size=1, max_size=8),
    anomalous=st.lists(st.floats(-3, 3, width=32), min_size=1, max_size=8),
    th=st.sampled_from([0.25, 0.5, 1.0]),
)
def test_the_loss_is_the_truncated_l1_of_equations_7_and_8(
    normal: list[float], anomalous: list[float], th: float
) -> None:
    expected = np.mean([max(0.0, th - v) for v in normal]) + np.mean([max(0.0, th + v) for v in anomalous])
    loss = truncated_l1(torch.tensor(normal), torch.tensor(anomalous), th=th)
    assert float(loss) == pytest.approx(float(expected), abs=1e-5)


def test_features_beyond_the_truncation_pull_at_nothing() -> None:
    normal = torch.tensor([0.5, 0.51, 9.0], requires_grad=True)
    anomalous = torch.tensor([-0.5, -0.51, -9.0], requires_grad=True)
    loss = truncated_l1(normal, anomalous)
    loss.backward()  # type: ignore[no-untyped-call]
    assert loss.item() == 0
    assert normal.grad is not None
    assert anomalous.grad is not None
    assert not normal.grad.any()
    assert not anomalous.grad.any()


def test_the_map_is_the_negated_normality_of_each_place() -> None:
    network = small_network()
    grids = network(pictures())
    features = network.extractor(pictures())
    assert grids.shape == (2, 6, 8)
    for picture, row, column in ((0, 0, 0), (1, 5, 7), (1, 2, 3)):
        normality = network.head(features[picture, :, row, column][None])
        torch.testing.assert_close(grids[picture, row, column], -normality[0], atol=1e-5, rtol=1e-4)


def test_a_picture_s_map_does_not_depend_on_its_neighbours_in_the_batch() -> None:
    network, batch = small_network(), pictures(3)
    together = network(batch)
    for picture, grid in zip(batch, together, strict=True):
        torch.testing.assert_close(network(picture[None])[0], grid, atol=1e-4, rtol=1e-4)


def test_training_mode_of_the_network_leaves_the_backbone_frozen() -> None:
    network = small_network().train()
    assert network.head.training
    assert not network.extractor.backbone.training
    assert not any(parameter.requires_grad for parameter in network.extractor.parameters())
    assert all(parameter.requires_grad for parameter in network.head.parameters())
