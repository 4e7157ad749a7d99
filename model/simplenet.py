"""SimpleNet, one class for each box of the paper's Figure 3.

Liu, Zhou, Xu, Wang: "SimpleNet: A Simple Network for Image Anomaly Detection and Localization", CVPR 2023.
"""

from collections.abc import Sequence
from typing import Literal, cast

import torch
from torch import Generator, Tensor, nn
from torch.nn import functional as F

from model.backbone import Backbone

AdaptorKind = Literal["none", "linear", "mlp"]


class FeatureExtractor(nn.Module):
    """Local features of a picture (section 3.1): frozen backbone, neighbourhood average, levels side by side."""

    def __init__(self, backbone: Backbone, *, patch_size: int = 3) -> None:
        super().__init__()
        self.backbone = backbone
        self.patch_size = patch_size

    def forward(self, images: Tensor) -> Tensor:
        """Args: images: (B, 3, H, W) normalised. Returns: (B, C, h, w), C summed over levels, h x w of the largest."""
        return combine(self.backbone(images), patch_size=self.patch_size)


def combine(maps: Sequence[Tensor], *, patch_size: int) -> Tensor:
    """Local features from a backbone's maps: averaged over neighbourhoods (Eq. 1 to 3), levels side by side.

    Args:
        maps: (B, C_i, h_i, w_i) of each level, finest first.
        patch_size: of the neighbourhood, odd; cells beyond the rim count as zeros.

    Returns:
        (B, C, h, w), C summed over levels, h x w of the finest.
    """
    levels = [F.avg_pool2d(level, patch_size, stride=1, padding=patch_size // 2) for level in maps]
    largest = levels[0].shape[-2:]
    resized = [F.interpolate(level, size=largest, mode="bilinear", align_corners=False) for level in levels]
    return torch.cat(resized, dim=1)  # (B, C, h, w)


class FeatureAdaptor(nn.Module):
    """Moves ImageNet features into the target domain (section 3.2): one linear layer without bias by default.

    Table 3 of the paper compares it with no adaptor and with one that is not linear (a second layer after a leaky
    ReLU; the authors' public code has it so).
    """

    def __init__(self, channels: int, *, kind: AdaptorKind = "linear") -> None:
        super().__init__()
        layers: dict[AdaptorKind, list[nn.Module]] = {
            "none": [],
            "linear": [nn.Linear(channels, channels, bias=False)],
            "mlp": [
                nn.Linear(channels, channels, bias=False),
                nn.LeakyReLU(0.2),
                nn.Linear(channels, channels, bias=False),
            ],
        }
        self.layers = nn.Sequential(*layers[kind])
        for layer in self.layers:
            if isinstance(layer, nn.Linear):
                nn.init.xavier_normal_(layer.weight)

    def start_as_identity(self) -> None:
        """Lets a single layer begin by handing features on as they are; two with an activation between can't."""
        if len(self.layers) == 1:
            nn.init.eye_(cast(nn.Linear, self.layers[0]).weight)

    def forward(self, features: Tensor) -> Tensor:
        """Args: features: (N, C). Returns: (N, C)."""
        adapted: Tensor = self.layers(features)
        return adapted


class AnomalousFeatureGenerator:
    """Anomalous features for training (section 3.3): adapted ones plus Gaussian noise. Not used on the line."""

    def __init__(self, sigma: float, generator: Generator) -> None:
        self.sigma = sigma
        self.generator = generator

    def __call__(self, adapted: Tensor) -> Tensor:
        """Args: adapted: (N, C). Returns: (N, C)."""
        noise = torch.randn(adapted.shape, generator=self.generator, device=adapted.device)
        return adapted + self.sigma * noise


class Discriminator(nn.Module):
    """Normality of each feature (section 3.4): positive for normal, negative for anomalous.

    Hidden width, no last bias and Xavier-normal start follow the authors' public code; the paper is silent on them.
    """

    def __init__(self, channels: int, *, hidden: int = 1024) -> None:
        super().__init__()
        self.hidden = nn.Linear(channels, hidden)
        self.norm = nn.BatchNorm1d(hidden)
        self.activation = nn.LeakyReLU(0.2)
        self.out = nn.Linear(hidden, 1, bias=False)
        for layer in (self.hidden, self.out):
            nn.init.xavier_normal_(layer.weight)

    def forward(self, adapted: Tensor) -> Tensor:
        """Args: adapted: (N, C). Returns: (N,) normality."""
        normality: Tensor = self.out(self.activation(self.norm(self.hidden(adapted)))).squeeze(1)
        return normality


class Head(nn.Module):
    """The trained part: adaptor, then discriminator."""

    def __init__(self, channels: int, *, hidden: int = 1024, adaptor: AdaptorKind = "linear") -> None:
        super().__init__()
        self.adaptor = FeatureAdaptor(channels, kind=adaptor)
        self.discriminator = Discriminator(channels, hidden=hidden)

    def forward(self, features: Tensor) -> Tensor:
        """Args: features: (N, C). Returns: (N,) normality."""
        normality: Tensor = self.discriminator(self.adaptor(features))
        return normality


class SimpleNet(nn.Module):
    """The single stream of inference (section 3.6): extractor, adaptor, discriminator."""

    def __init__(self, extractor: FeatureExtractor, head: Head) -> None:
        super().__init__()
        self.extractor = extractor
        self.head = head

    def forward(self, images: Tensor) -> Tensor:
        """Args: images: (B, 3, H, W) normalised. Returns: (B, h, w) anomaly map, higher is more anomalous (Eq. 10)."""
        return anomaly_map(self.head, self.extractor(images))


def anomaly_map(head: Head, features: Tensor) -> Tensor:
    """Args: features: (B, C, h, w). Returns: (B, h, w) anomaly map, higher is more anomalous (Eq. 10)."""
    batch, channels, height, width = features.shape
    normality: Tensor = head(features.permute(0, 2, 3, 1).reshape(-1, channels))  # (B * h * w,)
    return -normality.reshape(batch, height, width)


def truncated_l1(normal: Tensor, anomalous: Tensor, *, th: float = 0.5) -> Tensor:
    """Truncated L1 loss (Eq. 7 and 8): zero once normal features score above `th` and anomalous ones below `-th`.

    Args:
        normal: (N,) normality of normal features.
        anomalous: (N,) normality of generated ones.
        th: truncation; both signs take the same.
    """
    loss: Tensor = F.relu(th - normal).mean() + F.relu(th + anomalous).mean()
    return loss


def cross_entropy(normal: Tensor, anomalous: Tensor) -> Tensor:
    """Cross entropy with normality as the logit of "normal" (the paper's Table 3 compares it).

    Args:
        normal: (N,) normality of normal features.
        anomalous: (N,) normality of generated ones.
    """
    loss: Tensor = F.softplus(-normal).mean() + F.softplus(anomalous).mean()
    return loss


def feature_channels(backbone: Backbone, image_size: Sequence[int]) -> int:
    """How many channels the extractor puts out for this backbone."""
    with torch.inference_mode():
        return sum(level.shape[1] for level in backbone(torch.zeros(1, 3, *image_size)))
