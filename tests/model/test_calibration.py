"""From good scores to a threshold, and what it promises."""

import math
import random
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from model.calibration import KEPT_SCORES, Calibration, calibrate
from model.errors import DataError
from tests.model.small import CALIBRATION, is_one_sentence

finite = st.floats(-1e6, 1e6)


def uniform_calibrations(sets: int, n: int, rate: float) -> list[Calibration]:
    rng = np.random.default_rng(0)
    return [calibrate(rng.random(n).tolist(), false_reject_rate=rate) for _ in range(sets)]


@settings(deadline=None, max_examples=300)
@given(n=st.integers(1, 3000), p=st.integers(1, 9999), q=st.sampled_from([10, 20, 100, 128, 333, 1000, 9999, 10_000]))
def test_the_rank_is_the_ceiling_of_n_plus_1_times_1_minus_the_rate(n: int, p: int, q: int) -> None:
    rate = Fraction(p % q or 1, q)
    rank = math.ceil((n + 1) * (1 - rate))
    scores = [float(score) for score in reversed(range(n))]
    if rank > n or scores[::-1][rank - 1] <= np.median(scores):
        with pytest.raises(DataError):
            calibrate(scores, false_reject_rate=float(rate))
    else:
        calibration = calibrate(scores, false_reject_rate=float(rate))
        assert (calibration.rank, calibration.images, calibration.threshold) == (rank, n, rank - 1)


@pytest.mark.parametrize("n", [2, 3, 5, 9, 18, 19, 20, 48, 98, 99, 100, 999, 2994])
def test_the_smallest_possible_rate_is_allowed_and_takes_the_highest_score(n: int) -> None:
    calibration = calibrate([float(score) for score in range(n)], false_reject_rate=1 / (n + 1))
    assert (calibration.rank, calibration.threshold) == (n, n - 1)


@pytest.mark.parametrize("n", [2, 19, 99, 999])
def test_a_rate_below_the_smallest_possible_is_refused_and_names_it(n: int) -> None:
    with pytest.raises(DataError) as caught:
        calibrate([float(score) for score in range(n)], false_reject_rate=0.99 / (n + 1))
    assert f"{1 / (n + 1):.4g}" in str(caught.value)
    assert str(n) in str(caught.value)
    assert is_one_sentence(caught.value)


@pytest.mark.parametrize(("n", "rate"), [(2, 1 / 3), (24, 1 / 25), (98, 1 / 99), (99, 0.01), (500, 0.01)])
def test_the_default_rate_is_one_percent_or_the_smallest_possible(n: int, rate: float) -> None:
    assert calibrate([float(score) for score in range(n)]).false_reject_rate == pytest.approx(rate)


@pytest.mark.parametrize(("rate", "images"), [(0.05, 19), (0.01, 99), (0.001, 999)])
def test_so_many_images_promise_a_rate_on_average_and_one_fewer_do_not(rate: float, images: int) -> None:
    scores = [float(score) for score in range(images)]
    assert calibrate(scores, false_reject_rate=rate).threshold == scores[-1]
    with pytest.raises(DataError):
        calibrate(scores[:-1], false_reject_rate=rate)


@pytest.mark.parametrize(("rate", "images"), [(0.05, 59), (0.01, 299), (0.001, 2995)])
def test_so_many_images_promise_a_rate_with_95_percent_confidence_and_one_fewer_do_not(
    rate: float, images: int
) -> None:
    def upper(n: int) -> float:
        scores = [float(score) for score in range(n)]
        return calibrate(scores, false_reject_rate=1 / (n + 1)).false_reject_upper_95

    assert upper(images) <= rate < upper(images - 1)


@pytest.mark.parametrize(("n", "rate"), [(19, 0.05), (30, 0.1), (57, 0.02)])
def test_exchangeable_good_parts_are_rejected_as_often_as_promised_on_average(n: int, rate: float) -> None:
    """The threshold rejects the next part with probability 1 - k / (n + 1), whatever the scores' distribution."""
    rng, rates, sets = np.random.default_rng(1), [], 400
    rank = 0
    for _ in range(sets):
        scores = rng.gamma(2.0, size=n + 40)
        calibration = calibrate(scores[:n].tolist(), false_reject_rate=rate)
        rank = calibration.rank
        rates.append(np.mean([not calibration.passes(float(score)) for score in scores[n:]]))
    expected = 1 - rank / (n + 1)
    assert expected <= rate + 1e-12
    assert abs(np.mean(rates) - expected) <= 3 * np.std(rates, ddof=1) / sets**0.5


@pytest.mark.parametrize(("n", "rate"), [(19, 0.05), (40, 0.1), (100, 0.05)])
def test_the_upper_bound_holds_for_95_percent_of_calibration_sets(n: int, rate: float) -> None:
    """Uniform scores: a threshold t rejects a share of exactly 1 - t."""
    sets = 1500
    found = uniform_calibrations(sets, n, rate)
    held = np.mean([1 - calibration.threshold <= calibration.false_reject_upper_95 for calibration in found])
    assert abs(held - 0.95) <= 3 * (0.95 * 0.05 / sets) ** 0.5


@settings(deadline=None)
@given(scores=st.lists(finite, min_size=2, max_size=40, unique=True), shuffle=st.randoms())
def test_the_order_of_the_scores_does_not_matter(scores: list[float], shuffle: random.Random) -> None:
    shuffled = list(scores)
    shuffle.shuffle(shuffled)
    assert calibrate(shuffled) == calibrate(scores)


@settings(deadline=None)
@given(scores=st.lists(finite, min_size=2, max_size=40, unique=True))
def test_by_default_every_calibration_picture_below_the_hundredth_passes(scores: list[float]) -> None:
    calibration = calibrate(scores)
    assert all(calibration.passes(score) for score in scores)
    assert calibration.low <= calibration.median < calibration.threshold <= calibration.high


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_a_calibration_score_that_is_not_finite_is_refused(bad: float) -> None:
    with pytest.raises(DataError) as caught:
        calibrate([0.0, 1.0, bad])
    assert is_one_sentence(caught.value)


def test_no_scores_at_all_are_refused() -> None:
    with pytest.raises(DataError) as caught:
        calibrate([])
    assert is_one_sentence(caught.value)


@pytest.mark.parametrize("rate", [0.0, 1.0, -0.5, 1.5, math.nan, math.inf, -math.inf])
def test_a_rate_outside_0_to_1_is_refused(rate: float) -> None:
    with pytest.raises(DataError) as caught:
        calibrate([float(score) for score in range(50)], false_reject_rate=rate)
    assert is_one_sentence(caught.value)


def test_scores_that_are_all_alike_are_refused_and_called_so() -> None:
    with pytest.raises(DataError) as caught:
        calibrate([-0.25] * 20)
    assert "all alike" in str(caught.value)
    assert is_one_sentence(caught.value)


def test_a_rate_too_high_for_a_threshold_above_the_median_is_not_called_scores_that_are_alike() -> None:
    with pytest.raises(DataError) as caught:
        calibrate([float(score) for score in range(10)], false_reject_rate=0.8)
    assert "alike" not in str(caught.value)


def test_a_single_score_is_refused_as_too_few_not_as_scores_that_are_alike() -> None:
    with pytest.raises(DataError) as caught:
        calibrate([0.3])
    assert "alike" not in str(caught.value)


@pytest.mark.parametrize("score", [math.nan, math.inf, -math.inf])
def test_a_score_that_is_not_finite_never_passes(score: float) -> None:
    assert not CALIBRATION.passes(score)


@settings(deadline=None)
@given(score=st.floats(allow_nan=True, allow_infinity=True))
def test_a_score_passes_exactly_when_it_is_finite_and_not_above_the_threshold(score: float) -> None:
    assert CALIBRATION.passes(score) == (math.isfinite(score) and score <= 0.5)


def test_the_threshold_itself_passes_and_the_next_number_fails() -> None:
    assert CALIBRATION.passes(0.5)
    assert not CALIBRATION.passes(math.nextafter(0.5, 1))


def test_severity_is_0_at_the_median_and_1_at_the_threshold_whatever_the_sign() -> None:
    below_zero = calibrate([-3.0, -2.5, -2.0, -1.75, -1.5])
    assert below_zero.severity(-2.0) == 0
    assert below_zero.severity(-1.5) == 1
    assert below_zero.severity(-1.0) == 2


@pytest.mark.parametrize("field", ["threshold", "median", "low", "high", "false_reject_upper_95"])
@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_stored_calibration_has_only_finite_numbers(field: str, value: float) -> None:
    with pytest.raises(ValidationError):
        Calibration.model_validate({**CALIBRATION.model_dump(), field: value})


@pytest.mark.parametrize("threshold", [-0.5, -0.6])
def test_a_stored_threshold_that_is_not_above_the_median_is_refused(threshold: float) -> None:
    with pytest.raises(ValidationError, match="not above the median"):
        Calibration.model_validate({**CALIBRATION.model_dump(), "threshold": threshold})


def test_pictures_that_fail_anyway_count_among_the_rejected() -> None:
    """19 at 10 % reject two; one that fails whatever the threshold is one of them."""
    scores = [float(score) for score in range(19)]
    assert calibrate(scores, false_reject_rate=0.1).threshold == 17
    found = calibrate(scores[:18], rejected=1, false_reject_rate=0.1)
    assert (found.threshold, found.images, found.rank, found.high) == (17, 19, 18, 17)
    with pytest.raises(DataError, match="3 of 19 good pictures fail anyway"):
        calibrate(scores[:16], rejected=3, false_reject_rate=0.1)


def test_the_scores_are_kept_in_order() -> None:
    calibration = calibrate([3.0, 1.0, 2.0])
    assert calibration.scores == (1.0, 2.0, 3.0)
    assert Calibration.model_validate_json(calibration.model_dump_json()) == calibration


def test_of_many_scores_a_thousand_are_kept_by_their_place_whatever_their_value() -> None:
    scores = [float(place % 2500) for place in range(2500)]
    kept = calibrate(scores).scores
    assert len(kept) == KEPT_SCORES
    assert kept == tuple(sorted(scores[int(place * 2.5)] for place in range(KEPT_SCORES)))


def test_scores_that_do_not_ascend_or_are_too_many_are_refused() -> None:
    known = calibrate([1.0, 2.0, 3.0]).model_dump()
    for scores in ((2.0, 1.0), tuple(map(float, range(KEPT_SCORES + 1)))):
        with pytest.raises(ValidationError):
            Calibration.model_validate({**known, "scores": scores})


def test_a_calibration_from_before_scores_were_kept_has_none() -> None:
    known = calibrate([1.0, 2.0, 3.0]).model_dump()
    del known["scores"]
    assert Calibration.model_validate(known).scores == ()
