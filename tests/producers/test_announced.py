"""`producers.announced`: which picture shows which part, with the times passed in. In doubt, none shows any."""

from collections.abc import Iterable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from producers.announced import Announced, Announcement, announcement
from producers.frame import PartTag
from producers.snapshot import Snapshot, missing

WITHIN_S = 0.5


class Said:
    """Lines that were said, in their order."""

    def __init__(self) -> None:
        self.waiting: list[Announcement] = []

    def open(self) -> None: ...

    def close(self) -> None: ...

    def take(self) -> list[Announcement]:
        taken, self.waiting = self.waiting, []
        return taken


class Station:
    """A triggered camera whose parts are announced: what was said and taken, and how each ended."""

    def __init__(self) -> None:
        self.said = Said()
        self.matching = Announced(self.said, within_s=WITHIN_S)
        self.ends: list[tuple[str | None, str]] = []

    def announce(self, part: str, at: float) -> None:
        self.said.waiting.append(Announcement(PartTag(part_id=part), at))

    def picture(self, at: float, *, whole: bool = True) -> None:
        image = np.zeros((2, 2), np.uint8) if whole else None
        self._note(self.matching.attribute(Snapshot(image, at, color="mono")))

    def wait(self, until: float) -> None:
        self._note(self.matching.overdue(until))

    def stop(self) -> None:
        self._note(self.matching.left())

    def _note(self, ends: Iterable[Snapshot]) -> None:
        self.ends += [(end.part.part_id, "torn" if end.image is None else "picture") for end in ends]


@pytest.fixture
def station() -> Station:
    return Station()


def test_a_picture_within_the_time_shows_the_part_that_was_announced(station: Station) -> None:
    for number in range(3):
        station.announce(f"p{number}", number)
        station.picture(number + 0.2)
    assert station.ends == [("p0", "picture"), ("p1", "picture"), ("p2", "picture")]


def test_a_picture_that_came_incomplete_ends_its_part(station: Station) -> None:
    station.announce("p0", 0.0)
    station.picture(0.2, whole=False)
    station.wait(9.0)
    assert station.ends == [("p0", "torn")]


def test_a_part_whose_picture_never_comes_ends_too_and_the_one_after_the_next_is_sure_again(station: Station) -> None:
    """The next part's picture might be the late one."""
    station.announce("p0", 0.0)
    station.announce("p1", 0.8)
    station.picture(0.9)
    station.announce("p2", 1.6)
    station.picture(1.7)
    assert station.ends == [("p0", "torn"), ("p1", "torn"), (None, "picture"), ("p2", "picture")]
    assert station.matching.load() == {
        "source_parts_announced": 3,
        "source_parts_without_picture": 2,
        "source_pictures_without_part": 1,
    }


def test_a_missing_picture_ends_its_part_without_waiting_for_another(station: Station) -> None:
    station.announce("p0", 0.0)
    station.wait(0.9)
    assert station.ends == [], "one that was taken at 0.5 may still be on its way"
    station.wait(1.01)
    assert station.ends == [("p0", "torn")]


def test_two_parts_before_a_picture_and_nobody_knows_whose_it_is(station: Station) -> None:
    station.announce("p0", 0.0)
    station.announce("p1", 0.1)
    station.picture(0.2)
    station.picture(0.3)
    assert station.ends == [("p0", "torn"), ("p1", "torn"), (None, "picture"), (None, "picture")]


def test_a_picture_that_nobody_announced_makes_the_next_part_doubtful(station: Station) -> None:
    """Somebody who missed a part may be one behind."""
    station.picture(0.0)
    station.announce("p1", 0.4)
    station.picture(0.45)
    station.announce("p2", 1.2)
    station.picture(1.25)
    assert station.ends == [(None, "picture"), ("p1", "torn"), (None, "picture"), ("p2", "picture")]


def test_a_picture_is_not_matched_with_what_was_announced_after_it(station: Station) -> None:
    """It waited in a queue while the next part was announced."""
    station.announce("p0", 0.0)
    station.announce("p1", 1.0)
    station.picture(0.2)
    station.picture(1.2)
    assert station.ends == [("p0", "picture"), ("p1", "picture")]


def test_a_picture_of_which_nothing_came_takes_nobody_s_part(station: Station) -> None:
    station.announce("p0", 0.0)
    station._note(station.matching.attribute(missing("never came", captured=0.1, came=False)))
    station.picture(0.2)
    assert station.ends == [(None, "torn"), ("p0", "picture")]


def test_at_the_end_every_part_that_was_announced_has_an_end(station: Station) -> None:
    station.announce("p0", 0.0)
    station.announce("p1", 5.0)
    station.stop()
    assert station.ends == [("p0", "torn"), ("p1", "torn")]


@settings(max_examples=150, deadline=None)
@given(
    st.lists(st.tuples(st.sampled_from(["seen", "lost", "unread"]), st.floats(0.01, WITHIN_S)), max_size=30),
    st.floats(0.55, 3.0),
)
def test_no_part_ever_has_its_neighbour_s_picture(parts: list[tuple[str, float]], pitch_s: float) -> None:
    """Whatever is lost or not announced: a part's picture is its own, and each part has one end."""
    fates = [fate for fate, _ in parts]
    station = Station()
    events: list[tuple[float, str, int]] = []
    for number, (fate, delay_s) in enumerate(parts):
        at = number * pitch_s
        if fate != "unread":
            events.append((at, "announce", number))
        if fate != "lost":
            events.append((at + delay_s, "picture", number))
    shown: list[tuple[int, str | None]] = []
    for at, what, number in sorted(events):
        if what == "announce":
            station.announce(str(number), at)
        else:
            before = len(station.ends)
            station.picture(at)
            shown += [(number, part) for part, end in station.ends[before:] if end == "picture"]
    station.stop()
    assert all(part in (None, str(number)) for number, part in shown)
    ended = sorted(int(part) for part, _ in station.ends if part is not None)
    assert ended == [number for number, fate in enumerate(fates) if fate != "unread"]
    if set(fates) == {"seen"}:
        assert all(part == str(number) for number, part in shown)


@pytest.mark.parametrize(
    ("line", "part"),
    [
        ("A-1042", PartTag(part_id="A-1042")),
        ("  A 10\t", PartTag(part_id="A 10")),
        ("#17", PartTag(trigger=17)),
        ("#17 A-1042", PartTag(trigger=17, part_id="A-1042")),
        ("A#17", PartTag(part_id="A#17")),
    ],
)
def test_a_line_says_a_part_a_trigger_or_both(line: str, part: PartTag) -> None:
    assert announcement(line, 1.0) == Announcement(part, 1.0)


@pytest.mark.parametrize("line", ["", "   ", "x" * 257, "#12345678901234567"])
def test_any_other_line_announces_nothing(line: str) -> None:
    assert announcement(line, 1.0) is None
