"""Each fold computes what the plain network computes."""

import itertools
import threading
from typing import get_args

import pytest
import torch
from torch import Generator, Tensor

from model import onednn
from model.backbone import BACKBONES
from model.bundle import Architecture
from model.fusion import FusedHead, Trunk, UnfusedHead, fuse_head
from model.modes import Mode
from model.preprocessing import IMAGENET_STD
from model.simplenet import AdaptorKind, SimpleNet
from model.trunk import shared_trunk

LEVELS = [levels for count in (1, 2, 3) for levels in itertools.combinations((1, 2, 3), count)]
SIZES = [(32, 32), (33, 47), (56, 40), (31, 65)]


def network_of(**choices: object) -> SimpleNet:
    """A network whose batch norms are far from the identity, so that a forgotten one shows."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        network = Architecture.model_validate({"hidden": 24, **choices}).build(weights="random")
        for module in network.modules():
            if isinstance(module, (torch.nn.BatchNorm1d, torch.nn.BatchNorm2d)):
                module.running_mean.normal_(std=0.1)  # type: ignore[union-attr]
                module.running_var.uniform_(0.5, 2)  # type: ignore[union-attr]
                module.weight.data.uniform_(0.5, 1.5)
                module.bias.data.normal_(std=0.1)
    return network.eval()


def pixels(size: tuple[int, int], count: int = 2) -> Tensor:
    return torch.rand(count, 3, *size, generator=Generator().manual_seed(5)) - 0.5


def plain_map(network: SimpleNet, centred: Tensor) -> Tensor:
    with torch.inference_mode():
        found: Tensor = network(centred / torch.tensor(IMAGENET_STD)[:, None, None])
        return found


def assert_same(fused: Tensor, plain: Tensor, share: float = 1e-4) -> None:
    """Within a share of the score range."""
    assert fused.shape == plain.shape
    assert float((fused - plain).abs().max()) <= share * float(plain.max() - plain.min())


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("levels", LEVELS)
def test_every_level_subset_and_size(levels: tuple[int, ...], size: tuple[int, int]) -> None:
    network = network_of(levels=levels)
    with torch.inference_mode():
        fused = fuse_head(network)(Trunk(network.extractor.backbone, IMAGENET_STD)(pixels(size)))
    assert_same(fused, plain_map(network, pixels(size)))


@pytest.mark.parametrize("backbone", BACKBONES)
def test_every_backbone_packed_for_the_processor(backbone: str) -> None:
    network = network_of(backbone=backbone)
    trunk = shared_trunk(
        network.extractor.backbone, IMAGENET_STD, (40, 56), Mode("torch", "cpu", "float32"), torch.device("cpu")
    )
    with torch.inference_mode():
        for count in (1, 3, 8):
            centred = pixels((40, 56), count)
            assert_same(trunk.head_of(network)(trunk.run(centred)), plain_map(network, centred))


@pytest.mark.parametrize("patch_size", [1, 3, 5])
@pytest.mark.parametrize("adaptor", get_args(AdaptorKind))
def test_every_adaptor_and_neighbourhood(adaptor: str, patch_size: int) -> None:
    network = network_of(adaptor=adaptor, patch_size=patch_size)
    head = fuse_head(network)
    assert isinstance(head, UnfusedHead if adaptor == "mlp" else FusedHead)
    with torch.inference_mode():
        fused = head(Trunk(network.extractor.backbone, IMAGENET_STD)(pixels((48, 40))))
    assert_same(fused, plain_map(network, pixels((48, 40))))


def test_without_the_processor_s_operators_plain_convolutions_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(onednn, "available", lambda: False)
    network = network_of()
    mode, device = Mode("torch", "cpu", "float32"), torch.device("cpu")
    trunk = shared_trunk(network.extractor.backbone, IMAGENET_STD, (41, 57), mode, device)
    with torch.inference_mode():
        assert_same(trunk.head_of(network)(trunk.run(pixels((41, 57)))), plain_map(network, pixels((41, 57))))


@pytest.mark.skipif(not onednn.has_bfloat16(), reason="this processor has no bfloat16 units")
def test_half_precision_stays_near() -> None:
    network = network_of()
    mode, device = Mode("torch", "cpu", "bfloat16"), torch.device("cpu")
    trunk = shared_trunk(network.extractor.backbone, IMAGENET_STD, (64, 64), mode, device)
    with torch.inference_mode():
        found = trunk.head_of(network)(trunk.run(pixels((64, 64))))
    assert found.dtype == torch.float32
    assert_same(found, plain_map(network, pixels((64, 64))), share=0.05)


def test_openvino_computes_the_same() -> None:
    pytest.importorskip("openvino")
    network = network_of()
    mode, device = Mode("openvino", "cpu", "float32"), torch.device("cpu")
    trunk = shared_trunk(network.extractor.backbone, IMAGENET_STD, (40, 56), mode, device)
    with torch.inference_mode():
        for count in (1, 3):
            centred = pixels((40, 56), count)
            assert_same(trunk.head_of(network)(trunk.run(centred)), plain_map(network, centred))


def test_threads_that_share_an_openvino_trunk_do_not_write_over_each_others_maps() -> None:
    pytest.importorskip("openvino")
    mode, device = Mode("openvino", "cpu", "float32"), torch.device("cpu")
    trunk = shared_trunk(network_of().extractor.backbone, IMAGENET_STD, (40, 56), mode, device)
    maps = trunk.run(pixels((40, 56)))
    before = [level.clone() for level in maps]
    other = threading.Thread(target=lambda: trunk.run(torch.zeros(1, 3, 40, 56)))
    other.start()
    other.join()
    assert all(torch.equal(level, was) for level, was in zip(maps, before, strict=True))
