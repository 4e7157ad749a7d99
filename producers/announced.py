"""Parts that somebody announces, and the pictures of a triggered camera: who belongs to whom. Pure but for its lines.

A part is announced by a line before its picture is taken. The two are matched in time, and only where nothing else
could be meant: a verdict that goes to a neighbour would open the gate for a bad part; one that goes to nobody costs a
good one.
"""

import re
from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Protocol

import structlog

from producers.frame import PartTag
from producers.snapshot import NOBODY_KNOWS, Snapshot, missing

log = structlog.get_logger("camera")


@dataclass(frozen=True)
class Announcement:
    """A part will be seen.

    Attributes:
        part: its id, its trigger's number, or both.
        at: when it was announced, monotonic seconds.
    """

    part: PartTag
    at: float


def announcement(line: str, at: float) -> Announcement | None:
    """What a line announces: `PART`, `#TRIGGER` or `#TRIGGER PART`; None if it is none of them."""
    found = re.fullmatch(r"(?:#(?P<trigger>\d+))?\s*(?P<part>.*)", line.strip(), re.DOTALL)
    if found is None:
        return None
    number, name = found["trigger"], found["part"]
    try:
        part = PartTag(trigger=None if number is None else int(number), part_id=name or None)
    except ValueError:  # too long a name, too large a number
        return None
    return None if part == NOBODY_KNOWS else Announcement(part, at)


class Lines(Protocol):
    """Where announcements come from."""

    def open(self) -> None:
        """Begins to listen."""

    def take(self) -> list[Announcement]:
        """Those that came since, in their order."""

    def close(self) -> None:
        """Ends listening."""


class Announced:
    """Matches announcements and pictures. One thread, but for `load`.

    A part waits `within_s` for its picture. In doubt both go without each other: each part ends as a picture that is
    missing, each picture has no part. Doubt begins when a part waited in vain, when a second one was announced before
    the first had its picture, and when a picture came that nobody had announced. It ends when `within_s` have passed
    without another reason for it. So `within_s` must be shorter than from one part to the next.

    Args:
        lines: of announcements.
        within_s: a picture comes within this time of its announcement, or not at all.
    """

    def __init__(self, lines: Lines, *, within_s: float) -> None:
        self._lines, self._within_s = lines, within_s
        self._heard: deque[Announcement] = deque()  # not settled yet: a picture that is older may be on its way
        self._waiting: Announcement | None = None
        self._doubt_ends = float("-inf")
        self._announced = self._without_picture = self._without_part = 0

    def open(self) -> None:
        """Begins to listen."""
        self._lines.open()

    def close(self) -> None:
        """Ends listening."""
        self._lines.close()

    def attribute(self, picture: Snapshot) -> Iterator[Snapshot]:
        """The picture with its part, if that is sure; before it, the places of those that are missing."""
        if not picture.came:  # its part waits in vain, and ends by itself
            yield picture
            return
        yield from self._settle(picture.captured)
        waiting = self._waiting
        if waiting is not None and waiting.at <= picture.captured:
            self._waiting = None
            yield picture.of(waiting.part)
            return
        self._without_part += 1
        if picture.captured >= self._doubt_ends:
            log.warning("a picture came that nobody announced")
            self._doubt(picture.captured)
        yield picture

    def overdue(self, now: float) -> Iterator[Snapshot]:
        """The places of pictures that did not come in time. One that was taken may still be on its way, as long."""
        yield from self._settle(now - self._within_s)

    def left(self) -> Iterator[Snapshot]:
        """The places of pictures that will not come any more."""
        yield from self._settle(float("inf"))
        if (waiting := self._waiting) is not None:
            self._waiting = None
            yield self._missing(waiting, "no more pictures are taken")

    def lost(self) -> None:
        """What waits now waits in vain, and the doubt begins by itself."""

    def load(self) -> Mapping[str, float]:
        """What was counted. Any thread."""
        return {
            "source_parts_announced": self._announced,
            "source_parts_without_picture": self._without_picture,
            "source_pictures_without_part": self._without_part,
        }

    def _settle(self, until: float) -> Iterator[Snapshot]:
        """What was announced by then, and what had waited long enough by then; the rest is kept for later."""
        self._heard.extend(self._lines.take())
        while self._heard and self._heard[0].at <= until:
            heard = self._heard.popleft()
            self._announced += 1
            yield from self._expire(heard.at)
            if self._waiting is not None:
                first, self._waiting = self._waiting, None
                self._doubt(heard.at)
                yield self._missing(first, "another part was announced before its picture came")
            if heard.at < self._doubt_ends:
                self._doubt(heard.at)
                yield self._missing(heard, "announced while it was in doubt which picture is whose")
            else:
                self._waiting = heard
        yield from self._expire(until)

    def _expire(self, until: float) -> Iterator[Snapshot]:
        waiting = self._waiting
        if waiting is not None and until > waiting.at + self._within_s:
            self._waiting = None
            self._doubt(waiting.at + self._within_s)
            yield self._missing(waiting, f"no picture within {self._within_s * 1000:g} ms of its announcement")

    def _missing(self, announced: Announcement, why: str) -> Snapshot:
        self._without_picture += 1
        return missing(why, captured=announced.at, part=announced.part)

    def _doubt(self, since: float) -> None:
        self._doubt_ends = max(self._doubt_ends, since + self._within_s)
