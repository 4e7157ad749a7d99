"""What a PLC programmer is given is what the gateway does."""

import re
import runpy

import pytest

from tests.deploy.tools import DEPLOY, shipped
from worker.gate.commands import COMMAND_AT, COMMAND_WORDS
from worker.gate.registers import (
    COUNTER_AT,
    IMAGE_WORDS,
    RING_AT,
    ROWS,
    SLOTS,
    SPANS,
    Shown,
    slot_of,
    to_csv,
)
from worker.gate.status import MAX_COUNTER

PAGE = shipped("plc/README.md")


def test_the_map_is_the_one_that_the_code_makes() -> None:
    assert shipped("plc/registers.csv") == to_csv()


def test_the_timing_diagram_is_the_one_that_its_script_draws() -> None:
    drawn = runpy.run_path(str(DEPLOY / "plc" / "timing.py"))["draw"]()
    assert shipped("plc/timing.svg") == drawn


def test_the_table_of_the_page_covers_the_map() -> None:
    rows = [(int(at), int(words)) for at, words in re.findall(r"^\| (\d+) \| (\d+) \|", PAGE, re.M)]
    header, ring, counter, *rest = rows
    assert header == (0, ROWS["at_gate_open"].address + 1)
    assert ring == (RING_AT, COUNTER_AT - RING_AT)
    assert counter == (COUNTER_AT, 1)
    assert sorted(rest) == sorted([*SPANS[1:], (COMMAND_AT, COMMAND_WORDS)])
    assert f"holding registers 0 to {IMAGE_WORDS - 1}" in PAGE


def test_every_name_in_the_program_is_a_register() -> None:
    names = set(re.findall(r"\bGW\.(\w+)", PAGE))
    assert {"heartbeat", "ring", "taken"} <= names
    assert names - {"ring"} <= ROWS.keys()
    assert {f"command_{name}" for name in re.findall(r"\bCMD\.(\w+)", PAGE)} <= ROWS.keys()


@pytest.mark.parametrize("done", [0, 1, 16, 17, 40_000, MAX_COUNTER - 1, MAX_COUNTER])
def test_the_slot_of_the_next_result_is_where_the_program_looks(done: int) -> None:
    assert done % SLOTS == slot_of(done % MAX_COUNTER + 1)
    assert f"done MOD {SLOTS}" in PAGE


def test_the_decisions_are_those_of_the_page() -> None:
    assert "`decision` is 1 for a PASS of every view, 2 for reject" in PAGE
    assert (Shown.NOTHING, Shown.PASS, Shown.REJECT) == (0, 1, 2)
