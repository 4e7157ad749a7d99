"""Other anomaly detectors, as anomalib ships them, on our backbone weights.

anomalib is no part of Sightline: the extra `peers` installs it for comparison alone.
"""

import warnings
from collections.abc import Callable, Sequence
from functools import partial
from unittest import mock

import torch
from torch import Tensor, nn

from model.backbone import Backbone
from model.features import Progress

with warnings.catch_warnings():  # its modules deprecate each other
    warnings.simplefilter("ignore")
    from anomalib.models.components.feature_extractors import TimmFeatureExtractor
    from anomalib.models.image.efficient_ad.torch_model import EfficientAdModel
    from anomalib.models.image.padim.torch_model import PadimModel
    from anomalib.models.image.patchcore.torch_model import PatchcoreModel
    from anomalib.models.image.supersimplenet import torch_model as supersimplenet

Judge = Callable[[Tensor], Tensor]
"""From pixels `(B, 3, H, W)`, normalised, to scores `(B,)`; makes the anomaly maps on the way."""

CORESET = 0.1
"""Share of the patches that PatchCore keeps, by anomalib's default."""
PICTURES = 209
"""Whose patches PatchCore's memory holds where nothing was learned: the good ones of MVTec AD's bottle category."""
MEMORY_BATCH = 8
"""Pictures at once while a memory is filled."""


_without_download = partial(TimmFeatureExtractor, pre_trained=False)
"""What anomalib's SuperSimpleNet builds, which has no argument that leaves the download out."""


def patchcore(backbone: str, trunk: Backbone, good: Sequence[Tensor], size: int, progress: Progress) -> Judge:
    """PatchCore (Roth et al., "Towards Total Recall in Industrial Anomaly Detection", 2022).

    Args:
        backbone: a name that timm has.
        trunk: weights, with the names that torchvision and timm share.
        good: pixels `(3, H, W)` to learn from; none: the memory is noise, and as large as `PICTURES` make it.
        size: of the square input, pixels.
        progress: told while the memory fills; anomalib shows a bar of its own while it chooses what to keep.
    """
    network = PatchcoreModel(["layer2", "layer3"], backbone=backbone, pre_trained=False)
    _give_weights(network.feature_extractor, trunk)
    if good:
        _remember(network, good, "PatchCore", progress)
        network.subsample_embedding(CORESET)
    else:
        embedding = network.train()(torch.zeros(1, 3, size, size))  # (patches of a picture, C)
        network.embedding_store.clear()
        rows = int(CORESET * PICTURES * embedding.shape[0])
        network.memory_bank = torch.randn(rows, embedding.shape[1])
    return _judge(network)


def padim(backbone: str, trunk: Backbone, good: Sequence[Tensor], size: int, progress: Progress) -> Judge:
    """PaDiM (Defard et al., "PaDiM: a Patch Distribution Modeling Framework", 2021); arguments as for `patchcore`."""
    network = PadimModel(backbone=backbone, pre_trained=False)
    _give_weights(network.feature_extractor, trunk)
    _remember(network, good or list(torch.randn(2, 3, size, size)), "PaDiM", progress)
    network.fit()
    return _judge(network)


def efficient_ad() -> Judge:
    """EfficientAD-S (Batzner et al., 2024), not trained: it has a backbone of its own.

    Training takes hours, its authors' teacher and pictures of ImageNet. The speed does not depend on it.
    """
    network = EfficientAdModel()
    network.mean_std["std"].data.fill_(1)
    for name, quantile in network.quantiles.items():
        quantile.data.fill_(float(name.startswith("qb")))
    return _judge(network)


def super_simple_net(backbone: str, trunk: Backbone) -> Judge:
    """SuperSimpleNet (Rolih et al., 2024), not trained: that takes 300 epochs. The speed does not depend on it."""
    with mock.patch.object(supersimplenet, "TimmFeatureExtractor", _without_download):
        network = supersimplenet.SupersimplenetModel(backbone=backbone)
    _give_weights(network.feature_extractor.feature_extractor, trunk)
    return _judge(network)


def _give_weights(extractor: nn.Module, trunk: Backbone) -> None:
    """Gives a timm network our weights; KeyError if it has tensors that ours lacks."""
    ours, theirs = trunk.state_dict(), extractor.get_submodule("feature_extractor")
    theirs.load_state_dict({key: ours[key] for key in theirs.state_dict()})


def _remember(network: nn.Module, good: Sequence[Tensor], name: str, progress: Progress) -> None:
    """Shows a memory-based detector its pictures."""
    network.train()
    for start in range(0, len(good), MEMORY_BATCH):
        network(torch.stack(list(good[start : start + MEMORY_BATCH])))
        progress(name, min(start + MEMORY_BATCH, len(good)), len(good))


def _judge(network: nn.Module) -> Judge:
    network.eval()
    return lambda pixels: network(pixels).pred_score.flatten()
