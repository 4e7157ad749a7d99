"""The watches of a worker: one for each camera and recipe, of whichever bundle judges."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("torch")

import structlog

from tests.worker.frames import received, verdict
from worker.bench.null import null_recipe
from worker.preparing import PreparedFrame
from worker.recipes import Recipe
from worker.settings import CameraSettings
from worker.sink import Judged
from worker.watches import DriftWatches

CAMERAS = {"cam1": CameraSettings(endpoint="tcp://127.0.0.1:1", recipe="part")}
SCORES = tuple(step / 100 for step in range(50))
PICTURE = np.zeros((16, 16, 3), np.uint8)


def a_recipe(label: str = "part@1", scores: Sequence[float] = SCORES) -> Recipe:
    """One whose threshold is 0.5."""
    recipe = null_recipe()
    calibration = recipe.manifest.calibration.model_copy(update={"scores": tuple(scores)})
    return replace(recipe, label=label, manifest=recipe.manifest.model_copy(update={"calibration": calibration}))


def judged(watches: DriftWatches, recipe: Recipe, *scores: float | None) -> None:
    """Hands over a batch with these scores."""
    frames, verdicts = [], []
    for seq, score in enumerate(scores):
        frame = received(seq)
        rest = {"image": PICTURE, "bundle": recipe, "prepare_s": 0.0}
        frames.append(PreparedFrame(frame.header, b"", frame.recipe, 0.0, 0, **rest))  # type: ignore[arg-type]  # by name
        verdicts.append(Judged(verdict(seq).model_copy(update={"score": score}), 0.0))
    watches.judged(frames, verdicts)


def test_a_camera_s_own_recipe_is_watched_from_the_start() -> None:
    (watched,) = DriftWatches(CAMERAS, {"part": a_recipe()}).states()
    assert watched == ("cam1", "part", 0.0, False)


def test_a_movement_is_said_once_and_its_end_too() -> None:
    watches, recipe = DriftWatches(CAMERAS, {}), a_recipe()
    with structlog.testing.capture_logs() as said:
        judged(watches, recipe, *[0.45] * 500)
        assert [state.warning for state in watches.states()] == [True]
        rng = np.random.default_rng(0)
        judged(watches, recipe, *rng.uniform(0, 0.5, 2000).tolist())
    assert [state.warning for state in watches.states()] == [False]
    assert [(entry["log_level"], entry["camera"], entry["recipe"]) for entry in said] == [
        ("warning", "cam1", "part"),
        ("info", "cam1", "part"),
    ]
    assert "risen" in said[0]["event"]
    assert said[0]["severity"] > 0.2


def test_a_bundle_without_calibration_scores_is_not_watched() -> None:
    watches, recipe = DriftWatches(CAMERAS, {"part": a_recipe(scores=())}), a_recipe(scores=())
    judged(watches, recipe, *[0.45] * 10)
    assert watches.states() == []


def test_another_bundle_in_a_recipe_s_place_is_compared_with_its_own_scores() -> None:
    watches = DriftWatches(CAMERAS, {"part": a_recipe()})
    judged(watches, a_recipe(), *[0.45] * 500)
    judged(watches, a_recipe("part@2", [score + 0.2 for score in SCORES]), 0.45)
    (watched,) = watches.states()
    assert not watched.warning
    assert watched.evidence < 1


def test_a_frame_without_a_score_is_of_no_account() -> None:
    watches, recipe = DriftWatches(CAMERAS, {"part": a_recipe()}), a_recipe()
    judged(watches, recipe, *[None] * 500)
    assert watches.states()[0].evidence == 0
