"""The inference engine: pictures in, anomaly maps and scores out.

Calibration, evaluation and the worker all score with this one, so that a threshold means the same everywhere.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from model.anomaly_map import Box, Grid
from model.bundle import Bundle
from model.errors import DataError
from model.images import Image
from model.preprocessing import Preprocessing
from model.scoring import Scoring
from model.simplenet import SimpleNet

Prepared = Tensor
"""One picture as network input: `(3, h, w)` float32 on the CPU."""


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
    """One network on one device. Not thread-safe: the work loop owns it."""

    def __init__(
        self, network: SimpleNet, preprocessing: Preprocessing, scoring: Scoring | None = None, *, device: str = "auto"
    ) -> None:
        self.preprocessing = preprocessing
        self.scoring = scoring or Scoring()
        self.device = torch.device(choose_device(device))
        self.network = network.eval().to(self.device)

    @classmethod
    def of(cls, bundle: Bundle, *, device: str = "auto") -> "Engine":
        """The engine of a bundle."""
        manifest = bundle.manifest
        return cls(bundle.network, manifest.preprocessing, manifest.scoring, device=device)

    def prepare(self, image: Image) -> Prepared:
        """One picture, `(H, W)` grey or `(H, W, 3)` RGB, as network input `(3, h, w)` float32 on the CPU."""
        return self.preprocessing(image)

    def infer(self, prepared: Sequence[Prepared], shapes: Sequence[tuple[int, ...]]) -> list[Inspection]:
        """Scores one batch.

        Args:
            prepared: from `prepare`, one a picture.
            shapes: of the pictures, `(H, W, ...)`, in the same order.
        """
        with torch.inference_mode():
            batch = torch.stack(list(prepared)).to(self.device)
            grids = self.network(batch).float().cpu().numpy()  # (B, h, w)
        return [self._inspection(grid, shape) for grid, shape in zip(grids, shapes, strict=True)]

    def _inspection(self, grid: Grid, shape: tuple[int, ...]) -> Inspection:
        applied = self.scoring.apply(grid)
        return Inspection(
            score=self.scoring.score(applied),
            grid=applied,
            size=self.preprocessing.crop,
            box=self.preprocessing.box(shape[0], shape[1]),
        )

    def inspect(self, images: Sequence[Image]) -> list[Inspection]:
        """Prepares and scores pictures, as one batch."""
        return self.infer([self.prepare(image) for image in images], [image.shape for image in images])


def choose_device(device: str) -> str:
    """`auto` is the first CUDA device where there is one, else the CPU.

    Raises:
        DataError: this machine has no such device.
    """
    if device == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    known = ["cpu", "cuda", *(f"cuda:{index}" for index in range(torch.cuda.device_count()))]
    if device not in known or (device == "cuda" and not torch.cuda.is_available()):
        raise DataError(f"there is no device {device!r} here: choose auto, cpu or cuda")
    return device
