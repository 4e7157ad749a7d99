"""The frozen trunk: a ResNet, cut after the last level that is used."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, get_args

import torch
from torch import Tensor, nn

from model.errors import DataError
from model.resnet import LAYERS, convolution, residual_layers

BackboneName = Literal["resnet18", "resnet50", "resnet101", "wide_resnet50_2"]
BACKBONES: tuple[BackboneName, ...] = get_args(BackboneName)
OWN_WEIGHTS = Path(__file__).parent / "weights"
"""`NAME.safetensors` for each backbone that we have pretrained ourselves, with a card beside it."""


class Backbone(nn.Module):
    """Frozen feature pyramid. Level i has stride 2^(i + 1): 8 for level 2, 16 for level 3."""

    def __init__(self, name: BackboneName, levels: Sequence[int]) -> None:
        super().__init__()
        self.levels = tuple(levels)
        self.conv1, self.bn1 = convolution(3, 64, 7, stride=2), nn.BatchNorm2d(64)
        self.relu, self.maxpool = nn.ReLU(inplace=True), nn.MaxPool2d(3, stride=2, padding=1)
        for level, layer in enumerate(residual_layers(name)[: max(levels)], 1):
            setattr(self, f"layer{level}", layer)
        self.eval().requires_grad_(False)

    def train(self, mode: bool = True) -> "Backbone":  # noqa: ARG002 - the answer is always no
        """Stays in evaluation mode whatever is asked: its batch statistics are frozen with its weights."""
        return super().train(False)

    def forward(self, images: Tensor) -> list[Tensor]:
        """Args: images: (B, 3, H, W) normalised. Returns: one (B, C_i, H / stride, W / stride) a level."""
        x = self.maxpool(self.relu(self.bn1(self.conv1(images))))  # (B, 64, H / 4, W / 4)
        maps = []
        for level in range(1, max(self.levels) + 1):
            x = getattr(self, f"layer{level}")(x)
            if level in self.levels:
                maps.append(x)
        return maps


def build_backbone(name: str, *, levels: Sequence[int] = (2, 3), weights: str = "random", seed: int = 0) -> Backbone:
    """Builds a frozen trunk.

    Args:
        name: one of `BACKBONES`.
        levels: which of 1, 2, 3 to return.
        weights: `own` (learnt from drawn surfaces alone, and shipped), `imagenet` (torchvision's IMAGENET1K_V1,
            downloaded where there is a network), `auto` (see `choose_weights`), `random`, `none` (uninitialised use: a
            bundle fills them in), or a `.pth` / `.safetensors` file with torchvision's keys.
        seed: for `random`.

    Raises:
        DataError: unknown name, or weights that can't be had or don't fit.
    """
    if name not in BACKBONES:
        raise DataError(f"unknown backbone {name!r}: choose one of {', '.join(BACKBONES)}")
    if not levels or not set(levels) <= set(range(1, LAYERS + 1)):
        raise DataError(f"levels {tuple(levels)} can't be had: choose some of 1, 2, 3")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        backbone = Backbone(name, levels)
    if weights in ("random", "none"):
        return backbone
    weights = choose_weights(name, weights)
    state = _download(name) if weights == "imagenet" else _read(_own(name) if weights == "own" else Path(weights))
    wanted = backbone.state_dict().keys()
    missing = [key for key in wanted if key not in state and not key.endswith("num_batches_tracked")]
    if missing:
        raise DataError(f"weights {weights} don't fit {name}: {len(missing)} tensors are missing, first {missing[0]}")
    try:
        backbone.load_state_dict({key: state[key] for key in wanted if key in state}, strict=False)
    except RuntimeError as error:
        raise DataError(f"weights {weights} don't fit {name}: {str(error).splitlines()[-1].strip()}") from error
    return backbone


def choose_weights(name: str, weights: str) -> str:
    """What `auto` means here: torchvision's ImageNet weights if they lie in its cache, else our own.

    Raises:
        DataError: neither are there.
    """
    if weights != "auto" or name not in BACKBONES:
        return weights
    url = _torchvisions(name).url
    if (Path(torch.hub.get_dir()) / "checkpoints" / url.rpartition("/")[2]).is_file():
        return "imagenet"
    _own(name)
    return "own"


def describe_weights(weights: str) -> str:
    """What a person should know of the weights that `choose_weights` chose, in one line."""
    known = {
        "own": "our own, learnt from drawn surfaces alone",
        "imagenet": "torchvision's ImageNet ones; ask your lawyer whether you may use them",
        "random": "random (seeded), good enough to try; leave out --weights for real work",
    }
    return f"backbone weights: {known.get(weights, weights)}"


def _own(name: str) -> Path:
    path = OWN_WEIGHTS / f"{name}.safetensors"
    if not path.is_file():
        raise DataError(f"there are no weights of our own for {name}: pass --weights imagenet, FILE or random")
    return path


def _torchvisions(name: BackboneName) -> Any:
    from torchvision import models  # it takes longer to import than torch, and only training asks for it

    return models.get_model_weights(name)["IMAGENET1K_V1"]


def _download(name: BackboneName) -> dict[str, Tensor]:
    try:
        state: dict[str, Tensor] = _torchvisions(name).get_state_dict(progress=True, check_hash=True, weights_only=True)
    except (
        Exception
    ) as error:  # no network, a damaged file in the cache, or one that holds code: all the same to a user
        raise DataError(
            f"ImageNet weights for {name} can't be had ({_first_line(error)}); "
            "fetch them where there is a network and pass the file: --weights FILE"
        ) from error
    return state


def _first_line(error: Exception) -> str:
    return next(iter(str(error).splitlines()), type(error).__name__)


def _read(path: Path) -> dict[str, Tensor]:
    if not path.is_file():
        raise DataError(f"no weights file at {path}")
    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            return load_file(path)
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # foreign readers raise anything at all; the border maps it
        raise DataError(f"weights file {path} can't be read as a plain state dict ({type(error).__name__})") from error
    if not isinstance(state, dict):
        raise DataError(f"weights file {path} holds no state dict")
    return state
