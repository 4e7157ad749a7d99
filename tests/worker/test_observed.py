"""What is counted of verdicts: by recipe and reason, and how long each stage took."""

from bisect import bisect_left
from collections.abc import Sequence
from itertools import pairwise

import pytest

from tests.worker.frames import verdict
from worker.observed import OTHER, STAGE_BOUNDS_US, STAGES, Observed
from worker.sink import Judged
from worker.verdict import Decision, Reason, Verdict

NOW = 100.0
LATENCY = {"wire": 2_000, "queue": 3_000, "prepare": 4_000, "infer": 50_000, "judge": 1_000}


def judged(seq: int, *, took_ms: float = 7, **more: object) -> Judged:
    found = verdict(seq, **more)  # type: ignore[arg-type]  # fields of the tag
    return Judged(found.model_copy(update={"latency_us": dict(LATENCY)}), NOW - took_ms / 1000)


def reason_of(item: Judged, reason: Reason) -> Judged:
    failed = item.verdict.model_copy(update={"decision": Decision.FAIL, "reason": reason})
    return Judged(failed, item.judged)


def counted(observed: Observed) -> dict[tuple[str, str], int]:
    rows = observed.verdicts.items()
    return {(recipe, Reason(code).word): count for recipe, row in rows for code, count in enumerate(row) if count}


def bucket_of(observed: Observed, stage: str) -> list[int]:
    return [index for index, count in enumerate(observed.stages[stage].counts) for _ in range(count)]


def test_each_stored_verdict_counts_once_by_its_recipe_and_reason() -> None:
    observed = Observed({"part"})
    defect = reason_of(judged(2, recipe="part"), Reason.DEFECT)
    observed.stored(
        [(judged(1, recipe="part"), "stored"), (defect, "stored"), (judged(3, recipe="part"), "stored")], NOW
    )
    assert counted(observed) == {("part", "ok"): 2, ("part", "defect"): 1}


def test_a_pass_that_redis_found_late_counts_as_late() -> None:
    observed = Observed({"part"})
    observed.stored([(judged(1, recipe="part"), "late")], NOW)
    assert counted(observed) == {("part", "late"): 1}


def test_a_duplicate_is_counted_as_such_and_its_times_are_nobodys() -> None:
    observed = Observed({"part"})
    observed.stored([(judged(1, recipe="part"), "duplicate")], NOW)
    assert observed.duplicates == 1
    assert counted(observed) == {}
    assert sum(observed.stages["total"].counts) == 0


def test_recipes_that_peers_make_up_share_one_label() -> None:
    observed = Observed({"part"})
    made_up = [reason_of(judged(seq, recipe=f"made-up-{seq}"), Reason.NO_RECIPE) for seq in range(50)]
    observed.stored([(item, "stored") for item in made_up], NOW)
    assert counted(observed) == {(OTHER, "no_recipe"): 50}


def test_a_recipe_that_comes_later_has_a_label_of_its_own_from_then_on() -> None:
    recipes = {"part"}
    observed = Observed(recipes)
    observed.stored([(judged(1, recipe="lid"), "stored")], NOW)
    recipes.add("lid")
    observed.stored([(judged(2, recipe="lid"), "stored")], NOW)
    assert counted(observed) == {(OTHER, "ok"): 1, ("lid", "ok"): 1}


def test_a_frame_that_another_worker_had_before_is_counted() -> None:
    observed = Observed({"part"})
    observed.stored([(judged(1, attempt=2), "stored"), (judged(2), "stored")], NOW)
    assert observed.taken_over == 1


def test_every_stage_and_the_total_land_in_the_buckets_of_their_times() -> None:
    observed = Observed({"part"})
    observed.stored([(judged(1), "stored")], NOW)
    times = {**LATENCY, "store": 7_000, "total": sum(LATENCY.values()) + 7_000}
    for stage in STAGES:
        assert bucket_of(observed, stage) == [bisect_left(STAGE_BOUNDS_US, times[stage])], stage
        assert observed.stages[stage].sum == pytest.approx(times[stage], abs=2)


def test_a_frame_given_up_beside_the_camera_is_counted_and_has_no_times() -> None:
    observed = Observed({"part"})
    gone: Verdict = judged(1, recipe="part").verdict.model_copy(update={"latency_us": {}, "reason": Reason.LOST})
    observed.stored([(Judged(gone, NOW), "stored")], NOW)
    assert counted(observed) == {("part", "lost"): 1}
    assert sum(observed.stages["store"].counts) == 0


def test_bounds_go_from_half_a_millisecond_to_ten_seconds_in_steps_of_a_quarter() -> None:
    assert STAGE_BOUNDS_US[0] == 500
    assert STAGE_BOUNDS_US[-1] >= 10_000_000
    assert all(1.24 < above / below < 1.26 for below, above in pairwise(STAGE_BOUNDS_US))


def test_the_last_bucket_counts_everything() -> None:
    observed = Observed({"part"})
    observed.stored([(judged(1, took_ms=ms), "stored") for ms in (0, 1, 90, 60_000)], NOW)
    below = observed.stages["store"].cumulative()
    assert below == sorted(below)
    assert (below[-2], below[-1]) == (3, 4)


def test_a_batch_counts_once_with_its_size_and_is_inspected_as_ever() -> None:
    observed = Observed({"part"})

    def doubled(batch: Sequence[int]) -> list[int]:
        return [2 * item for item in batch]

    infer = observed.counting(doubled)
    assert [infer([1, 2, 3]), infer([4])] == [[2, 4, 6], [8]]
    assert (observed.batches.cumulative()[-1], observed.batches.sum) == (2, 4)
