"""The drift watches of a worker, one for each camera and recipe: what they say goes to the log and to `/metrics`."""

from collections.abc import Iterable, Mapping
from typing import NamedTuple

import structlog

from worker.drift import RATE, DriftWatch
from worker.preparing import PreparedFrame
from worker.recipes import Recipe
from worker.settings import CameraSettings
from worker.sink import Judged

log = structlog.get_logger("drift")


class Watched(NamedTuple):
    """How one camera's parts of one recipe compare with calibration.

    Attributes:
        camera: of them.
        recipe: of them.
        evidence: that their scores have risen, a power of ten.
        warning: whether they have.
    """

    camera: str
    recipe: str
    evidence: float
    warning: bool


class DriftWatches:
    """Compares every judged frame's score with calibration; says so when a watch warns, and when all is well again.

    A recipe whose bundle keeps no calibration scores is not watched. One whose bundle is exchanged begins anew. One
    thread adds.

    Args:
        cameras: that are dialled, by name: their own recipes are watched from the start.
        recipes: in use, by name.
    """

    def __init__(self, cameras: Mapping[str, CameraSettings], recipes: Mapping[str, Recipe]) -> None:
        self._watches: dict[tuple[str, str], tuple[str, DriftWatch]] = {}  # with the label of the bundle
        for name, camera in cameras.items():
            if camera.recipe in recipes:
                self._watch(name, camera.recipe, recipes[camera.recipe])

    def judged(self, frames: Iterable[PreparedFrame], batch: Iterable[Judged]) -> None:
        """Takes in a batch that is judged: its frames, and their verdicts in the same order."""
        for frame, item in zip(frames, batch, strict=True):
            if item.verdict.score is not None:
                self._add(frame.header.camera, frame.recipe, frame.bundle, item.verdict.score)

    def states(self) -> list[Watched]:
        """How each watch stands. Any thread."""
        return [
            Watched(camera, recipe, watch.evidence, watch.warning)
            for (camera, recipe), (_, watch) in list(self._watches.items())
        ]

    def _add(self, camera: str, recipe: str, bundle: Recipe, score: float) -> None:
        watch, calibration = self._watch(camera, recipe, bundle), bundle.manifest.calibration
        if watch is None:
            return
        changed = watch.add(score, passed=calibration.passes(score), severity=calibration.severity(score))
        if changed:
            _tell(watch, camera=camera, recipe=recipe, model=bundle.label, severity=round(watch.recent, 2))

    def _watch(self, camera: str, recipe: str, bundle: Recipe) -> DriftWatch | None:
        scores = bundle.manifest.calibration.scores
        if not scores:
            return None
        known, watch = self._watches.get((camera, recipe), (None, None))
        if watch is None or known != bundle.label:
            watch = DriftWatch(scores)
            self._watches[camera, recipe] = (bundle.label, watch)
        return watch


def _tell(watch: DriftWatch, **what: str | float) -> None:
    """`severity` is that of late: it was 0 at calibration, and is 1 at the threshold."""
    if watch.warning:
        log.warning("scores have risen since calibration: look at lamp, lens and product", **what, false_alarms=RATE)
    else:
        log.info("scores are as in calibration again", **what)
