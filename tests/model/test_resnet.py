"""Our residual layers beside torchvision's."""

import ast
from pathlib import Path
from typing import get_args

import pytest
import torch
from torchvision import models

import model
from model.backbone import BACKBONES, Backbone, BackboneName, build_backbone
from model.resnet import SHAPES


@pytest.mark.parametrize("name", get_args(BackboneName))
def test_each_network_is_torchvisions_key_by_key_and_number_by_number(name: BackboneName) -> None:
    theirs = getattr(models, name)(weights=None).eval()
    for key, value in theirs.state_dict().items():
        if "running" in key:  # fresh ones have nothing to get wrong
            value.uniform_(0.5, 1.5)
    ours = Backbone(name, (1, 2, 3))
    kept = {key: value for key, value in theirs.state_dict().items() if not key.startswith(("layer4.", "fc."))}
    ours.load_state_dict(kept)  # strict: not a key more or less
    images = torch.rand(1, 3, 40, 56)
    with torch.inference_mode():
        x = theirs.maxpool(theirs.relu(theirs.bn1(theirs.conv1(images))))
        for found, layer in zip(ours(images), (theirs.layer1, theirs.layer2, theirs.layer3), strict=True):
            x = layer(x)
            assert torch.equal(found, x)


def test_every_backbone_that_can_be_chosen_has_its_shape() -> None:
    assert set(SHAPES) == set(BACKBONES)


def test_fresh_weights_have_the_spread_that_keeps_a_signal_alive() -> None:
    """He et al. (2015), equation 14: the standard deviation is sqrt(2 / fan)."""
    weight = build_backbone("resnet18").state_dict()["layer3.0.conv2.weight"]
    assert weight.std().item() == pytest.approx((2 / (256 * 9)) ** 0.5, rel=0.02)


def test_nothing_that_a_worker_imports_imports_torchvision() -> None:
    """It takes longer than torch. Only training asks for it, where it downloads, and pretraining."""
    root = Path(model.__file__).parent.parent
    for path in sorted([*(root / "model").rglob("*.py"), *(root / "worker").rglob("*.py")]):
        if path.parent.name == "pretrain":
            continue
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            slow = {name for name in names if name.startswith(("torchvision", "scipy.stats"))}
            assert not slow, f"{path.name} imports {slow}"
