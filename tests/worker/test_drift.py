"""The drift watch: it tells a movement from chance, defects from a movement, and when all is well again."""

import random
from collections.abc import Iterable, Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

pytest.importorskip("scipy")

from worker.drift import CALM_FRAMES, DEFECTS, RATE, UNIMPORTANT, DriftWatch

PICTURES = 42
DEFECT = 50.0


def good(rng: random.Random, *, moved: float = 0.0) -> float:
    """The score of a good part."""
    return rng.gauss(moved, 1)


def a_watch(rng: random.Random, pictures: int = PICTURES) -> DriftWatch:
    return DriftWatch([good(rng) for _ in range(pictures)])


def add(watch: DriftWatch, score: float) -> bool:
    """Hands over one score, where parts of up to 4 pass."""
    return watch.add(score, passed=score <= 4, severity=score / 4)


def warns_at(watch: DriftWatch, scores: Iterable[float]) -> int | None:
    """At which score it warns, from 1."""
    return next((at for at, score in enumerate(scores, 1) if add(watch, score) and watch.warning), None)


def unmoved(rng: random.Random, frames: int) -> Iterator[float]:
    return (good(rng) for _ in range(frames))


def test_while_nothing_moves_no_more_than_the_stated_share_of_watches_ever_warns() -> None:
    """Each has calibration scores of its own: an untypical set is part of what is promised."""
    watches = 100
    warned = 0
    for seed in range(watches):
        rng = random.Random(seed)
        warned += warns_at(a_watch(rng), unmoved(rng, 1000)) is not None
    assert warned <= watches * RATE + 3


@settings(deadline=None, max_examples=30)
@given(
    pictures=st.integers(1, 200),
    share=st.floats(0, 1),
    defects=st.floats(0, DEFECTS),
)
def test_a_frame_adds_nothing_on_average_where_no_more_than_is_plausible_lie_beyond(
    pictures: int, share: float, defects: float
) -> None:
    """The promise rests on it: after any frame the evidence is, on average, no more than before."""
    watch = DriftWatch([float(score) for score in range(pictures)])
    for place, bound in enumerate(watch.bounds):
        beyond, at_or_below = watch.factors[True][place + 1], watch.factors[True][place]
        rejected = watch.factors[False][-1]
        for bet in (2 * place, 2 * place + 1):
            passing = share * bound * beyond[bet] + (1 - share * bound) * at_or_below[bet]
            assert (1 - defects) * passing + defects * rejected[bet] <= 1 + 1e-12


def test_a_movement_is_noticed() -> None:
    rng = random.Random(1)
    watch = a_watch(rng)
    assert warns_at(watch, unmoved(rng, 500)) is None
    assert (warns_at(watch, (good(rng, moved=2) for _ in range(200))) or 999) < 100
    assert watch.evidence > 2
    assert watch.recent > 0.25


def test_a_movement_that_does_not_matter_is_none() -> None:
    rng = random.Random(11)
    assert warns_at(a_watch(rng), (good(rng, moved=UNIMPORTANT) for _ in range(10_000))) is None


def test_scores_that_fall_are_no_movement() -> None:
    rng = random.Random(12)
    assert warns_at(a_watch(rng), (good(rng, moved=-3) for _ in range(2000))) is None


def test_a_slow_movement_is_noticed() -> None:
    rng = random.Random(2)
    warned = warns_at(a_watch(rng), (good(rng, moved=frame / 1000) for frame in range(5000)))
    assert warned is not None
    assert warned < 3000


def test_a_movement_after_a_long_time_at_rest_is_noticed_nearly_as_soon() -> None:
    rng = random.Random(3)
    watch = a_watch(rng)
    assert warns_at(watch, unmoved(rng, 50_000)) is None
    assert (warns_at(watch, (good(rng, moved=2) for _ in range(1000))) or 999) < 200


def test_a_tenth_of_defects_is_no_movement() -> None:
    rng = random.Random(4)
    parts = (DEFECT if rng.random() < 0.1 else good(rng) for _ in range(10_000))
    assert warns_at(a_watch(rng), parts) is None


def test_a_bad_lot_of_dozens_of_defects_in_a_row_is_no_movement() -> None:
    rng = random.Random(5)
    assert warns_at(a_watch(rng), [*unmoved(rng, 100), *[DEFECT] * 36, *unmoved(rng, 100)]) is None


def test_a_line_on_which_every_part_fails_has_moved() -> None:
    rng = random.Random(6)
    watch = a_watch(rng)
    assert warns_at(watch, unmoved(rng, 1000)) is None
    assert (warns_at(watch, [DEFECT] * 1000) or 999) < 150


def test_a_movement_among_defects_is_noticed_by_the_parts_that_pass() -> None:
    rng = random.Random(7)
    parts = (DEFECT if rng.random() < 0.2 else good(rng, moved=2) for _ in range(1000))
    assert (warns_at(a_watch(rng), parts) or 999) < 200


def test_a_warning_stands_until_scores_are_as_they_were_for_a_while_and_comes_again() -> None:
    rng = random.Random(8)
    watch = a_watch(rng)
    assert warns_at(watch, (good(rng, moved=3) for _ in range(200)))
    assert not any(add(watch, good(rng, moved=3)) for _ in range(5000))
    over = [add(watch, score) for score in unmoved(rng, 2 * CALM_FRAMES)]
    assert over.count(True) == 1
    assert over.index(True) >= CALM_FRAMES - 1
    assert not watch.warning
    assert warns_at(watch, (good(rng, moved=3) for _ in range(200)))


@pytest.mark.parametrize("pictures", [2, 3, 10])
def test_few_calibration_pictures_know_little_and_are_a_watch_all_the_same(pictures: int) -> None:
    rng = random.Random(9)
    watch = a_watch(rng, pictures)
    assert warns_at(watch, unmoved(rng, 2000)) is None
    assert warns_at(watch, [3.9] * 5000) is not None


def test_scores_that_are_all_those_of_one_calibration_picture_are_no_movement() -> None:
    """A camera that sees the same part again and again."""
    rng = random.Random(10)
    scores = sorted(good(rng) for _ in range(PICTURES))
    assert warns_at(DriftWatch(scores), [scores[PICTURES // 2]] * 3000) is None
