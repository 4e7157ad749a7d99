"""What is learnt of the time until a verdict is stored."""

import random

import pytest

from worker.pace import FORGOTTEN_S, MOST_AFTER_S, MOST_FACTOR, Pace


def test_at_first_the_warm_ups_figures_hold() -> None:
    assert Pace().needs_s(0.01, now=0.0) == 0.01


def test_a_machine_that_has_become_slower_is_believed() -> None:
    pace = Pace()
    for step in range(200):
        pace.inferred(predicted_s=0.01, actual_s=0.015, now=step / 100)
        pace.stored(0.004)
    assert pace.needs_s(0.01, now=2.0) == pytest.approx(0.019, rel=0.01)


def test_a_batch_that_was_quick_does_not_make_up_for_slow_ones() -> None:
    """Of batches that take up to one and a half times as long, about nine in ten take no longer than is learnt."""
    draw, pace = random.Random(0), Pace()
    ratios = [1 + draw.random() / 2 for _ in range(2000)]
    for step, ratio in enumerate(ratios):
        pace.inferred(predicted_s=0.01, actual_s=0.01 * ratio, now=step / 100)
    within = sum(ratio <= pace.factor for ratio in ratios) / len(ratios)
    assert 0.7 < within < 0.99


def test_a_hiccup_is_bounded() -> None:
    pace = Pace()
    pace.inferred(predicted_s=0.01, actual_s=10.0, now=0.0)
    pace.stored(60.0)
    assert pace.needs_s(0.01, now=0.0) <= 0.1 * (0.01 * MOST_FACTOR + MOST_AFTER_S) + 0.01


def test_what_was_learnt_is_forgotten_when_no_batch_comes_any_more() -> None:
    """Else a frame that looks hopeless by it would look so for ever: hopeless frames are not inferred."""
    pace = Pace()
    for _ in range(500):
        pace.inferred(predicted_s=0.01, actual_s=1.0, now=0.0)
        pace.stored(1.0)
    assert pace.needs_s(0.01, now=FORGOTTEN_S) == pytest.approx(0.01 * MOST_FACTOR + MOST_AFTER_S, rel=0.01)
    assert pace.needs_s(0.01, now=FORGOTTEN_S + 0.1) == 0.01


def test_a_warm_up_beside_other_work_is_put_right_by_what_batches_really_take() -> None:
    """Slowly, so that one quick batch says little, and for good: a pause does not bring the wrong figure back."""
    pace = Pace()
    pace.inferred(predicted_s=0.01, actual_s=0.004, now=0.0)
    assert pace.needs_s(0.01, now=0.0) > 0.0099
    for _ in range(600):
        pace.inferred(predicted_s=0.01, actual_s=0.004, now=0.0)
    assert pace.needs_s(0.01, now=0.0) == pytest.approx(0.004, rel=0.01)
    assert pace.needs_s(0.01, now=FORGOTTEN_S + 0.1) == pytest.approx(0.004, rel=0.01)


def test_an_engine_that_costs_nothing_teaches_nothing() -> None:
    pace = Pace()
    pace.inferred(predicted_s=0.0, actual_s=1.0, now=0.0)
    assert pace.needs_s(0.0, now=0.0) == 0.0
