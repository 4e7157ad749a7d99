"""The residual layers of a ResNet that a trunk keeps: stem and layers 1 to 3, under torchvision's names.

He et al., "Deep Residual Learning for Image Recognition" (2016), figures 3 and 5; Zagoruyko and Komodakis, "Wide
Residual Networks" (2016). As in torchvision, a bottleneck's stride lies in its 3 x 3 convolution. They are written out
here because importing torchvision's models takes longer than importing torch: a worker would start that much later. A
test holds them to torchvision's, key by key and number by number.
"""

from typing import NamedTuple

from torch import Tensor, nn

LAYERS = 3


class Shape(NamedTuple):
    """What tells one ResNet from another.

    Attributes:
        depths: blocks in layers 1, 2, 3.
        bottleneck: blocks of three convolutions instead of two.
        widening: how much wider the inside of a bottleneck is.
    """

    depths: tuple[int, int, int]
    bottleneck: bool = True
    widening: int = 1


SHAPES = {
    "resnet18": Shape((2, 2, 2), bottleneck=False),
    "resnet50": Shape((3, 4, 6)),
    "resnet101": Shape((3, 4, 23)),
    "wide_resnet50_2": Shape((3, 4, 6), widening=2),
}


class BasicBlock(nn.Module):
    """Two 3 x 3 convolutions, and the input added before the last ReLU."""

    def __init__(self, channels: int, width: int, *, stride: int = 1) -> None:
        super().__init__()
        self.conv1, self.bn1 = convolution(channels, width, 3, stride=stride), nn.BatchNorm2d(width)
        self.conv2, self.bn2 = convolution(width, width, 3), nn.BatchNorm2d(width)
        self.relu = nn.ReLU(inplace=True)
        self.downsample = shortcut(channels, width, stride=stride)
        self.out_channels = width

    def forward(self, x: Tensor) -> Tensor:
        """Args: x: (B, C, H, W). Returns: (B, width, H / stride, W / stride)."""
        y = self.relu(self.bn1(self.conv1(x)))
        y = self.bn2(self.conv2(y))
        summed: Tensor = self.relu(y + (x if self.downsample is None else self.downsample(x)))
        return summed


class Bottleneck(nn.Module):
    """1 x 1, 3 x 3 and 1 x 1 convolutions, and the input added before the last ReLU."""

    def __init__(self, channels: int, width: int, *, stride: int = 1, widening: int = 1) -> None:
        super().__init__()
        inside, out = width * widening, width * 4
        self.conv1, self.bn1 = convolution(channels, inside, 1), nn.BatchNorm2d(inside)
        self.conv2, self.bn2 = convolution(inside, inside, 3, stride=stride), nn.BatchNorm2d(inside)
        self.conv3, self.bn3 = convolution(inside, out, 1), nn.BatchNorm2d(out)
        self.relu = nn.ReLU(inplace=True)
        self.downsample = shortcut(channels, out, stride=stride)
        self.out_channels = out

    def forward(self, x: Tensor) -> Tensor:
        """Args: x: (B, C, H, W). Returns: (B, 4 width, H / stride, W / stride)."""
        y = self.relu(self.bn1(self.conv1(x)))
        y = self.relu(self.bn2(self.conv2(y)))
        y = self.bn3(self.conv3(y))
        summed: Tensor = self.relu(y + (x if self.downsample is None else self.downsample(x)))
        return summed


def residual_layers(name: str) -> list[nn.Sequential]:
    """Layers 1 to 3 of the network called `name`, one of `SHAPES`, with fresh weights. Layer 1 takes 64 channels."""
    shape, channels, layers = SHAPES[name], 64, []
    for index, depth in enumerate(shape.depths):
        blocks: list[BasicBlock | Bottleneck] = []
        for number in range(depth):
            width, stride = 64 * 2**index, 2 if index and not number else 1
            if shape.bottleneck:
                blocks.append(Bottleneck(channels, width, stride=stride, widening=shape.widening))
            else:
                blocks.append(BasicBlock(channels, width, stride=stride))
            channels = blocks[-1].out_channels
        layers.append(nn.Sequential(*blocks))
    return layers


def convolution(channels: int, out: int, size: int, *, stride: int = 1) -> nn.Conv2d:
    """A convolution without bias, padded so that stride alone shrinks the map; weights as in He et al. (2015)."""
    conv = nn.Conv2d(channels, out, size, stride=stride, padding=size // 2, bias=False)
    nn.init.kaiming_normal_(conv.weight, mode="fan_out", nonlinearity="relu")
    return conv


def shortcut(channels: int, out: int, *, stride: int) -> nn.Sequential | None:
    """What fits a block's input to its output; None where they fit as they are."""
    if channels == out and stride == 1:
        return None
    return nn.Sequential(convolution(channels, out, 1, stride=stride), nn.BatchNorm2d(out))
