"""The judge: finite and not above the threshold and in time, or it fails."""

import math
from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("torch")

from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from model.calibration import Calibration
from model.engine import Inspection
from model.scoring import Scoring
from tests.worker.frames import received, tag
from worker.batcher import ReceivedFrame
from worker.judge import judge, refusal
from worker.verdict import Decision, Reason, Verdict

CALIBRATION = Calibration(
    threshold=0.5,
    median=-1.0,
    low=-2.0,
    high=0.5,
    images=99,
    rank=99,
    false_reject_rate=0.01,
    false_reject_upper_95=0.03,
)


def judged(peak: float, *, late: bool = False, frame: ReceivedFrame | None = None) -> Verdict:
    grid = np.full((4, 4), -3.0, np.float32)
    grid[1, 2] = peak
    inspection = Inspection(
        score=float(grid.max()) if math.isfinite(peak) else peak, grid=grid, size=(32, 32), box=(0, 0, 64, 64)
    )
    return verdict_of(inspection, CALIBRATION, late=late, frame=frame)


def verdict_of(
    inspection: Inspection, calibration: Calibration, *, late: bool = False, frame: ReceivedFrame | None = None
) -> Verdict:
    return judge(
        frame or received(0),
        inspection,
        calibration,
        model="part@0",
        worker="w",
        late=late,
        valid_until_us=7,
        inspected_ns=1,
        latency_us={},
    )


@pytest.mark.parametrize("score", [0.5, 0.25, -3.0])
def test_a_score_at_or_below_the_threshold_passes(score: float) -> None:
    assert judged(score).passed


@pytest.mark.parametrize("score", [0.5000001, 2.0])
def test_a_score_above_the_threshold_is_a_defect_with_a_region(score: float) -> None:
    verdict = judged(score)
    assert (verdict.decision, verdict.reason) == (Decision.FAIL, Reason.DEFECT)
    assert [region.box for region in verdict.regions] == [(32, 16, 16, 16)]
    assert verdict.regions[0].severity == pytest.approx(verdict.severity)


def test_a_verdict_keeps_the_way_from_its_frame_to_the_sensor() -> None:
    frame = received(0)
    cut = frame.header.model_copy(update={"transform": ((1.0, 0.0, 100.0), (0.0, 1.0, 50.0))})
    verdict = judged(2.0, frame=replace(frame, header=cut))
    assert verdict.sensor_boxes() == ((132, 66, 16, 16),)


@pytest.mark.parametrize("score", [math.nan, math.inf, -math.inf])
def test_a_score_that_is_not_finite_fails_and_does_not_blame_the_part(score: float) -> None:
    verdict = judged(score)
    assert (verdict.decision, verdict.reason, verdict.map) == (Decision.FAIL, Reason.WORKER_ERROR, None)


def test_a_pass_after_its_budget_is_late() -> None:
    verdict = judged(0.0, late=True)
    assert (verdict.decision, verdict.reason) == (Decision.FAIL, Reason.LATE)


def test_a_defect_after_its_budget_stays_a_defect() -> None:
    assert judged(1.0, late=True).reason is Reason.DEFECT


def test_severity_is_one_at_the_threshold_and_zero_at_the_median() -> None:
    assert (judged(0.5).severity, judged(-1.0).severity) == (1.0, 0.0)


def test_a_refused_frame_fails_and_keeps_its_identity() -> None:
    verdict = refusal(
        tag(9, part_id="p"), Reason.LOST, note="gone", worker="w", inspected_ns=1, latency_us={}, recipe="part"
    )
    assert (verdict.passed, verdict.reason, verdict.tag.seq, verdict.tag.part_id) == (False, Reason.LOST, 9, "p")


levels = st.integers(-4, 9).map(float)  # few of them: ties matter


@settings(deadline=None, max_examples=150)
@given(data=st.data())
def test_every_defect_has_a_region_within_the_frame_that_is_worse_than_the_threshold(data: st.DataObject) -> None:
    """Whatever the score rule, the smallest area, the mask and the frame."""
    rows, columns = data.draw(st.tuples(st.integers(1, 9), st.integers(1, 9)))
    grid = data.draw(arrays(np.float32, (rows, columns), elements=levels | st.floats(-4, 9, width=32)))
    cells = data.draw(arrays(np.bool_, (rows, columns)))
    mask = tuple("".join("#" if cell else "." for cell in row) for row in cells) if not cells.all() else ()
    scoring = Scoring(top_k=data.draw(st.integers(1, 12)), min_area=data.draw(st.integers(1, 12)), ignore=mask)
    threshold = data.draw(levels | st.floats(-4, 9))
    x, y, width, height = data.draw(st.tuples(st.integers(0, 9), st.integers(0, 9), *[st.integers(1, 40)] * 2))
    applied = scoring.apply(grid)
    verdict = verdict_of(
        Inspection(scoring.score(applied), applied, (rows * 8, columns * 8), (x, y, width, height)),
        CALIBRATION.model_copy(update={"threshold": threshold, "median": threshold - 1}),
    )
    assert (verdict.reason is Reason.DEFECT) == bool(verdict.regions)
    for region in verdict.regions:
        left, top, across, down = region.box
        assert x <= left < left + across <= x + width
        assert y <= top < top + down <= y + height
        assert region.area > 0
        assert region.severity >= 1  # above the threshold, if only by less than a float shows
