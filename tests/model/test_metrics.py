"""Figures of merit, each against its definition written out as slowly as it reads."""

import math
from collections.abc import Callable
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from numpy.typing import NDArray
from scipy import ndimage
from sklearn.metrics import precision_recall_curve, roc_auc_score

from model.errors import DataError
from model.metrics import (
    Rate,
    aupro,
    auroc,
    average_precision,
    clopper_pearson,
    error_curve,
    f1_max,
    pixel_auroc,
    pixel_auroc_by_kind,
    pro_curve,
)
from tests.model.small import CALIBRATION, is_one_sentence

Bools = NDArray[np.bool_]
Floats = NDArray[np.float32]
Pictures = tuple[list[Bools], list[Floats]]

levels = st.integers(-2, 3).map(float)  # few of them: ties matter
limits = st.sampled_from([0.01, 0.1, 0.25, 0.3, 0.5, 1.0])


def picture(shape: tuple[int, ...]) -> st.SearchStrategy[tuple[Bools, Floats]]:
    masks = arrays(np.bool_, shape) | st.just(np.zeros(shape, np.bool_))
    return st.tuples(masks, arrays(np.float32, shape, elements=levels, fill=st.nothing()))


shapes = array_shapes(min_dims=2, max_dims=2, max_side=7)
pictures: st.SearchStrategy[Pictures] = st.lists(shapes.flatmap(picture), min_size=1, max_size=4).map(
    lambda pairs: ([mask for mask, _ in pairs], [scores for _, scores in pairs])
)
labelled = st.lists(st.tuples(st.booleans(), levels), max_size=20).map(
    lambda pairs: (np.array([bad for bad, _ in pairs], np.bool_), np.array([score for _, score in pairs], np.float64))
)


def both_sorts(masks: list[Bools]) -> bool:
    return any(mask.any() for mask in masks) and not all(mask.all() for mask in masks)


def pro_points(masks: list[Bools], maps: list[Floats]) -> list[tuple[float, float]]:
    """Rate and overlap at every distinct score, highest first, after (0, 0)."""
    found = []
    for threshold in sorted({float(score) for scores in maps for score in scores.flat}, reverse=True):
        reached = [scores >= threshold for scores in maps]
        alarms = [above for mask, above_in in zip(masks, reached, strict=True) for above in above_in[~mask]]
        overlaps = []
        for mask, above_in in zip(masks, reached, strict=True):
            components, count = ndimage.label(mask, structure=np.ones((3, 3)))
            overlaps += [above_in[components == component].mean() for component in range(1, count + 1)]
        found.append((float(np.mean(alarms)), float(np.mean(overlaps))))
    return [(0.0, 0.0), *found]


def area_up_to(limit: float, points: list[tuple[float, float]]) -> float:
    area = 0.0
    for (x0, y0), (x1, y1) in pairwise(points):
        if x0 < limit < x1:
            x1, y1 = limit, y0 + (y1 - y0) * (limit - x0) / (x1 - x0)
        if x1 <= limit:
            area += (x1 - x0) * (y0 + y1) / 2
    return area


def two_pictures() -> Pictures:
    """A region of one pixel and one of two, four normal pixels; by falling score: (0, 1/2) (1/4, 3/4) (1/2, 3/4) ..."""
    masks = [np.array([[1, 0, 0]], np.bool_), np.array([[1, 1], [0, 0]], np.bool_)]
    return masks, [np.array([[4, 3, 2]], np.float32), np.array([[3, 1], [0, 0]], np.float32)]


@settings(deadline=None, max_examples=400)
@given(pictures=pictures, limit=limits)
def test_aupro_is_what_its_definition_says(pictures: Pictures, limit: float) -> None:
    masks, maps = pictures
    assume(both_sorts(masks))
    area = area_up_to(limit, pro_points(masks, maps))
    assert aupro(masks, maps, limit=limit) == pytest.approx(area / limit, abs=1e-9)


@settings(deadline=None, max_examples=200)
@given(pictures=pictures)
def test_the_pro_curve_turns_only_where_a_threshold_has_its_point(pictures: Pictures) -> None:
    masks, maps = pictures
    assume(both_sorts(masks))
    curve = pro_curve(masks, maps)
    assert curve is not None
    found = set(zip(*np.round(curve, 9).tolist(), strict=True))
    assert found <= {(round(rate, 9), round(overlap, 9)) for rate, overlap in pro_points(masks, maps)}


@pytest.mark.parametrize(("limit", "area"), [(0.125, 0.5625), (0.25, 0.625), (0.5, 0.6875), (1.0, 0.84375)])
def test_aupro_of_two_pictures_is_what_one_gets_by_hand(limit: float, area: float) -> None:
    assert aupro(*two_pictures(), limit=limit) == pytest.approx(area)


def test_the_pro_curve_of_two_pictures_is_what_one_gets_by_hand() -> None:
    curve = pro_curve(*two_pictures())
    assert curve is not None
    corners = dict.fromkeys(zip(curve[0].tolist(), curve[1].tolist(), strict=True))
    assert list(corners) == [(0, 0), (0, 0.5), (0.25, 0.75), (0.5, 0.75), (0.5, 1), (1, 1)]


def test_aupro_goes_up_to_a_false_positive_rate_of_30_percent_unless_told_otherwise() -> None:
    assert aupro(*two_pictures()) == aupro(*two_pictures(), limit=0.3) != aupro(*two_pictures(), limit=0.31)


@pytest.mark.parametrize("limit", [0.01, 0.3, 1.0])
def test_a_perfect_map_has_an_aupro_of_1_and_its_negative_one_of_0(limit: float) -> None:
    masks, _ = two_pictures()
    assert aupro(masks, [mask.astype(np.float32) for mask in masks], limit=limit) == pytest.approx(1)
    assert aupro(masks, [-mask.astype(np.float32) for mask in masks], limit=limit) == pytest.approx(0)


@pytest.mark.parametrize("limit", [0.01, 0.3, 1.0])
def test_a_map_that_says_nothing_has_an_aupro_of_half_the_limit(limit: float) -> None:
    masks, _ = two_pictures()
    assert aupro(masks, [np.full(mask.shape, 7, np.float32) for mask in masks], limit=limit) == pytest.approx(limit / 2)


def test_every_region_counts_alike_however_large() -> None:
    mask = np.zeros((10, 10), np.bool_)
    mask[:5, :] = mask[9, 9] = True
    scores = np.zeros((10, 10), np.float32)
    scores[9, 9] = 1
    assert aupro([mask], [scores], limit=1) == pytest.approx((0.5 + 1) / 2)


def test_pixels_that_touch_at_a_corner_are_one_region() -> None:
    mask = np.array([[1, 0, 0, 0, 1], [0, 1, 0, 0, 0]], np.bool_)
    scores = np.array([[0, 0, 0, 0, 1], [0, 0, 0, 0, 0]], np.float32)
    assert aupro([mask], [scores], limit=1) == pytest.approx((1 / 2 + 1) / 2)


def test_a_picture_without_a_defect_adds_to_the_normal_pixels() -> None:
    masks, maps = two_pictures()
    alarms = np.full((2, 2), 9, np.float32)
    assert aupro([*masks, np.zeros((2, 2), np.bool_)], [*maps, alarms], limit=0.5) == pytest.approx(0)


@settings(deadline=None)
@given(pictures=pictures)
def test_how_a_picture_lies_in_memory_is_no_matter(pictures: Pictures) -> None:
    masks, maps = pictures
    turned = [mask[::-1].T for mask in masks], [scores[::-1].T for scores in maps]
    upright = [mask.copy() for mask in turned[0]], [scores.copy() for scores in turned[1]]
    assert aupro(*turned) == aupro(*upright)
    assert pixel_auroc(*turned) == pixel_auroc(*upright)


@settings(deadline=None)
@given(pictures=pictures, points=st.integers(2, 12))
def test_a_thinned_curve_keeps_its_ends_and_a_point_near_each_that_it_drops(pictures: Pictures, points: int) -> None:
    whole, thin = pro_curve(*pictures), pro_curve(*pictures, points=points)
    assume(whole is not None)
    assert whole is not None
    assert thin is not None
    kept = list(zip(*thin, strict=True))
    assert len(kept) <= points
    assert kept[0] == (0, 0)
    assert kept[-1] == (1, 1)
    assert set(kept) <= set(zip(*whole, strict=True))
    assert all(min(abs(x + y - u - v) for u, v in kept) <= 2 / (points - 1) for x, y in zip(*whole, strict=True))


@settings(deadline=None, max_examples=300)
@given(pictures=pictures)
def test_pixel_auroc_is_scikit_learn_s_over_all_pixels(pictures: Pictures) -> None:
    masks, maps = pictures
    assume(both_sorts(masks))
    pooled = roc_auc_score(np.concatenate([m.ravel() for m in masks]), np.concatenate([m.ravel() for m in maps]))
    assert pixel_auroc(masks, maps) == pytest.approx(float(pooled))


@pytest.mark.parametrize("figure", [aupro, pixel_auroc, pro_curve])
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize(("index", "place"), [(0, (0, 0)), (0, (0, 1)), (1, (1, 1))])
def test_one_pixel_that_is_not_finite_leaves_no_figure(
    figure: Callable[[list[Bools], list[Floats]], object], value: float, index: int, place: tuple[int, int]
) -> None:
    masks, maps = two_pictures()
    assert figure(masks, maps) is not None
    maps[index][place] = value
    assert figure(masks, maps) is None


@pytest.mark.parametrize("figure", [aupro, pixel_auroc, pro_curve])
@pytest.mark.parametrize("defective", [True, False])
def test_pixels_of_one_sort_alone_leave_no_figure(
    figure: Callable[[list[Bools], list[Floats]], object], defective: bool
) -> None:
    _, maps = two_pictures()
    assert figure([np.full(scores.shape, defective) for scores in maps], maps) is None
    assert figure([], []) is None


@pytest.mark.parametrize("figure", [aupro, pixel_auroc, pro_curve])
def test_a_map_that_does_not_fit_its_mask_is_refused(
    figure: Callable[[list[Bools], list[Floats]], object],
) -> None:
    masks, maps = two_pictures()
    for wrong in ([maps[0].T, maps[1]], maps[:1], [*maps, maps[0]]):
        with pytest.raises(DataError) as caught:
            figure(masks, wrong)
        assert is_one_sentence(caught.value)


@pytest.mark.parametrize("limit", [0.0, -0.3, 1.01, math.nan])
def test_a_limit_that_is_no_rate_is_refused(limit: float) -> None:
    with pytest.raises(DataError, match="at most 1") as caught:
        aupro(*two_pictures(), limit=limit)
    assert is_one_sentence(caught.value)


@settings(deadline=None)
@given(pictures=pictures, data=st.data())
def test_pixel_auroc_by_kind_takes_a_kind_s_pictures_and_all_good_ones(pictures: Pictures, data: st.DataObject) -> None:
    masks, maps = pictures
    kinds = [data.draw(st.sampled_from(["good", "cut", "burn"])) for _ in masks]
    masks = [mask & (kind != "good") for mask, kind in zip(masks, kinds, strict=True)]
    expected = {}
    for kind in ("burn", "cut"):
        chosen = [index for index, other in enumerate(kinds) if other in ("good", kind)]
        if both_sorts([masks[index] for index in chosen]):
            truth = np.concatenate([masks[index].ravel() for index in chosen])
            expected[kind] = float(roc_auc_score(truth, np.concatenate([maps[index].ravel() for index in chosen])))
    found = pixel_auroc_by_kind(masks, maps, kinds)
    assert found == pytest.approx(expected)
    assert list(found) == sorted(found)


def test_a_kind_whose_masks_are_all_empty_has_no_pixel_auroc() -> None:
    masks, maps = two_pictures()
    masks[1][:] = False
    assert list(pixel_auroc_by_kind(masks, maps, ["cut", "burn"])) == ["cut"]


def test_as_many_kinds_as_pictures_are_expected() -> None:
    with pytest.raises(ValueError, match="longer"):
        pixel_auroc_by_kind(*two_pictures(), ["cut"])


@settings(deadline=None, max_examples=300)
@given(labelled=labelled)
def test_average_precision_is_the_precision_at_each_step_of_recall_times_the_step(
    labelled: tuple[Bools, NDArray[np.float64]],
) -> None:
    bad, scores = labelled
    assume(bad.any() and not bad.all())
    total, recall = 0.0, 0.0
    for threshold in sorted(set(scores), reverse=True):
        reached = scores >= threshold
        total += (bad[reached].sum() / bad.sum() - recall) * bad[reached].mean()
        recall = bad[reached].sum() / bad.sum()
    assert average_precision(bad, scores) == pytest.approx(total)


def f1_at(threshold: float, bad: Bools, scores: NDArray[np.float64]) -> float:
    failed = scores > threshold
    return 2 * int((failed & bad).sum()) / int(failed.sum() + bad.sum())


@settings(deadline=None, max_examples=300)
@given(labelled=labelled)
def test_f1_max_is_the_best_of_all_thresholds_at_the_lowest_that_reaches_it(
    labelled: tuple[Bools, NDArray[np.float64]],
) -> None:
    bad, scores = labelled
    assume(bad.any() and not bad.all())
    every = [-np.inf, *sorted(set(scores))]
    best = max(f1_at(threshold, bad, scores) for threshold in every)
    lowest = min(threshold for threshold in every if f1_at(threshold, bad, scores) == best)
    assert f1_max(bad, scores) == pytest.approx((best, lowest))


@settings(deadline=None)
@given(labelled=labelled)
def test_f1_max_is_the_one_of_scikit_learn_s_curve(labelled: tuple[Bools, NDArray[np.float64]]) -> None:
    bad, scores = labelled
    assume(bad.any() and not bad.all())
    precision, recall, _ = precision_recall_curve(bad, scores)
    found = f1_max(bad, scores)
    assert found is not None
    assert found[0] == pytest.approx(np.max(2 * precision * recall / np.maximum(precision + recall, 1e-12)))


def test_the_threshold_of_f1_max_parts_what_can_be_parted() -> None:
    assert f1_max(np.array([False, True, False, True]), np.array([1.0, 3.0, 2.0, 4.0])) == (1.0, 2.0)


def test_f1_max_fails_every_picture_where_that_is_best() -> None:
    assert f1_max(np.array([True, False]), np.array([1.0, 2.0])) == pytest.approx((2 / 3, -math.inf))


@pytest.mark.parametrize("figure", [auroc, average_precision, f1_max])
@pytest.mark.parametrize(
    ("bad", "scores"),
    [([], []), ([True], [1.0]), ([False, False], [1.0, 2.0]), ([True, False], [math.nan, 1.0])]
    + [([True, False], [1.0, infinity]) for infinity in (math.inf, -math.inf)],
    ids=str,
)
def test_pictures_of_one_label_or_a_score_that_is_not_finite_leave_no_figure(
    figure: Callable[[Bools, NDArray[np.float64]], object], bad: list[bool], scores: list[float]
) -> None:
    assert figure(np.array(bad, np.bool_), np.array(scores)) is None


@settings(deadline=None, max_examples=300)
@given(data=st.lists(st.tuples(st.booleans(), levels | st.sampled_from([math.nan, math.inf, -math.inf])), max_size=20))
def test_the_error_curve_counts_what_a_calibration_with_that_threshold_would_fail(
    data: list[tuple[bool, float]],
) -> None:
    bad, scores = np.array([label for label, _ in data], np.bool_), np.array([score for _, score in data], np.float64)
    thresholds, false_reject, miss = error_curve(bad, scores)
    assert thresholds.tolist() == [-np.inf, *sorted({score for score in scores.tolist() if math.isfinite(score)})]
    for threshold, rejects, misses in zip(thresholds, false_reject, miss, strict=True):
        passes = CALIBRATION.model_copy(update={"threshold": threshold}).passes
        good_fails = [not passes(score) for score in scores[~bad]]
        bad_passes = [passes(score) for score in scores[bad]]
        assert rejects == pytest.approx(np.mean(good_fails) if good_fails else math.nan, nan_ok=True)
        assert misses == pytest.approx(np.mean(bad_passes) if bad_passes else math.nan, nan_ok=True)


def binomial(successes: range, trials: int, rate: float) -> float:
    return sum(math.comb(trials, k) * rate**k * (1 - rate) ** (trials - k) for k in successes)


@settings(deadline=None)
@given(trials=st.integers(1, 60), share=st.floats(0, 1), confidence=st.sampled_from([0.5, 0.9, 0.95, 0.99]))
def test_at_either_end_of_an_interval_the_count_is_just_too_unlikely(
    trials: int, share: float, confidence: float
) -> None:
    failures, tail = round(share * trials), (1 - confidence) / 2
    low, high = clopper_pearson(failures, trials, confidence=confidence)
    assert 0 <= low <= failures / trials <= high <= 1
    assert low == 0 if failures == 0 else binomial(range(failures, trials + 1), trials, low) == pytest.approx(tail)
    assert high == 1 if failures == trials else binomial(range(failures + 1), trials, high) == pytest.approx(tail)


def test_no_failure_in_n_trials_bounds_the_rate_as_the_formula_says() -> None:
    assert clopper_pearson(0, 100) == pytest.approx((0, 1 - 0.025 ** (1 / 100)))
    assert clopper_pearson(100, 100) == pytest.approx((0.025 ** (1 / 100), 1))


def test_no_trial_says_nothing_about_a_rate() -> None:
    assert clopper_pearson(0, 0) == (0, 1)
    assert (Rate(0, 0).value, Rate(0, 0).low, Rate(0, 0).high) == (None, 0, 1)


@pytest.mark.parametrize(("failures", "trials"), [(1, 0), (4, 3), (-1, 3), (0, -1)])
def test_more_failures_than_trials_are_refused(failures: int, trials: int) -> None:
    with pytest.raises(ValueError, match="must"):
        clopper_pearson(failures, trials)


def test_a_rate_is_its_share_within_its_interval_of_95_percent() -> None:
    rate = Rate(failures=3, trials=40)
    assert rate.value == 3 / 40
    assert (rate.low, rate.high) == clopper_pearson(3, 40, confidence=0.95)
