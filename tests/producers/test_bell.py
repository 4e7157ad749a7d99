"""The bell that wakes a thread which polls, on Linux and elsewhere."""

import os
import sys
import threading
import time
from collections.abc import Iterator

import pytest
import zmq

from producers.bell import Bell


@pytest.fixture(params=["here", "elsewhere"])
def bell(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bell]:
    """As this system has it, and as another would."""
    if request.param == "elsewhere":
        monkeypatch.setattr(sys, "platform", "darwin")
    bell = Bell()
    yield bell
    bell.close()


def rings(bell: Bell, within_s: float = 0.0) -> bool:
    poller = zmq.Poller()
    poller.register(bell.fd, zmq.POLLIN)
    return bool(poller.poll(int(within_s * 1000)))


def test_it_is_heard_once_however_often_it_rang(bell: Bell) -> None:
    assert not rings(bell)
    for _ in range(3):
        bell.ring()
    assert rings(bell)
    bell.hear()
    assert not rings(bell)
    bell.hear()  # it did not ring: nobody waits


def test_it_wakes_a_thread_that_polls(bell: Bell) -> None:
    threading.Timer(0.05, bell.ring).start()
    started = time.monotonic()
    assert rings(bell, within_s=30)
    assert time.monotonic() - started < 20


def test_it_may_ring_without_end_though_nobody_hears_it(bell: Bell) -> None:
    for _ in range(100_000):
        bell.ring()
    while rings(bell):
        bell.hear()


def test_once_it_is_closed_ringing_writes_to_no_other_file(bell: Bell) -> None:
    bell.close()
    read, write = os.pipe()  # likely to get the number that was the bell's
    bell.ring()
    bell.close()
    os.write(write, b"mine")
    assert os.read(read, 100) == b"mine"
    for end in (read, write):
        os.close(end)
