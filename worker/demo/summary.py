"""What came of the demo: verdicts counted, the network's figures, and a baseline's on the same pictures."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from rich.table import Table

from model.dataset import TestPicture, good_pictures, read_image
from model.errors import DataError
from model.metrics import auroc
from model.picture import to_bgr
from worker.verdict import Verdict

STAGES = ("wire", "queue", "prepare", "infer", "judge", "store", "total")
BASELINE_SIDE = 256  # pixels; pictures of many sizes are compared at this one


@dataclass(frozen=True)
class Summary:
    """The demo in figures.

    Attributes:
        frames: published.
        verdicts: entries in the result stream.
        missing: frames without a verdict.
        duplicates: verdicts beyond a frame's first.
        passed: frames whose verdict is pass.
        failed: all others that have one.
        image_auroc: of the scores that came out of Redis; None without both good and bad pictures.
        baseline_auroc: of comparing each picture with the mean good one, the best of three ways.
        false_reject_rate: share of good parts that failed.
        miss_rate: share of bad parts that passed.
        latency_ms: by stage and in total, p50 and p99, milliseconds.
    """

    frames: int
    verdicts: int
    missing: int
    duplicates: int
    passed: int
    failed: int
    image_auroc: float | None
    baseline_auroc: float | None
    false_reject_rate: float | None
    miss_rate: float | None
    latency_ms: dict[str, dict[str, float]]

    @property
    def complete(self) -> bool:
        """Whether every frame has exactly one verdict."""
        return self.missing == 0 and self.duplicates == 0 and self.verdicts == self.frames

    def to_json(self) -> dict[str, object]:
        """For machines."""
        return asdict(self)

    def table(self) -> Table:
        """For people."""
        table = Table("figure", "value", title="what came of it")
        for key, value in asdict(self).items():
            if key == "latency_ms":
                continue
            text = "-" if value is None else f"{value:.3f}" if isinstance(value, float) else str(value)
            table.add_row(key.replace("_", " ").replace("auroc", "AUROC"), text)
        for stage, spread in self.latency_ms.items():
            table.add_row(f"{stage}, p50 / p99 ms", f"{spread['p50']:.1f} / {spread['p99']:.1f}")
        return table


def summarise(root: Path, pictures: Sequence[TestPicture], verdicts: Sequence[Verdict]) -> Summary:
    """Sums up a run in which each of `pictures` was published once, its path below `root`/test as its part id.

    Args:
        root: of the data (MVTec layout).
        pictures: that were published.
        verdicts: every entry of the result stream.
    """
    defective = {picture.path.relative_to(root / "test").as_posix(): picture.defective for picture in pictures}
    per_frame = Counter(verdict.tag.id for verdict in verdicts)
    first = {verdict.tag.part_id: verdict for verdict in reversed(verdicts)}
    good = [first[part] for part, bad in defective.items() if not bad and part in first]
    bad = [first[part] for part, bad in defective.items() if bad and part in first]
    judged = [verdict for verdict in first.values() if verdict.score is not None and verdict.tag.part_id in defective]
    labels = np.array([defective[verdict.tag.part_id or ""] for verdict in judged], np.bool_)
    passed = sum(verdict.passed for verdict in first.values())
    return Summary(
        frames=len(pictures),
        verdicts=len(verdicts),
        missing=len(defective.keys() - first.keys()),
        duplicates=sum(count - 1 for count in per_frame.values()),
        passed=passed,
        failed=len(first) - passed,
        image_auroc=auroc(labels, np.array([verdict.score for verdict in judged], np.float64)) if judged else None,
        baseline_auroc=baseline_auroc(root, pictures),
        false_reject_rate=_share(not verdict.passed for verdict in good) if good else None,
        miss_rate=_share(verdict.passed for verdict in bad) if bad else None,
        latency_ms=_latencies(verdicts),
    )


def _share(flags: Iterable[bool]) -> float:
    return float(np.mean(list(flags)))


def _latencies(verdicts: Sequence[Verdict]) -> dict[str, dict[str, float]]:
    rows = [{**verdict.latency_us, "total": sum(verdict.latency_us.values())} for verdict in verdicts]
    spreads = {}
    for stage in STAGES:
        values = [row[stage] / 1000 for row in rows if stage in row]
        if values:
            p50, p99 = np.percentile(values, [50, 99])
            spreads[stage] = {"p50": round(float(p50), 3), "p99": round(float(p99), 3)}
    return spreads


def baseline_auroc(root: Path, pictures: Sequence[TestPicture]) -> float | None:
    """How well the difference from the mean good picture tells good from bad: the best of three ways to sum it up.

    The ways: mean absolute difference, the largest, and the largest after smoothing over four pixels.
    """
    mean = np.mean([_small(path) for path in good_pictures(root)], axis=0)
    differences = [np.abs(_small(picture.path) - mean) for picture in pictures]
    labels = np.array([picture.defective for picture in pictures])
    ways = (
        [float(difference.mean()) for difference in differences],
        [float(difference.max()) for difference in differences],
        [float(cv2.GaussianBlur(difference, (0, 0), 4).max()) for difference in differences],
    )
    areas = [area for way in ways if (area := auroc(labels, np.array(way))) is not None]
    return max(areas) if areas else None


def _small(path: Path) -> NDArray[np.float32]:
    try:
        picture = to_bgr(read_image(path))
    except DataError:  # a picture nobody can read differs from nothing
        return np.zeros((BASELINE_SIDE, BASELINE_SIDE, 3), np.float32)
    return cv2.resize(picture, (BASELINE_SIDE, BASELINE_SIDE), interpolation=cv2.INTER_AREA).astype(np.float32)
