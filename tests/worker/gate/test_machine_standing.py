"""The gate as a whole: line fault, challenge, bypass, the ring and its acknowledgements, the belt."""

from tests.worker.gate.driven import WINDOW_MS, Driven
from worker.gate.plc import Acknowledge, ResetFault, SetBypass, StartChallenge, Synchronise
from worker.gate.ring import Ring, counter_of
from worker.gate.status import MAX_COUNTER, RING, Challenge, GateReason, PartResult
from worker.verdict import Reason


def test_three_silent_parts_in_a_row_are_a_line_fault_until_it_is_reset() -> None:
    gate = Driven()
    for number in (1, 2, 3):
        gate.trigger(number)
    gate.pass_ms(WINDOW_MS)
    assert gate.status.fault
    gate.good(4)
    assert (gate.last.opens, gate.last.reason) == (False, GateReason.FAULT)
    gate.ask(ResetFault())
    gate.good(5)
    assert gate.last.opens


def test_late_and_lost_verdicts_count_towards_a_fault_and_a_defect_does_not() -> None:
    gate = Driven()
    for number, reason in enumerate((Reason.LATE, Reason.EXPIRED, Reason.DEFECT, Reason.LOST, Reason.LATE), start=1):
        gate.trigger(number)
        gate.see("top", number)
        gate.see("side", number, reason=reason)
    assert not gate.status.fault
    gate.trigger(6)
    gate.pass_ms(WINDOW_MS)
    assert gate.status.fault


def test_in_a_row_is_in_the_order_of_triggers() -> None:
    gate = Driven()
    for number in (1, 2, 3, 4):
        gate.trigger(number)
    gate.see("top", 4)
    gate.see("side", 4)
    gate.pass_ms(WINDOW_MS)
    assert gate.status.fault, "the fourth was decided first, and came last"


def test_a_fault_rejects_parts_that_are_under_way() -> None:
    gate = Driven()
    for number in (1, 2, 3):
        gate.trigger(number)
    gate.pass_ms(WINDOW_MS / 2)
    gate.trigger(4)
    gate.pass_ms(WINDOW_MS / 2)
    gate.see("top", 4)
    gate.see("side", 4)
    assert gate.last.reason is GateReason.FAULT


def test_a_challenge_part_that_is_judged_a_defect_is_passed_and_what_comes_behind_it_waits_for_that() -> None:
    gate = Driven()
    gate.trigger(1)
    gate.ask(StartChallenge())
    gate.see("top", 1)
    gate.see("side", 1)
    assert gate.last.opens, "it came before"
    gate.trigger(2)
    gate.good(3)
    assert (gate.last.trigger, gate.last.reason) == (3, GateReason.FAULT)
    gate.see("top", 2, passed=False)
    gate.see("side", 2)
    assert (gate.last.trigger, gate.last.reason) == (2, GateReason.DEFECT)
    assert (gate.status.challenge, gate.status.fault) == (Challenge.PASSED, False)
    gate.good(4)
    assert gate.last.opens


def test_a_challenge_part_that_passes_does_not_open_the_gate_and_is_a_fault() -> None:
    gate = Driven()
    gate.ask(StartChallenge())
    gate.good(1)
    assert (gate.last.opens, gate.last.reason) == (False, GateReason.FAULT)
    assert (gate.status.challenge, gate.status.fault) == (Challenge.FAILED, True)
    gate.ask(ResetFault())
    assert (gate.status.challenge, gate.status.fault) == (Challenge.IDLE, False)
    gate.good(2)
    assert gate.last.opens


def test_a_challenge_part_that_nobody_judged_has_failed() -> None:
    gate = Driven()
    gate.ask(StartChallenge(), StartChallenge())
    gate.trigger(1)
    gate.pass_ms(WINDOW_MS)
    assert (gate.status.challenge, gate.status.fault) == (Challenge.FAILED, True)


def test_a_challenge_may_be_passed_out_of_step() -> None:
    gate = Driven(in_step=False)
    gate.ask(StartChallenge())
    gate.trigger(1)
    gate.see("top", 1, passed=False)
    gate.see("side", 1, passed=False)
    assert gate.status.challenge is Challenge.PASSED


def test_bypass_is_a_lamp_that_changes_no_decision_and_each_switch_is_said() -> None:
    gate = Driven()
    gate.ask(SetBypass(on=True), SetBypass(on=True))
    gate.trigger(1)
    gate.see("top", 1, passed=False)
    gate.see("side", 1)
    assert gate.status.bypass
    assert not gate.last.opens
    gate.ask(SetBypass(on=False))
    assert not gate.status.bypass
    assert len([text for text in gate.said if "bypass" in text]) == gate.machine.counts["bypass_switches"] == 2


def test_the_part_at_the_gate_is_the_one_that_was_triggered_so_many_parts_before() -> None:
    gate = Driven(part_distance=2)
    gate.good(1)
    gate.trigger(2)
    assert (gate.status.at_gate, gate.status.fifo_depth) == (None, 2)
    gate.good(3)
    assert gate.status.at_gate is not None
    assert (gate.status.at_gate.trigger, gate.status.at_gate.opens) == (1, True)


def test_a_part_that_was_not_seen_has_its_place_on_the_belt_and_nothing_is_shown_for_it() -> None:
    gate = Driven(part_distance=1)
    gate.good(1)
    gate.good(3)
    assert gate.status.at_gate is None, "part 2 stands there"
    gate.good(4)
    assert gate.status.at_gate is not None
    assert (gate.status.at_gate.trigger, gate.status.fifo_depth) == (3, 1)


def test_a_part_that_is_not_decided_when_it_gets_to_the_gate_is_not_shown() -> None:
    gate = Driven(part_distance=1)
    gate.trigger(1)
    gate.trigger(2)
    assert gate.status.at_gate is None
    gate.see("top", 1)
    gate.see("side", 1)
    assert gate.status.at_gate is not None


def test_where_parts_are_is_forgotten_when_their_count_is_lost() -> None:
    gate = Driven(part_distance=1)
    gate.good(1)
    gate.good(2)
    gate.ask(Synchronise())
    assert (gate.status.at_gate, gate.status.fifo_depth) == (None, 0)


def result(counter: int) -> PartResult:
    return PartResult(counter, 0, "", opens=False, reason=GateReason.SILENCE)


def filled(count: int) -> Ring:
    ring = Ring()
    for _ in range(count):
        ring.add(result(ring.next_counter))
    return ring


def test_counters_run_from_1_to_65535_and_round_without_0() -> None:
    assert [counter_of(ordinal) for ordinal in (0, 1, MAX_COUNTER, MAX_COUNTER + 1)] == [0, 1, MAX_COUNTER, 1]
    ring = filled(MAX_COUNTER + 3)
    assert [shown.counter for shown in ring.results][-4:] == [MAX_COUNTER, 1, 2, 3]


def test_a_result_that_left_the_ring_unacknowledged_is_an_overrun_until_a_newer_one_is_acknowledged() -> None:
    ring = filled(RING)
    assert not ring.overrun
    ring.add(result(ring.next_counter))
    assert (ring.overrun, ring.overruns) == (True, 1)
    assert ring.acknowledge(ring.counter)
    assert not ring.overrun


def test_an_acknowledgement_of_what_was_read_before_the_loss_does_not_hide_it() -> None:
    """The PLC read up to 5, and acknowledges that when 6 has left the ring."""
    ring = filled(5)
    for _ in range(RING + 1):
        ring.add(result(ring.next_counter))
    assert ring.acknowledge(5)
    assert ring.overrun
    assert ring.acknowledge(ring.counter)
    assert not ring.overrun


def test_acknowledgements_never_go_back_and_none_is_taken_for_what_was_not_made() -> None:
    ring = filled(10)
    assert ring.acknowledge(7)
    assert not any(ring.acknowledge(counter) for counter in (7, 3, 0, 11, 65_535, -1, 70_000))
    assert ring.acknowledged == 7


def test_a_dropped_acknowledgement_is_made_good_by_the_next() -> None:
    gate = Driven()
    for number in range(1, 13):
        gate.good(number)
    gate.ask(Acknowledge(4))
    for number in range(13, 21):
        gate.good(number)
    assert not gate.status.overrun
    gate.good(21)
    assert gate.status.overrun
    gate.ask(Acknowledge(21))
    assert (gate.status.overrun, gate.status.acknowledged) == (False, 21)
