"""A bundle judges recorded frames as a worker would, one at a time: the same frames, the same scores, every time."""

import math
from collections.abc import Callable, Iterable
from pathlib import Path

from model import anomaly_map
from model.bundle import Bundle, read_bundle
from model.engine import Engine
from model.errors import ContractError
from producers.errors import BadFrame
from producers.frame import decode
from producers.recording.replay import RecordedCapture
from worker.compare.opinion import Opinion
from worker.verdict import Decision, Reason

BAD = Opinion(Decision.FAIL.value, Reason.BAD_FRAME.word)


class Judge:
    """One bundle. One thread.

    Args:
        path: of the bundle.
        device: `auto`, `cpu` or `cuda`.

    Raises:
        BundleError: it is damaged.
        DataError: no such device here.
    """

    def __init__(self, path: Path, *, device: str) -> None:
        self._bundle: Bundle = read_bundle(path).on(device)
        self._engine = Engine.of(self._bundle, device=device)

    def judge(self, capture: RecordedCapture) -> Opinion:
        """What it says of a frame. Time is none of its business: nothing is late."""
        manifest = self._bundle.manifest
        try:
            manifest.contract.check_size(*capture.header.shape[:2])
            image = decode(capture.header, capture.payload)
            manifest.contract.check(image)
        except (BadFrame, ContractError):
            return BAD
        found, calibration = self._engine.inspect([image])[0], manifest.calibration
        if not math.isfinite(found.score):
            return Opinion(Decision.FAIL.value, Reason.WORKER_ERROR.word, model=self._bundle.label)
        passed = calibration.passes(found.score)
        regions = [] if passed else anomaly_map.regions(found.grid, threshold=calibration.threshold, box=found.box)
        return Opinion(
            decision=(Decision.PASS if passed else Decision.FAIL).value,
            reason=(Reason.OK if passed else Reason.DEFECT).word,
            score=found.score,
            severity=calibration.severity(found.score),
            boxes=tuple(region.box for region in regions),
            model=self._bundle.label,
        )


def of_bundle(
    path: Path, frames: Iterable[RecordedCapture], *, device: str, judged: Callable[[], None] = lambda: None
) -> dict[str, Opinion]:
    """What a bundle says of frames, by their ids.

    Args:
        path: of the bundle.
        frames: recorded.
        device: `auto`, `cpu` or `cuda`.
        judged: called after each.

    Raises:
        BundleError: it is damaged.
        DataError: no such device here.
    """
    judge, found = Judge(path, device=device), dict[str, Opinion]()
    for capture in frames:
        found[str(capture.header.id)] = judge.judge(capture)
        judged()
    return found
