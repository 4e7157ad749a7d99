"""The same part again and again: how far its score spreads, as a share of its distance to the threshold."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from model.bundle import Bundle
from model.dataset import pictures, read_image
from model.engine import Engine
from model.errors import DataError
from model.features import Progress


@dataclass(frozen=True)
class Repeatability:
    """How one part's score repeats.

    Attributes:
        scores: in the order of the pictures' names.
        threshold: the bundle's.
        passed: how often it passed.
    """

    scores: tuple[float, ...]
    threshold: float
    passed: int

    @property
    def mean(self) -> float:
        """Of the scores."""
        return float(np.mean(self.scores))

    @property
    def deviation(self) -> float:
        """Standard deviation of the scores, n - 1 in the denominator."""
        return float(np.std(self.scores, ddof=1))

    @property
    def share(self) -> float:
        """Six standard deviations over the distance from the mean to the threshold; infinite at the threshold itself.

        As a gauge's repeatability is held against its tolerance: below 10 % it is good, above 30 % not acceptable
        (AIAG, "Measurement Systems Analysis", 4th edition, 2010).
        """
        margin = abs(self.threshold - self.mean)
        return 6 * self.deviation / margin if margin else float("inf")

    @property
    def agrees(self) -> bool:
        """Whether all decisions are alike."""
        return self.passed in (0, len(self.scores))


def repeatability(
    bundle: Bundle, folder: Path, *, device: str = "auto", progress: Progress = lambda what, done, total: None
) -> Repeatability:
    """Judges the pictures right inside a folder, all of one part.

    Args:
        bundle: to judge with.
        folder: at least two pictures.
        device: `auto`, `cpu` or `cuda`.
        progress: told after each picture.

    Raises:
        DataError: fewer than two pictures, one that can't be judged, or a score that is not finite.
    """
    paths = pictures(folder) if folder.is_dir() else []
    if len(paths) < 2:
        raise DataError(f"{folder} holds {len(paths)} picture(s): repeatability needs the same part at least twice")
    engine, scores = Engine.of(bundle, device=device), []
    for done, path in enumerate(paths):
        image = read_image(path)
        bundle.manifest.contract.check(image)
        scores.append(engine.inspect([image])[0].score)
        progress("pictures", done + 1, len(paths))
    if not np.isfinite(scores).all():
        raise DataError(f"a picture in {folder} has a score that is not finite")
    passed = sum(bundle.manifest.calibration.passes(score) for score in scores)
    return Repeatability(tuple(scores), bundle.manifest.calibration.threshold, passed)
