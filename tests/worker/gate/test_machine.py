"""The gate's machine: what verdicts make of a part whose timer runs. What opens the gate, and all that does not."""

import math

import pytest

from tests.worker.gate.driven import CLOCK_US, OTHER_SESSION, WINDOW_MS, Driven, judged
from worker.gate.deciding import Cause
from worker.gate.plc import Synchronise
from worker.gate.rules import View
from worker.gate.status import GateReason
from worker.verdict import Decision, Reason, Verdict


def test_a_pass_of_every_view_opens_at_once() -> None:
    gate = Driven()
    gate.trigger(1, "A")
    gate.see("top", 1)
    assert not gate.results
    gate.see("side", 1, severity=0.75, score=-0.5)
    assert (gate.last.opens, gate.last.reason, gate.last.trigger, gate.last.part_id) == (True, GateReason.OK, 1, "A")
    assert (gate.last.camera, gate.last.severity, gate.last.score) == ("side", 0.75, -0.5), "of the worst view"


def test_silence_rejects_when_the_timer_ends() -> None:
    gate = Driven()
    gate.trigger(1)
    gate.see("top", 1)
    gate.pass_ms(WINDOW_MS - 0.001)
    assert not gate.results
    gate.pass_ms(0.001)
    assert (gate.last.opens, gate.last.reason, gate.last.camera) == (False, GateReason.SILENCE, "side")


def test_a_verdict_as_the_timer_ends_is_late_counted_and_changes_nothing() -> None:
    gate = Driven()
    gate.trigger(1)
    gate.see("top", 1)
    gate.now_ms += WINDOW_MS
    gate.see("side", 1)
    gate.see("side", 1)
    assert [(result.opens, result.reason) for result in gate.results] == [(False, GateReason.SILENCE)]
    assert (gate.status.late, gate.machine.counts["repeated"]) == (1, 1)


def test_a_verdict_before_the_trigger_opens_nothing_and_is_told_from_a_missed_trigger() -> None:
    gate = Driven()
    gate.see("top", 1)
    gate.trigger(1)
    gate.see("side", 1)
    gate.pass_ms(WINDOW_MS)
    assert gate.last.reason is GateReason.SILENCE
    assert (gate.machine.counts["early"], gate.status.missed_triggers) == (1, 0)


def test_a_frame_without_a_trigger_arms_nothing_and_is_counted_once_its_time_is_up() -> None:
    gate = Driven()
    gate.see("top", 1)
    gate.see("side", 1)
    assert gate.status.missed_triggers == 0
    gate.pass_ms(WINDOW_MS)
    assert (gate.status.missed_triggers, gate.results) == (1, [])
    gate.trigger(2)
    assert gate.status.missed_triggers == 1


@pytest.mark.parametrize("reason", [reason for reason in Reason if reason is not Reason.OK])
def test_a_fail_of_one_view_rejects_with_its_reason(reason: Reason) -> None:
    gate = Driven()
    gate.trigger(1)
    gate.see("top", 1)
    gate.see("side", 1, reason=reason)
    assert (gate.last.opens, int(gate.last.reason), gate.last.camera) == (False, int(reason), "side")


def test_of_two_bad_views_the_more_severe_defect_is_shown() -> None:
    gate = Driven()
    gate.trigger(1)
    gate.see("top", 1, passed=False, severity=3.0)
    gate.see("side", 1, reason=Reason.BAD_FRAME)
    assert (gate.last.reason, gate.last.camera, gate.last.severity) == (GateReason.DEFECT, "top", 3.0)


def test_a_fail_that_claims_to_be_ok_rejects() -> None:
    gate = Driven()
    gate.trigger(1)
    gate.see("top", 1)
    gate.put(judged("side", 1, valid_until_us=gate.valid_until_us()).model_copy(update={"decision": Decision.FAIL}))
    assert (gate.last.opens, gate.last.reason) == (False, GateReason.WORKER_ERROR)


@pytest.mark.parametrize("score", [math.nan, math.inf, None])
def test_a_pass_without_a_score_that_is_entitled_to_it_rejects(score: float | None) -> None:
    gate = Driven()
    gate.trigger(1)
    gate.see("top", 1)
    gate.see("side", 1, score=score, severity=score)
    assert not gate.last.opens
    assert (gate.last.score, gate.last.severity) == (None, None), "no register is shown what is no number"


@pytest.mark.parametrize("order", [(True, False), (False, True)])
def test_any_fail_of_a_view_before_the_decision_rejects(order: tuple[bool, bool]) -> None:
    gate = Driven()
    gate.trigger(1)
    for passed in order:
        gate.see("top", 1, passed=passed)
    gate.see("side", 1)
    assert (gate.last.opens, gate.last.reason) == (False, GateReason.DEFECT)


def test_a_fail_after_the_decision_changes_nothing_and_is_said() -> None:
    gate = Driven()
    gate.good(1)
    gate.see("side", 1, passed=False)
    assert [result.opens for result in gate.results] == [True]
    assert gate.machine.counts["contradicted"] == 1


def test_the_same_verdict_twice_is_one_view_not_two() -> None:
    gate = Driven()
    gate.trigger(1)
    gate.see("top", 1)
    gate.see("top", 1)
    assert not gate.results


def test_a_pass_whose_validity_is_over_is_stale_and_waits_for_a_better_one() -> None:
    gate = Driven()
    gate.trigger(1)
    gate.see("top", 1)
    gate.see("side", 1, valid_until_us=gate.valid_until_us(-0.001))
    assert not gate.results
    gate.pass_ms(WINDOW_MS)
    assert gate.last.reason is GateReason.STALE
    gate.trigger(2)
    gate.see("top", 2)
    gate.see("side", 2, valid_until_us=gate.valid_until_us(-0.001))
    gate.see("side", 2)
    assert gate.last.opens


def test_a_pass_that_ran_out_while_another_view_was_waited_for_opens_nothing() -> None:
    gate = Driven()
    gate.trigger(1)
    gate.see("top", 1, valid_until_us=gate.valid_until_us(10))
    gate.pass_ms(10.001)
    gate.see("side", 1)
    gate.pass_ms(WINDOW_MS)
    assert (gate.last.opens, gate.last.reason, gate.last.camera) == (False, GateReason.STALE, "top")


def test_a_pass_without_a_validity_opens_nothing() -> None:
    gate = Driven()
    gate.trigger(1)
    gate.see("top", 1, valid_until_us=None)
    gate.see("side", 1)
    gate.pass_ms(WINDOW_MS)
    assert gate.last.reason is GateReason.STALE


def test_without_redis_s_clock_nothing_is_valid() -> None:
    gate = Driven()
    gate.good(1)
    gate.now_ms += 10_001
    gate.good(2)
    gate.now_ms += WINDOW_MS
    gate.machine.tick(gate.now_us)
    assert [result.reason for result in gate.status.results] == [GateReason.OK, GateReason.STALE]


def test_the_clock_that_counts_is_redis_s() -> None:
    """The same entry is valid by one Redis clock, and not by one that was set forth."""
    gate = Driven()
    gate.machine.hear_clock(CLOCK_US + 2_000_000, gate.now_us)
    assert (gate.status.synchronised, gate.machine.causes[Cause.CLOCK]) == (False, 1)
    gate.ask(Synchronise())
    gate.good(1)
    gate.now_ms += WINDOW_MS
    gate.machine.tick(gate.now_us)
    assert gate.status.results[-1].reason is GateReason.STALE


def test_a_simulated_pass_opens_nothing_and_does_not_stand_in_the_way_of_a_real_one() -> None:
    gate = Driven()
    gate.trigger(1)
    gate.see("top", 1)
    gate.see("side", 1, simulated=True)
    gate.pass_ms(WINDOW_MS)
    assert (gate.last.opens, gate.last.reason) == (False, GateReason.SIMULATED)
    gate.trigger(2)
    gate.see("top", 2)
    gate.see("side", 2, simulated=True, session=OTHER_SESSION)
    gate.see("side", 2)
    assert gate.last.opens, "a replay on the same line is no new session either"


def test_a_simulated_fail_rejects() -> None:
    gate = Driven()
    gate.trigger(1)
    gate.see("top", 1)
    gate.see("side", 1, simulated=True, passed=False)
    assert (gate.last.opens, gate.last.reason) == (False, GateReason.DEFECT)


def test_verdicts_are_matched_by_trigger_never_by_order() -> None:
    gate = Driven()
    gate.trigger(1)
    gate.trigger(2)
    gate.see("top", 2)
    gate.see("side", 2)
    assert (gate.last.trigger, gate.last.opens) == (2, True)
    gate.see("top", None)
    gate.see("side", None)
    gate.pass_ms(WINDOW_MS)
    assert (gate.last.trigger, gate.last.reason) == (1, GateReason.SILENCE)


def test_a_pass_with_the_trigger_of_one_part_and_the_id_of_another_opens_neither() -> None:
    gate = Driven()
    gate.trigger(1, "A")
    gate.see("top", 1, part_id="A")
    gate.see("side", 1, part_id="B")
    gate.pass_ms(WINDOW_MS)
    assert (gate.last.opens, gate.machine.counts["mismatched"]) == (False, 1)


def taken(gate: Driven, camera: str, number: int, *, age_ms: float, stored_ms: float = 0) -> Verdict:
    """A PASS whose frame was taken so long ago, and that was stored so long ago, on Redis's clock."""
    entry = f"{(CLOCK_US + gate.now_us) // 1000 - int(stored_ms)}-0"
    stages = {"wire": int((age_ms - stored_ms) * 1000), "store": 0}
    found = judged(camera, number, valid_until_us=gate.valid_until_us())
    return found.model_copy(update={"entry": entry, "latency_us": stages})


def test_a_pass_that_was_stored_before_the_trigger_is_early_whenever_it_is_read() -> None:
    """The reader may be slow: the trigger was read after the verdict was stored, and before the verdict was read."""
    gate = Driven()
    gate.trigger(1)
    gate.pass_ms(10)
    gate.put(taken(gate, "top", 1, age_ms=20, stored_ms=12))
    gate.put(taken(gate, "side", 1, age_ms=20, stored_ms=9))
    assert (gate.results, gate.machine.counts["early"]) == ([], 1)
    gate.put(taken(gate, "top", 1, age_ms=20, stored_ms=5))
    assert gate.last.opens


def test_how_little_is_known_of_redis_s_clock_makes_no_verdict_early() -> None:
    gate = Driven()
    gate.now_ms += 10_001
    gate.machine.hear_clock(CLOCK_US, gate.now_us, unsure_us=3_000)
    gate.trigger(1)
    gate.now_ms += 10
    gate.put(taken(gate, "top", 1, age_ms=20, stored_ms=12))
    gate.put(taken(gate, "side", 1, age_ms=20, stored_ms=5))
    assert gate.last.opens


def test_a_pass_that_was_stored_in_the_future_opens_nothing() -> None:
    """After Redis's clock was set back its entries keep the later time: whether they are early can't be told."""
    gate = Driven()
    gate.trigger(1)
    for camera in ("top", "side"):
        gate.put(taken(gate, camera, 1, age_ms=5, stored_ms=-60))
    assert (gate.results, gate.machine.counts["early"]) == ([], 2)
    for camera in ("top", "side"):
        gate.put(taken(gate, camera, 1, age_ms=5, stored_ms=-40))
    assert gate.last.opens


def test_a_frame_that_was_taken_before_its_part_s_trigger_is_another_part_s() -> None:
    """The PLC has missed a pulse that the camera has counted: each number is one part later at the PLC."""
    gate = Driven(lead_us=20_000)
    gate.pass_ms(500)
    gate.trigger(1)
    gate.pass_ms(10)
    gate.put(taken(gate, "top", 1, age_ms=28))
    gate.put(taken(gate, "side", 1, age_ms=33))
    assert not gate.results, "the side view was taken 23 ms before the trigger"
    gate.put(taken(gate, "side", 1, age_ms=27, stored_ms=5))
    assert gate.last.opens
    gate.trigger(2)
    gate.put(taken(gate, "top", 2, age_ms=10))
    gate.see("side", 2)
    gate.pass_ms(WINDOW_MS)
    assert gate.last.reason is GateReason.SILENCE, "when it was taken can't be told"
    assert gate.machine.counts["too_old"] == 2


def test_matched_by_part_id_the_camera_s_own_count_does_not_matter() -> None:
    gate = Driven(match="part_id")
    gate.trigger(1, "A")
    gate.see("top", 700, part_id="A")
    gate.see("side", 900, part_id="A")
    assert gate.last.opens


def test_matched_by_part_id_a_part_without_one_is_rejected() -> None:
    gate = Driven(match="part_id")
    gate.trigger(1)
    gate.see("top", 1)
    gate.see("side", 1, part_id="")
    gate.pass_ms(WINDOW_MS)
    assert gate.last.reason is GateReason.SILENCE


def test_a_part_id_that_is_under_way_twice_is_rejected_twice() -> None:
    gate = Driven(match="part_id")
    gate.trigger(1, "A")
    gate.trigger(2, "A")
    gate.see("top", 1, part_id="A")
    gate.see("side", 1, part_id="A")
    assert [(result.trigger, result.reason) for result in gate.results] == [
        (1, GateReason.UNSYNCHRONISED),
        (2, GateReason.UNSYNCHRONISED),
    ]
    gate.pass_ms(10 * WINDOW_MS)
    gate.trigger(3, "A")
    gate.see("top", 3, part_id="A")
    gate.see("side", 3, part_id="A")
    assert gate.last.opens, "long after, it is a part that was brought again"


def test_views_of_one_camera_are_told_apart_by_their_names() -> None:
    gate = Driven(views=(View("top", "left"), View("top", "right")))
    gate.trigger(1)
    gate.see("top", 1, view="left")
    gate.see("top", 1, view="middle")
    assert not gate.results
    gate.see("top", 1, view="right", severity=0.9)
    assert (gate.last.opens, gate.last.view) == (True, "right")
    assert gate.machine.counts["foreign"] == 1
