"""`producers.frame_ids`: what is missing from a camera's own numbers."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from producers.frame_ids import FrameIds


def missing(*numbers: int | None) -> list[int]:
    ids = FrameIds()
    return [ids.came(number) for number in numbers]


def test_numbers_without_a_gap_miss_nothing() -> None:
    assert missing(7, 8, 9) == [0, 0, 0]


def test_a_gap_is_what_never_came() -> None:
    assert missing(7, 9, 14) == [0, 1, 4]


def test_a_buffer_without_a_number_fills_its_place() -> None:
    assert missing(7, None, 9) == [0, 0, 0]
    assert missing(7, None, 10, None, None, 13) == [0, 0, 1, 0, 0, 0]


def test_a_buffer_without_a_number_before_the_first_is_nobody_s_gap() -> None:
    assert missing(None, 7, 8) == [0, 0, 0]


@pytest.mark.parametrize(("numbers", "gaps"), [((65_535, 1), 0), ((65_534, 1), 1), ((65_534, None, 2), 1)])
def test_short_numbers_begin_again_at_one(numbers: tuple[int | None, ...], gaps: int) -> None:
    assert sum(missing(*numbers)) == gaps


@pytest.mark.parametrize("numbers", [(7, 7), (500, 7), (7, 60_000), (2**40, 1), (2**40, 2**40 + 10**6)])
def test_a_counter_that_starts_anew_is_told_and_floods_nothing(numbers: tuple[int, int]) -> None:
    ids = FrameIds()
    assert [ids.came(number) for number in numbers] == [0, 0]
    assert ids.broken


@settings(max_examples=100, deadline=None)
@given(st.lists(st.sampled_from(["whole", "nameless", "lost"]), max_size=60), st.integers(1, 65_535))
def test_every_picture_is_counted_once_the_next_number_is_known(fates: list[str], first: int) -> None:
    """Whatever became of the pictures between two that came whole: buffers and gaps are as many as were taken."""
    ids, counted, number = FrameIds(), 0, first
    assert ids.came(first) == 0
    for fate in [*fates, "whole"]:
        number = number % 65_535 + 1
        if fate != "lost":
            counted += 1 + ids.came(number if fate == "whole" else None)
    assert counted == len(fates) + 1
    assert not ids.broken
