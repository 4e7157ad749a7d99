"""The inference engine: pictures in, anomaly maps and scores out.

Calibration, evaluation and the worker all score with this one, so that a threshold means the same everywhere.
"""

import math
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby

import torch
from torch import Tensor

from model.anomaly_map import Box, Grid
from model.bundle import Bundle
from model.images import Image
from model.modes import EXACT, Mode, choose_device
from model.preprocessing import Preprocessing, as_tensor
from model.scoring import Scoring
from model.simplenet import SimpleNet
from model.trunk import shared_trunk


@dataclass(frozen=True)
class Inspection:
    """What the network says of one picture.

    Attributes:
        score: anomaly score, higher is more anomalous; may be NaN, and NaN never passes.
        grid: `(h, w)` float32 anomaly map at the network's own resolution, as the score rule leaves it.
        size: network input `(height, width)`, pixels.
        box: the rectangle `(x, y, width, height)` of the picture that the map covers.
    """

    score: float
    grid: Grid
    size: tuple[int, int]
    box: Box


class Engine:
    """One network, fused, in one mode on one device.

    One thread at a time; engines that share a trunk need not wait for each other.

    Args:
        network: its tensors are copied; the backbone's only if no other engine has the same.
        preprocessing: from picture to input.
        scoring: from map to score; by default the maximum (Eq. 11).
        device: `auto`, `cpu`, `cuda` or `cuda:1`.
        mode: how to compute; by default in float32.

    Attributes:
        at_once: frames that go through together at most; a larger batch goes through in parts. Whoever has measured
            what is fastest here (`model.parts`) sets it.

    Raises:
        DataError: this machine has no such device.
    """

    def __init__(
        self,
        network: SimpleNet,
        preprocessing: Preprocessing,
        scoring: Scoring | None = None,
        *,
        device: str = "auto",
        mode: Mode | None = None,
    ) -> None:
        self.preprocessing = preprocessing
        self.scoring = scoring or Scoring()
        self.device = torch.device(choose_device(device))
        backbone, size = network.extractor.backbone, preprocessing.crop
        self.trunk = shared_trunk(backbone, preprocessing.std, size, mode or EXACT[self.device.type], self.device)
        self.head = self.trunk.head_of(network)
        self.at_once = sys.maxsize

    @classmethod
    def of(cls, bundle: Bundle, *, device: str = "auto") -> "Engine":
        """The engine of a bundle, in the mode that `Bundle.on` has chosen; float32 if none was."""
        manifest = bundle.manifest
        return cls(bundle.network, manifest.preprocessing, manifest.scoring, device=device, mode=bundle.mode)

    def inspect(self, images: Sequence[Image]) -> list[Inspection]:
        """Scores pictures, `(H, W)` grey or `(H, W, 3)` RGB, `at_once` of them at once."""
        return infer([(self, image) for image in images])


def infer(frames: Sequence[tuple[Engine, Image]]) -> list[Inspection]:
    """Scores one batch, perhaps of several recipes: through the trunk they share, then each engine's own head.

    Args:
        frames: pictures, `(H, W)` grey or `(H, W, 3)` RGB, each with its engine. All engines share one trunk.

    Returns:
        One inspection a picture, in the same order.

    Raises:
        ValueError: engines with different trunks.
    """
    if len({engine.trunk for engine, _ in frames}) > 1:
        raise ValueError("a batch goes through one trunk: these engines have several")
    parts = math.ceil(len(frames) / min(engine.at_once for engine, _ in frames))
    if parts > 1:
        size = math.ceil(len(frames) / parts)
        return [found for start in range(0, len(frames), size) for found in infer(frames[start : start + size])]
    together = sorted(range(len(frames)), key=lambda index: id(frames[index][0]))  # each head's rows are neighbours
    inspections: dict[int, Inspection] = {}
    with torch.inference_mode():
        pixels = torch.stack([_pixels(*frames[index]) for index in together])  # (B, 3, h, w)
        maps, first = frames[0][0].trunk.run(pixels), 0
        for engine, group in groupby(together, key=lambda index: frames[index][0]):
            rows = list(group)
            grids = engine.head([level[first : first + len(rows)] for level in maps]).cpu().numpy()  # (n, h, w)
            first += len(rows)
            inspections |= {row: _inspection(*frames[row], grid) for row, grid in zip(rows, grids, strict=True)}
    return [inspections[index] for index in range(len(frames))]


def _pixels(engine: Engine, image: Image) -> Tensor:
    """`(3, h, w)` float32 on the engine's device; the picture travels there as its own bytes."""
    return engine.preprocessing.centred(as_tensor(image).to(engine.device))


def _inspection(engine: Engine, image: Image, grid: Grid) -> Inspection:
    applied = engine.scoring.apply(grid)
    return Inspection(
        score=engine.scoring.score(applied),
        grid=applied,
        size=engine.preprocessing.crop,
        box=engine.preprocessing.box(image.shape[0], image.shape[1]),
    )
