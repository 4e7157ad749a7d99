"""Which part a picture shows: nobody knows, the pictures are counted, or somebody announces each part.

Announcements and pictures are matched in time, never by order alone: after one picture too few, order would give every
later part the verdict of its neighbour.
"""

from collections.abc import Iterator, Mapping
from typing import Protocol

from producers.frame import PartTag
from producers.snapshot import Snapshot

LEAP = 1_000_000


class Attribution(Protocol):
    """Says which part each picture shows. One thread, but for `load`."""

    def open(self) -> None:
        """Begins to listen, where there is something to hear."""

    def attribute(self, picture: Snapshot) -> Iterator[Snapshot]:
        """The picture with what is known of its part; before it, the places of those that are missing."""

    def overdue(self, now: float) -> Iterator[Snapshot]:
        """The places of pictures that should have come by `now`, monotonic seconds."""

    def left(self) -> Iterator[Snapshot]:
        """The places of pictures that will not come any more, because no more are taken."""

    def lost(self) -> None:
        """The camera is lost: pictures may be missing that nobody knows of."""

    def close(self) -> None:
        """Ends listening."""

    def load(self) -> Mapping[str, float]:
        """What was counted. Any thread."""


class Unattributed:
    """Nobody knows which part a picture shows."""

    def open(self) -> None:
        """There is nothing to hear."""

    def attribute(self, picture: Snapshot) -> Iterator[Snapshot]:
        """The picture as it is."""
        yield picture

    def overdue(self, now: float) -> Iterator[Snapshot]:  # noqa: ARG002 - nothing is expected
        """Nothing is."""
        yield from ()

    def left(self) -> Iterator[Snapshot]:
        """Nothing is."""
        yield from ()

    def lost(self) -> None:
        """It doesn't matter."""

    def close(self) -> None:
        """There was nothing to hear."""

    def load(self) -> Mapping[str, float]:
        """Nothing was counted."""
        return {}


class Counted(Unattributed):
    """Every picture that the camera took has the next number, also one that came incomplete.

    Where pictures may be missing that nobody knows of, the numbers leap to the next million: whoever matches by them
    sees that they are no longer the line's.
    """

    def __init__(self) -> None:
        self._next = 0

    def attribute(self, picture: Snapshot) -> Iterator[Snapshot]:
        """The picture with its number as the trigger."""
        number, self._next = self._next, self._next + 1
        yield picture.of(PartTag(trigger=number))

    def lost(self) -> None:
        """Leaps."""
        self._next = (self._next // LEAP + 1) * LEAP
