"""Exact fusion: the function of a trained network with far fewer operations. DESIGN: "Inference is fused, exactly".

Batch norm in evaluation mode is an affine map, so it goes into the convolution before it. From the backbone's maps to
the discriminator's leaky ReLU everything is linear and acts on each position alone, or on each channel alone: so
adaptor, first layer and batch norm are one matrix, which is split by level, and each part is applied at its own level's
resolution before the maps are enlarged and added up. Folded in float64, then cast.
"""

from collections.abc import Sequence
from copy import deepcopy
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from model.backbone import Backbone
from model.resnet import BasicBlock, Bottleneck
from model.simplenet import Head, SimpleNet, anomaly_map, combine


class Convolution(nn.Module):
    """Convolution with bias, plus what is handed in beside it, then ReLU where there is one."""

    def __init__(self, weight: Tensor, bias: Tensor | None, *, stride: int = 1, padding: int = 0, relu: bool) -> None:
        super().__init__()
        self.weight = nn.Parameter(weight.float(), requires_grad=False)  # (C_out, C_in, k, k)
        self.bias = None if bias is None else nn.Parameter(bias.float(), requires_grad=False)
        self.stride, self.padding, self.relu = stride, padding, relu

    def forward(self, x: Tensor, other: Tensor | None = None) -> Tensor:
        """Args: x: (B, C_in, H, W). other: (B, C_out, H', W'). Returns: (B, C_out, H', W')."""
        y = F.conv2d(x, self.weight, self.bias, self.stride, self.padding)
        y = y if other is None else y + other
        return F.relu(y) if self.relu else y


class Block(nn.Module):
    """A residual block: convolutions in a row, then the shortcut added before the last ReLU."""

    def __init__(self, block: BasicBlock | Bottleneck) -> None:
        super().__init__()
        pairs = [
            (getattr(block, f"conv{i}"), getattr(block, f"bn{i}")) for i in (1, 2, 3) if hasattr(block, f"conv{i}")
        ]
        self.convolutions = nn.ModuleList(folded(conv, norm, relu=True) for conv, norm in pairs)
        self.shortcut = None if block.downsample is None else folded(*block.downsample, relu=False)

    def forward(self, x: Tensor) -> Tensor:
        """Args: x: (B, C, H, W). Returns: (B, C', H / stride, W / stride)."""
        shortcut = x if self.shortcut is None else self.shortcut(x)
        for convolution in self.convolutions[:-1]:
            x = convolution(x)
        y: Tensor = self.convolutions[-1](x, shortcut)
        return y


class Trunk(nn.Module):
    """The frozen backbone, batch norm and the pixels' standard deviation folded in.

    Takes pixels with the mean subtracted: the mean itself can't go into the first convolution, which pads with zeros.
    """

    def __init__(self, backbone: Backbone, std: Sequence[float]) -> None:
        super().__init__()
        self.stem = folded(backbone.conv1, backbone.bn1, relu=True, std=std)
        self.levels = nn.ModuleList(
            nn.Sequential(*(Block(block) for block in getattr(backbone, f"layer{level}")))
            for level in range(1, max(backbone.levels) + 1)
        )

    def forward(self, pixels: Tensor) -> tuple[Tensor, ...]:
        """Args: pixels: (B, 3, H, W) in [-1, 1]. Returns: (B, C_i, H / 2^(i + 1), W / 2^(i + 1)) for levels 1, 2..."""
        x = F.max_pool2d(self.stem(pixels), 3, stride=2, padding=1)  # (B, 64, H / 4, W / 4)
        maps = []
        for level in self.levels:
            x = level(x)
            maps.append(x)
        return tuple(maps)


class FusedHead(nn.Module):
    """Neighbourhood average, adaptor and discriminator as one projection a level, at the level's own resolution.

    Takes the trunk's maps of all levels, hands on the anomaly map.
    """

    def __init__(self, head: Head, *, levels: Sequence[int], channels: Sequence[int], patch_size: int) -> None:
        super().__init__()
        self.levels, self.patch_size = tuple(levels), patch_size
        matrix, bias = _projection(head)
        parts = torch.split(matrix, list(channels), dim=1)
        biases = [bias, *[None] * (len(parts) - 1)]  # enlarging does not change a constant
        self.projections = nn.ModuleList(
            Convolution(part[:, :, None, None], one, relu=False) for part, one in zip(parts, biases, strict=True)
        )
        self.out = nn.Parameter(head.discriminator.out.weight.detach().clone(), requires_grad=False)  # (1, hidden)
        self.slope, self.dtype = head.discriminator.activation.negative_slope, torch.float32

    def cast(self, dtype: torch.dtype) -> None:
        """Lets the projections compute in this precision; the last layer stays in float32."""
        self.projections.to(dtype).to(memory_format=torch.channels_last)
        self.dtype = dtype

    def forward(self, maps: Sequence[Tensor]) -> Tensor:
        """Args: maps: of levels 1, 2... Returns: (B, h, w) float32 anomaly map, higher is more anomalous (Eq. 10)."""
        pooled = [
            F.avg_pool2d(level, self.patch_size, stride=1, padding=self.patch_size // 2)  # (B, C_i, h_i, w_i)
            for level in (maps[i - 1].to(dtype=self.dtype, memory_format=torch.channels_last) for i in self.levels)
        ]
        coarser = [
            F.interpolate(project(level), size=pooled[0].shape[-2:], mode="bilinear", align_corners=False)
            for project, level in zip(self.projections[1:], pooled[1:], strict=True)
        ]
        hidden = self.projections[0](pooled[0], sum(coarser[1:], coarser[0]) if coarser else None)  # (B, hidden, h, w)
        activated = F.leaky_relu(hidden, self.slope).permute(0, 2, 3, 1)  # (B, h, w, hidden)
        return -F.linear(activated.float(), self.out).squeeze(-1)


class UnfusedHead(nn.Module):
    """A head that does not fold, on the trunk's maps: an adaptor with an activation inside is not one matrix."""

    def __init__(self, head: Head, *, levels: Sequence[int], patch_size: int) -> None:
        super().__init__()
        self.head, self.levels, self.patch_size = deepcopy(head), tuple(levels), patch_size

    def forward(self, maps: Sequence[Tensor]) -> Tensor:
        """Args: maps: of levels 1, 2... Returns: (B, h, w) float32 anomaly map, higher is more anomalous (Eq. 10)."""
        features = combine([maps[level - 1].float() for level in self.levels], patch_size=self.patch_size)
        return anomaly_map(self.head, features)


def fuse_head(network: SimpleNet) -> FusedHead | UnfusedHead:
    """The head of a network, fused where it can be."""
    extractor, head = network.extractor, network.head
    levels = extractor.backbone.levels
    if len(head.adaptor.layers) > 1:
        return UnfusedHead(head, levels=levels, patch_size=extractor.patch_size)
    channels = [level_channels(extractor.backbone, level) for level in levels]
    return FusedHead(head, levels=levels, channels=channels, patch_size=extractor.patch_size)


def level_channels(backbone: Backbone, level: int) -> int:
    """How many channels a level has."""
    return cast(int, getattr(backbone, f"layer{level}")[-1].out_channels)


def folded(conv: nn.Conv2d, norm: nn.BatchNorm2d, *, relu: bool, std: Sequence[float] | None = None) -> Convolution:
    """A convolution and the batch norm behind it as one, in float64.

    Args:
        conv: without bias, as ResNets have them.
        norm: its running statistics are used.
        relu: whether a ReLU follows.
        std: of the input's channels, if the input shall not be divided by it any more.
    """
    scale, shift = _affine(norm)
    weight = conv.weight.double() * scale[:, None, None, None]
    if std is not None:
        weight = weight / torch.tensor(std, dtype=torch.float64)[:, None, None]
    return Convolution(weight, shift, stride=conv.stride[0], padding=int(conv.padding[0]), relu=relu)


def _projection(head: Head) -> tuple[Tensor, Tensor]:
    """From features to what the leaky ReLU sees: `(hidden, C)` and `(hidden,)`, float64."""
    scale, shift = _affine(head.discriminator.norm)
    first = head.discriminator.hidden
    matrix = scale[:, None] * first.weight.double()
    for layer in head.adaptor.layers:
        matrix = matrix @ cast(nn.Linear, layer).weight.double()
    return matrix, scale * first.bias.double() + shift


def _affine(norm: nn.BatchNorm1d | nn.BatchNorm2d) -> tuple[Tensor, Tensor]:
    """Batch norm in evaluation mode as `scale * x + shift`, float64."""
    mean, variance = cast(Tensor, norm.running_mean).double(), cast(Tensor, norm.running_var).double()
    scale = norm.weight.double() / torch.sqrt(variance + norm.eps)
    return scale, norm.bias.double() - mean * scale
