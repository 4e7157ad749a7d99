"""`producers.attribution`: which part a picture shows."""

import numpy as np

from producers.attribution import LEAP, Counted, Unattributed
from producers.snapshot import Snapshot, missing

PICTURE = Snapshot(np.zeros((2, 2), np.uint8), 1.0, color="mono")


def test_nobody_knows_by_default() -> None:
    known = Unattributed()
    assert list(known.attribute(PICTURE)) == [PICTURE]
    assert [*known.overdue(1e9), *known.left()] == []


def test_pictures_are_counted_also_those_that_came_incomplete() -> None:
    counted = Counted()
    pictures = [PICTURE, missing("torn", captured=2.0), PICTURE]
    assert [part.part.trigger for picture in pictures for part in counted.attribute(picture)] == [0, 1, 2]


def test_the_numbers_leap_where_pictures_may_be_missing() -> None:
    """Whoever matches by them must not give a part the verdict of its neighbour."""
    counted = Counted()
    list(counted.attribute(PICTURE))
    counted.lost()
    assert next(counted.attribute(PICTURE)).part.trigger == LEAP
    counted.lost()
    assert next(counted.attribute(PICTURE)).part.trigger == 2 * LEAP
