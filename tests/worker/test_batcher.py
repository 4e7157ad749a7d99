"""The batcher: work-conserving, earliest deadline first, nothing twice and nothing forgotten."""

import math
import random
from functools import cache
from itertools import combinations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from producers.protocol import comes_too_late
from tests.worker.frames import received
from worker.batcher import Batcher, ReceivedFrame

FRAMES = st.lists(
    st.tuples(st.floats(0, 10) | st.just(math.inf), st.sampled_from(["a", "b"]), st.integers(1, 3)), max_size=30
)


def cost_s(_: ReceivedFrame, frames: int) -> float:
    return 0.1 + 0.05 * frames


def recipe_of(frame: ReceivedFrame) -> str:
    return frame.recipe


def filled(spec: list[tuple[float, str, int]], *, max_batch: int) -> tuple[Batcher[ReceivedFrame], list[ReceivedFrame]]:
    batcher = Batcher(max_batch, recipe_of, cost_s)
    frames = [
        received(seq, deadline=deadline, recipe=recipe, attempt=attempt)
        for seq, (deadline, recipe, attempt) in enumerate(spec)
    ]
    for frame in frames:
        batcher.add(frame)
    return batcher, frames


def emptied(batcher: Batcher[ReceivedFrame], now: float = 0.0) -> tuple[list[list[ReceivedFrame]], list[ReceivedFrame]]:
    batches, expired = [], []
    while len(batcher):
        batch, hopeless = batcher.take(now)
        expired += hopeless
        if batch:
            batches.append(batch)
    return batches, expired


@given(FRAMES, st.integers(1, 8))
@settings(deadline=None)
def test_every_frame_comes_out_once(spec: list[tuple[float, str, int]], max_batch: int) -> None:
    batcher, frames = filled(spec, max_batch=max_batch)
    batches, expired = emptied(batcher)
    out = sorted(frame.header.seq for batch in [*batches, expired] for frame in batch)
    assert out == [frame.header.seq for frame in frames]


@given(FRAMES, st.integers(1, 8))
@settings(deadline=None)
def test_a_batch_is_of_one_recipe_and_not_too_large(spec: list[tuple[float, str, int]], max_batch: int) -> None:
    batches, _ = emptied(filled(spec, max_batch=max_batch)[0])
    assert all(1 <= len(batch) <= max_batch for batch in batches)
    assert all(len({frame.recipe for frame in batch}) == 1 for batch in batches)


@given(FRAMES, st.integers(1, 8))
@settings(deadline=None)
def test_a_frame_taken_back_from_another_worker_runs_alone(spec: list[tuple[float, str, int]], max_batch: int) -> None:
    batches, _ = emptied(filled(spec, max_batch=max_batch)[0])
    assert all(len(batch) == 1 for batch in batches if any(frame.header.attempt > 1 for frame in batch))


@given(FRAMES, st.integers(1, 8))
@settings(deadline=None)
def test_the_earliest_deadline_goes_first(spec: list[tuple[float, str, int]], max_batch: int) -> None:
    batcher, frames = filled(spec, max_batch=max_batch)
    batch, expired = batcher.take(0.0)
    waiting = [frame for frame in frames if frame not in expired]
    if waiting:
        assert batch[0].deadline == min(frame.deadline for frame in waiting)


@given(FRAMES, st.floats(0, 10))
@settings(deadline=None)
def test_just_the_frames_that_cannot_be_met_expire(spec: list[tuple[float, str, int]], now: float) -> None:
    batcher, frames = filled(spec, max_batch=4)
    _, expired = batcher.take(now)
    assert {frame.header.seq for frame in expired} == {
        frame.header.seq for frame in frames if frame.deadline < now + cost_s(frame, 1)
    }


def test_frames_of_equal_deadline_keep_their_order() -> None:
    batcher, _ = filled([(math.inf, "a", 1)] * 6, max_batch=4)
    batches, _ = emptied(batcher)
    assert [frame.header.seq for batch in batches for frame in batch] == list(range(6))


def test_a_batch_does_not_grow_past_its_first_deadline() -> None:
    batcher, _ = filled([(0.21, "a", 1), (0.22, "a", 1), (0.23, "a", 1)], max_batch=8)  # two take 0.20 s, three 0.25 s
    batch, expired = batcher.take(0.0)
    assert [frame.header.seq for frame in batch] == [0, 1]
    assert expired == []


def test_an_idle_batcher_gives_nothing() -> None:
    assert filled([], max_batch=4)[0].take(0.0) == ([], [])


def test_recipes_of_one_group_go_together_and_others_do_not() -> None:
    batcher: Batcher[ReceivedFrame] = Batcher(8, lambda frame: frame.recipe != "c", lambda frame, frames: 1.0)
    for seq, recipe in enumerate("abcab"):
        batcher.add(received(seq, deadline=math.inf, recipe=recipe, attempt=1))
    batches, _ = emptied(batcher)
    assert [[frame.recipe for frame in batch] for batch in batches] == [["a", "b", "a", "b"], ["c"]]


@pytest.mark.parametrize(
    ("single_s", "further_s", "sizes"),
    [
        (0.0160, 0.0113, [1, 2, 2, 2, 3, 4, 5, 8]),  # two cores, three milliseconds of them for what comes after
        (0.010, 0.002, [1, 2, 3, 4, 5, 6, 7, 8]),  # a GPU
        (0.050, 0.050, [1, 1, 1, 1, 1, 1, 1, 8]),  # nothing is gained by going together, and nothing but time lost
    ],
)
def test_of_a_few_that_wait_the_first_go_sooner_where_that_costs_the_others_little(
    single_s: float, further_s: float, sizes: list[int]
) -> None:
    for waiting, size in enumerate(sizes, 1):
        batcher: Batcher[ReceivedFrame] = Batcher(8, recipe_of, lambda _, frames: single_s + (frames - 1) * further_s)
        for seq in range(waiting):
            batcher.add(received(seq, deadline=math.inf, attempt=1))
        assert [frame.header.seq for frame in batcher.take(0.0)[0]] == list(range(size))


# -- beside the best that could have been done -----------------------------------------------------------------------

ARRIVALS = st.lists(st.tuples(st.integers(0, 12), st.integers(2, 14)), min_size=1, max_size=7)
"""When a frame comes, and how long it may take from then on; in tenths of a second."""


def batch_s(frames: int) -> int:
    """Tenths of a second."""
    return 2 + frames


def misses_of_batcher(frames: list[tuple[int, int]], *, max_batch: int) -> int:
    """Runs the batcher on a clock of its own, with an engine that takes exactly what it says."""
    batcher: Batcher[ReceivedFrame] = Batcher(max_batch, recipe_of, lambda _, frames: batch_s(frames))
    coming = sorted((at, at + budget, seq) for seq, (at, budget) in enumerate(frames))
    now, missed = 0.0, 0
    while coming or len(batcher):
        while coming and coming[0][0] <= now:
            _, deadline, seq = coming.pop(0)
            batcher.add(received(seq, deadline=deadline))
        batch, expired = batcher.take(now)
        missed += len(expired)
        if batch:
            now += batch_s(len(batch))
            missed += sum(frame.deadline < now for frame in batch)
        elif coming:
            now = max(now, coming[0][0])
    return missed


def fewest_misses(frames: list[tuple[int, int]], *, max_batch: int) -> int:
    """By trying every batch of every size whenever the engine is free and something waits that can be met."""

    @cache
    def best(now: int, left: frozenset[int]) -> int:
        hopeless = {seq for seq in left if sum(frames[seq]) < now + batch_s(1)}
        if hopeless:
            return len(hopeless) + best(now, left - hopeless)
        here = [seq for seq in left if frames[seq][0] <= now]
        if not here:
            return best(min(frames[seq][0] for seq in left), left) if left else 0
        batches = [chosen for size in range(1, max_batch + 1) for chosen in combinations(here, size)]
        return min(
            sum(sum(frames[seq]) < now + batch_s(len(chosen)) for seq in chosen)
            + best(now + batch_s(len(chosen)), left - set(chosen))
            for chosen in batches
        )

    return best(0, frozenset(range(len(frames))))


@given(ARRIVALS, st.integers(1, 3))
@settings(deadline=None, max_examples=300)
def test_no_more_is_missed_than_one_batch_beyond_the_best_that_could_be_done(
    frames: list[tuple[int, int]], max_batch: int
) -> None:
    best = fewest_misses(frames, max_batch=max_batch)
    assert best <= misses_of_batcher(frames, max_batch=max_batch) <= best + max_batch


# -- overload --------------------------------------------------------------------------------------------------------

ENGINES = {"a GPU": (0.010, 0.002), "two cores": (0.0135, 0.0111), "two cores, a large network": (0.062, 0.050)}
"""Seconds for a batch of one, and for each frame more."""


def in_time_share(
    engine: str, load: float, *, budget_batches: float, full_batches: int, beside_camera: bool = True
) -> float:
    """Frames judged in time a second, of the best that the engine can do, at arrivals of `load` times that best.

    As on the line: arrivals are independent of each other, those that the worker has no credit for wait beside the
    camera, and the oldest goes first. What comes too late is given up there, or turned away here.
    """
    single_s, further_s = ENGINES[engine]

    def served_s(_: ReceivedFrame, frames: int) -> float:
        return single_s + (frames - 1) * further_s

    full_s = single_s + 7 * further_s
    budget_s, ends = budget_batches * full_s, full_batches * full_s
    gap_s = full_s / 8 / load
    batcher: Batcher[ReceivedFrame] = Batcher(8, recipe_of, served_s)
    rng = random.Random(0)
    now, coming, arrives, met = 0.0, 0, 0.0, 0

    def come() -> None:
        nonlocal coming, arrives
        while arrives <= now and len(batcher) < 8:  # the other half of the credit is in the engine
            frame = received(coming, deadline=arrives + budget_s, budget_ms=budget_s * 1000)
            coming, arrives = coming + 1, arrives + rng.expovariate(1 / gap_s)
            least_s, left_s = batcher.least_s(served_s(frame, 8)), frame.deadline - now
            if beside_camera and comes_too_late(left_s, budget_ms=frame.header.budget_ms, least_s=least_s):
                batcher.missed(1, now)
            elif frame.deadline >= now and not batcher.turns_away(frame, served_s(frame, 8), now):
                batcher.add(frame)

    while now < ends:
        come()
        batch, expired = batcher.take(now)
        come()
        if batch:
            now += served_s(batch[0], len(batch))
            met += sum(frame.deadline >= now for frame in batch)
        elif not expired:
            now = max(now, arrives)
    return met / full_batches / 8


@pytest.mark.parametrize("engine", list(ENGINES))
@pytest.mark.parametrize("budget_batches", [3.1, 4, 15])
@pytest.mark.parametrize("load", [1.1, 1.5, 3.0])
@pytest.mark.parametrize("beside_camera", [True, False])
def test_at_overload_the_engine_works_at_its_best(
    engine: str, load: float, budget_batches: float, beside_camera: bool
) -> None:
    """The earliest deadline first, and nothing else, ends in batches of one: a quarter of a GPU's best."""
    share = in_time_share(engine, load, budget_batches=budget_batches, full_batches=400, beside_camera=beside_camera)
    assert share >= 0.965


@pytest.mark.parametrize("engine", list(ENGINES))
@pytest.mark.parametrize("budget_batches", [2.3, 4, 15])
def test_below_the_best_that_the_engine_can_do_no_frame_is_given_up(engine: str, budget_batches: float) -> None:
    assert in_time_share(engine, 0.8, budget_batches=budget_batches, full_batches=400) >= 0.8 * 0.96
