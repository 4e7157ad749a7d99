"""The register map: what goes in comes out, nothing odd breaks it, and no mixture of two images opens a gate."""

import math
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.worker.gate.statuses import part, showing, statuses
from worker.gate.modbus_client import WRITES
from worker.gate.registers import (
    BLOCK_WORDS,
    IMAGE_WORDS,
    REGISTERS,
    RING_AT,
    SPANS,
    decode,
    encode,
    read,
    slot_of,
)
from worker.gate.status import MAX_COUNTER, RING, GateReason, PartResult, Status

parts = st.builds(part, st.integers(1, 3), opens=st.booleans(), trigger=st.integers(0, 2))
at_gates = st.builds(Status, at_gate=st.none() | parts)
unhurried = settings(deadline=None, max_examples=30, suppress_health_check=[HealthCheck.too_slow])
"""A busy machine is no fault of what it tests."""


@given(statuses())
@unhurried
def test_a_status_comes_out_of_its_registers_as_it_went_in(status: Status) -> None:
    registers = encode(status)
    assert len(registers) == IMAGE_WORDS
    assert all(0 <= word <= 65_535 for word in registers)
    assert decode(registers) == status


@given(statuses())
@unhurried
def test_one_read_of_the_block_says_all_but_names_and_scores(status: Status) -> None:

    def bare(result: PartResult) -> PartResult:
        return replace(result, part_id="", score=None, camera="", view="")

    gate = replace(bare(status.at_gate), severity=None) if status.at_gate else None
    results = tuple(bare(result) for result in status.results)
    assert decode(encode(status)[:BLOCK_WORDS]) == replace(status, at_gate=gate, results=results)


def test_no_request_needs_more_registers_than_modbus_allows() -> None:
    assert BLOCK_WORDS <= 125
    assert all(words <= 123 for _, words in WRITES)


def test_the_rows_of_the_map_neither_overlap_nor_leave_the_spans() -> None:
    taken = [row.address + word for row in REGISTERS for word in range(row.kind.words)]
    assert len(taken) == len(set(taken))
    assert len({row.name for row in REGISTERS}) == len(REGISTERS)
    shown = {address + word for address, words in SPANS for word in range(words)}
    assert {row.address for row in REGISTERS if not row.written} <= shown
    assert shown.isdisjoint(row.address for row in REGISTERS if row.written)


def test_the_ring_holds_sixteen_results_over_the_wrap_of_the_counter() -> None:
    counters = [*range(MAX_COUNTER - 7, MAX_COUNTER + 1), *range(1, 9)]
    status = Status(counter=8, results=tuple(part(counter) for counter in counters))
    assert len({slot_of(counter) for counter in counters}) == RING
    assert [result.counter for result in decode(encode(status)).results] == counters


def test_the_slot_that_is_written_next_holds_no_result_that_still_counts() -> None:
    for newest in (16, 17, 1000, MAX_COUNTER):
        held = {slot_of((newest - age - 1) % MAX_COUNTER + 1) for age in range(RING)}
        assert slot_of(newest % MAX_COUNTER + 1) not in held


@given(at_gates, at_gates, st.integers(0, RING_AT))
@settings(deadline=None)
def test_a_header_that_is_half_old_and_half_new_opens_for_no_part_that_neither_opens_for(
    old: Status, new: Status, cut: int
) -> None:
    mixed = encode(new)[:cut] + encode(old)[cut:]
    counter, opens = read(mixed, "at_gate_counter"), read(mixed, "at_gate_open")
    if counter and counter == opens:
        assert any(one.at_gate and one.at_gate.opens and one.at_gate.counter == counter for one in (old, new))


@pytest.mark.parametrize(
    ("severity", "shown"), [(-3.0, 0), (0.9996, 1000), (1e9, 65_534), (math.inf, 65_534), (None, 65_535)]
)
def test_a_severity_saturates_and_says_where_there_is_none(severity: float | None, shown: int) -> None:
    registers = encode(Status(counter=1, results=(replace(part(1), severity=severity),)))
    assert read(registers, "newest_severity") == shown


def test_a_severity_that_is_no_number_is_shown_as_not_judged() -> None:
    registers = encode(Status(counter=1, results=(replace(part(1), severity=math.nan),)))
    assert read(registers, "newest_severity") == 65_535


@pytest.mark.parametrize("score", [math.nan, math.inf, -math.inf, 1e300, -1e300])
def test_a_score_that_no_register_holds_is_infinite_or_none(score: float) -> None:
    result = decode(encode(Status(counter=1, results=(replace(part(1), score=score),)))).results[0]
    assert result.score is None if math.isnan(score) else result.score == math.copysign(math.inf, score)


@pytest.mark.parametrize(
    ("part_id", "shown"),
    [("A" * 10_000, "A" * 31 + "~"), ("B" * 32, "B" * 32), ("Größe\n", "Gr??e?"), ("", ""), ("a\0b", "a?b")],
)
def test_a_part_id_that_does_not_fit_is_cut_and_marked(part_id: str, shown: str) -> None:
    registers = encode(Status(counter=1, results=(part(1, part_id=part_id),)))
    assert read(registers, "newest_part_id") == shown


def test_registers_that_nobody_has_written_say_neither_pass_nor_reject() -> None:
    blank = decode([0] * IMAGE_WORDS)
    assert (blank.online, blank.at_gate, blank.results) == (False, None, ())
    assert decode(encode(Status())) == Status()


def test_a_part_that_is_rejected_is_not_open_whatever_is_known_of_it() -> None:
    registers = encode(showing(5, opens=False))
    assert read(registers, "at_gate_open") == 0
    assert read(registers, "at_gate_counter") == 5
    assert read(registers, "at_gate_reason") == GateReason.DEFECT
