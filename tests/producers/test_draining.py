"""`producers.draining`: whoever asks gets the newest picture, or every one; a driver's end or hang is told."""

import queue
import threading
from collections.abc import Iterator

import numpy as np
import pytest

from producers.draining import ROOM, EveryPicture, NewestPicture
from producers.errors import SourceError
from producers.snapshot import Snapshot
from tests.producers.scripted_worker import wait_until


class Driver:
    """Delivers what it is told to, when it is told to."""

    def __init__(self) -> None:
        self.pictures: queue.Queue[Snapshot | Exception] = queue.Queue()
        self.released = threading.Event()
        self.delivered = 0

    def read(self) -> list[Snapshot]:
        item = self.pictures.get()
        self.delivered += 1
        if isinstance(item, Exception):
            raise item
        return [item]


def picture(number: int) -> Snapshot:
    return Snapshot(np.full((2, 2), number, np.uint8), captured=float(number), color="mono")


@pytest.fixture
def driver() -> Iterator[Driver]:
    made = Driver()
    yield made
    made.pictures.put(SourceError("over"))


def test_of_several_pictures_the_newest_is_handed_out_and_the_others_are_counted(driver: Driver) -> None:
    newest = NewestPicture(driver.read, driver.released.set)
    for number in range(5):
        driver.pictures.put(picture(number))
    wait_until(lambda: newest.skipped == 4, what="all five are read")
    found = newest.grab(5)
    assert found is not None
    assert found.captured == 4
    assert newest.grab(0) is None, "each is handed out once"


def test_where_every_picture_counts_each_keeps_its_place_and_the_first_keep_their_pixels(driver: Driver) -> None:
    every = EveryPicture(driver.read, driver.released.set)
    for number in range(ROOM + 3):
        driver.pictures.put(picture(number))
    wait_until(lambda: driver.pictures.empty() and driver.delivered == ROOM + 3, what="all are read")
    found = [every.grab(5) for _ in range(ROOM + 3)]
    assert [capture.captured for capture in found if capture] == list(range(ROOM + 3))
    assert [capture.image is not None for capture in found if capture] == [True] * ROOM + [False] * 3
    assert every.skipped == 0
    driver.pictures.put(picture(99))
    assert (later := every.grab(5)) is not None
    assert later.image is not None


def test_the_driver_s_end_is_told_after_the_last_picture(driver: Driver) -> None:
    newest = NewestPicture(driver.read, driver.released.set)
    driver.pictures.put(picture(1))
    driver.pictures.put(SourceError("sends no more"))
    wait_until(driver.released.is_set, what="the driver is released by the thread that read it")
    assert newest.grab(5) is not None
    for _ in range(2):
        with pytest.raises(SourceError, match="sends no more"):
            newest.grab(5)


def test_whatever_a_driver_throws_is_a_source_error(driver: Driver) -> None:
    newest = NewestPicture(driver.read, driver.released.set)
    driver.pictures.put(ValueError("boom"))
    with pytest.raises(SourceError, match="boom"):
        newest.grab(5)


def test_closing_releases_the_driver(driver: Driver) -> None:
    newest = NewestPicture(driver.read, driver.released.set)
    driver.pictures.put(picture(1))
    threading.Timer(0.05, driver.pictures.put, (picture(2),)).start()
    newest.close()
    assert driver.released.is_set()


def test_a_driver_that_hangs_is_left_behind(driver: Driver, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("producers.draining.FAREWELL_S", 0.05)
    NewestPicture(driver.read, driver.released.set).close()
    assert not driver.released.is_set(), "nobody releases a driver under the thread that reads it"
