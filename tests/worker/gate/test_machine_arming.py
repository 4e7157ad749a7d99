"""The gate's machine: how parts come, by trigger or by header, and what puts it out of step and in step again."""

from typing import Any

import pytest

from tests.worker.gate.driven import OTHER_SESSION, WINDOW_MS, Driven, judged
from worker.gate.deciding import Cause
from worker.gate.plc import LinkDown, Synchronise
from worker.gate.status import MAX_TRIGGER, NO_TRIGGER, GateReason
from worker.verdict import Reason


def test_a_doubled_trigger_is_one_part_and_counted() -> None:
    gate = Driven()
    gate.trigger(1)
    gate.see("top", 1)
    gate.trigger(1)
    gate.see("side", 1)
    gate.trigger(1)
    gate.pass_ms(WINDOW_MS)
    assert [result.opens for result in gate.results] == [True]
    assert gate.machine.counts["doubled"] == 2


def test_a_few_skipped_triggers_are_counted_and_the_next_part_is_decided_as_ever() -> None:
    gate = Driven()
    gate.good(1)
    gate.see("top", 3)  # the camera saw it: it is one missed part all the same
    gate.good(5)
    gate.pass_ms(2 * WINDOW_MS)
    assert [(result.trigger, result.opens) for result in gate.results] == [(1, True), (5, True)]
    assert gate.status.missed_triggers == 3


@pytest.mark.parametrize("number", [7, 1_000, 2**31, MAX_TRIGGER, 0, 1])
def test_a_jump_of_the_trigger_rejects_until_in_step_again(number: int) -> None:
    gate = Driven()
    gate.good(1)
    gate.trigger(2)
    gate.good(number)
    assert gate.status.synchronised is False
    gate.see("top", 2)
    gate.see("side", 2)
    assert [result.reason for result in gate.results[1:]] == [GateReason.UNSYNCHRONISED] * 2
    assert gate.machine.causes[Cause.TRIGGER] == 1


def test_a_plc_that_begins_anew_with_the_last_number_means_another_part() -> None:
    gate = Driven(part_distance=0)
    gate.good(1)
    gate.pass_ms(2_001)
    gate.trigger(1)
    assert gate.status.at_gate is None, "the first result of that number is another part's"
    gate.see("top", 1)
    gate.see("side", 1)
    assert [(result.counter, result.reason) for result in gate.results[1:]] == [(2, GateReason.UNSYNCHRONISED)]


def test_the_trigger_s_number_runs_round() -> None:
    gate = Driven()
    for number in (MAX_TRIGGER, 0, 1):
        gate.good(number)
    assert all(result.opens for result in gate.results)


def test_a_new_session_of_a_camera_rejects_until_in_step_again() -> None:
    gate = Driven()
    gate.good(1)
    gate.trigger(2)
    gate.see("top", 2)
    gate.trigger(3)
    gate.see("side", 3, session=OTHER_SESSION)
    gate.see("top", 3)
    gate.see("side", 2)
    assert {result.trigger: result.reason for result in gate.results[1:]} == {
        3: GateReason.UNSYNCHRONISED,
        2: GateReason.UNSYNCHRONISED,
    }
    assert gate.machine.causes[Cause.SESSION] == 2, "the old one spoke again"


def test_two_sessions_that_race_keep_the_gate_shut_and_one_that_stays_opens_it_again() -> None:
    gate = Driven()
    for number in range(1, 11):
        gate.trigger(number)
        gate.see("top", number)
        gate.see("side", number, session=OTHER_SESSION if number % 2 else judged("side", 1).tag.session)
    assert not any(result.opens for result in gate.results[1:])
    for number in range(11, 15):
        gate.good(number)
    assert gate.last.opens


def test_an_old_pass_of_another_session_is_neither_a_pass_nor_a_new_session() -> None:
    gate = Driven()
    gate.good(1)
    gate.trigger(2)
    gate.see("top", 2)
    gate.see("side", 2, session=OTHER_SESSION, valid_until_us=gate.valid_until_us(-1))
    gate.pass_ms(WINDOW_MS)
    assert gate.last.reason is GateReason.STALE
    assert gate.status.synchronised


def test_three_parts_with_every_view_in_time_put_it_in_step_whatever_they_say() -> None:
    gate = Driven(in_step=False)
    gate.good(1)
    gate.trigger(2)
    gate.see("top", 2, passed=False)
    gate.see("side", 2)
    assert not gate.status.synchronised
    gate.trigger(4)
    gate.good(3 + 2)
    gate.see("top", 4)
    gate.see("side", 4, reason=Reason.WORKER_ERROR)
    assert gate.status.synchronised
    assert not any(result.opens for result in gate.results)
    gate.good(6)
    assert gate.last.opens


def test_a_part_that_was_armed_out_of_step_stays_rejected() -> None:
    gate = Driven(in_step=False)
    gate.trigger(1)
    gate.ask(Synchronise())
    gate.see("top", 1)
    gate.see("side", 1)
    assert [result.reason for result in gate.results] == [GateReason.UNSYNCHRONISED]
    for number in (700, 701):
        gate.good(number)
    assert [result.opens for result in gate.results] == [False, True, True], "after Synchronise any number may come"


def test_in_a_row_is_in_the_order_of_triggers_and_a_gap_begins_the_row_anew() -> None:
    gate = Driven(in_step=False)
    for number in (1, 2, 3, 4):
        gate.trigger(number)
    for number in (1, 3, 4):
        gate.see("top", number)
        gate.see("side", number)
    assert not gate.status.synchronised
    gate.see("top", 2)
    gate.pass_ms(WINDOW_MS)
    assert not gate.status.synchronised
    gate.good(5)
    assert gate.status.synchronised


def test_simulated_frames_put_nothing_in_step() -> None:
    gate = Driven(in_step=False)
    for number in range(1, 6):
        gate.trigger(number)
        gate.see("top", number, simulated=True)
        gate.see("side", number, simulated=True)
        gate.pass_ms(WINDOW_MS)
    assert not gate.status.synchronised


def test_a_lost_link_rejects_what_is_under_way_and_lets_numbers_begin_anew() -> None:
    gate = Driven()
    gate.good(7)
    gate.trigger(8)
    gate.ask(LinkDown("it is gone"))
    gate.see("top", 8)
    gate.see("side", 8)
    assert gate.last.reason is GateReason.UNSYNCHRONISED
    gate.trigger(8)
    assert gate.machine.due_us is not None, (
        "the same number after the link was lost may be another part: it gets a result"
    )
    gate.good(1)
    assert (gate.last.trigger, gate.machine.counts["doubled"]) == (1, 0)


def test_offline_everything_is_rejected_and_online_again_it_is_out_of_step() -> None:
    gate = Driven()
    gate.trigger(1)
    gate.machine.go_offline(Cause.RESULTS, "Redis is away")
    gate.trigger(2)
    gate.see("top", 1)
    gate.see("side", 1)
    gate.pass_ms(WINDOW_MS)
    assert [result.reason for result in gate.results] == [GateReason.OFFLINE] * 2
    assert not gate.status.online
    gate.machine.go_online()
    gate.good(3)
    assert gate.last.reason is GateReason.UNSYNCHRONISED


def test_what_the_plc_says_while_the_gate_is_offline_puts_nothing_in_step() -> None:
    gate = Driven(online=False)
    assert not gate.status.synchronised
    gate.machine.go_online()
    gate.good(1)
    assert gate.last.reason is GateReason.UNSYNCHRONISED
    gate.ask(Synchronise())
    gate.good(2)
    assert gate.last.opens


def test_more_parts_under_way_than_there_can_be_cost_step_not_memory() -> None:
    gate = Driven(window_us=10**9)
    for number in range(1, 1200):
        gate.trigger(number)
    assert gate.machine.causes[Cause.CROWD] > 0
    assert len(gate.results) == 1199 - 1024
    assert not any(result.opens for result in gate.results)


def live_tag(camera: str, trigger: int | None, **more: Any) -> Any:
    return judged(camera, trigger, **more).tag


def test_armed_by_the_live_topic_the_first_header_of_a_part_starts_its_timer() -> None:
    gate = Driven(arm="live")
    gate.trigger(1)
    gate.machine.header(live_tag("top", 1), gate.now_us)
    gate.pass_ms(WINDOW_MS / 2)
    gate.machine.header(live_tag("side", 1), gate.now_us)
    gate.see("top", 1)
    gate.pass_ms(WINDOW_MS / 2)
    assert [(result.trigger, result.reason) for result in gate.results] == [(1, GateReason.SILENCE)]
    gate.machine.header(live_tag("side", 1), gate.now_us)
    assert gate.machine.due_us is None, "a header that comes late arms nothing anew"
    gate.machine.header(live_tag("top", 2), gate.now_us)
    gate.see("top", 2)
    gate.see("side", 2)
    assert gate.last.opens
    gate.machine.header(live_tag("top", 4), gate.now_us)
    gate.machine.header(live_tag("side", 3), gate.now_us)
    assert (gate.status.missed_triggers, gate.status.synchronised) == (1, True), "a part whose first header was lost"


@pytest.mark.parametrize("tag", [{"simulated": True}, {"camera": "stranger"}, {"trigger": None}, {"trigger": 2**40}])
def test_a_header_that_can_open_nothing_arms_nothing(tag: dict[str, Any]) -> None:
    gate = Driven(arm="live")
    gate.machine.header(live_tag(**{"camera": "top", "trigger": 1, **tag}), gate.now_us)
    assert gate.machine.due_us is None


@pytest.mark.parametrize("own", [None, 700])
def test_armed_by_the_live_topic_and_matched_by_id_no_part_has_a_number_or_is_at_the_gate(own: int | None) -> None:
    """A number made up, the camera's own, or a place by order alone would be another part's once a header is lost."""
    gate = Driven(arm="live", match="part_id")
    for part in "ABC":
        gate.machine.header(live_tag("top", own, part_id=part), gate.now_us)
        gate.machine.header(live_tag("side", None, part_id=part), gate.now_us)
        gate.see("top", None, part_id=part)
        gate.see("side", None, part_id=part)
    assert [(result.trigger, result.part_id, result.opens) for result in gate.results] == [
        (NO_TRIGGER, "A", True),
        (NO_TRIGGER, "B", True),
        (NO_TRIGGER, "C", True),
    ]
    assert (gate.status.at_gate, gate.status.missed_triggers) == (None, 0)


def test_armed_by_the_live_topic_an_id_that_comes_again_is_another_part() -> None:
    """As a pallet does: soon after, both are rejected; long after, it is a part like any other."""
    gate = Driven(arm="live", match="part_id")

    def come() -> None:
        for camera in ("top", "side"):
            gate.machine.header(live_tag(camera, None, part_id="A"), gate.now_us)
        for camera in ("top", "side"):
            gate.see(camera, None, part_id="A")

    come()
    gate.pass_ms(2 * WINDOW_MS)
    come()
    assert [result.opens for result in gate.results] == [True, False]
    assert gate.machine.counts["twins"] == 1
    gate.pass_ms(10 * WINDOW_MS)
    come()
    assert [result.opens for result in gate.results] == [True, False, True]


def test_a_camera_that_starts_anew_shows_in_its_headers() -> None:
    gate = Driven(arm="live")
    gate.machine.header(live_tag("top", 1), gate.now_us)
    gate.machine.header(live_tag("top", 1, session=OTHER_SESSION), gate.now_us)
    assert gate.machine.causes[Cause.SESSION] == 1
    assert not gate.status.synchronised
