"""The intake and CURVE keys against a real publisher: a worker that is let in only later gets in by itself."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from producers.publisher import FramePublisher
from tests.producers.keyring import Keyring, logged
from tests.worker.test_intake import PICTURE, Taken, eventually, id_of, publisher_at
from worker.batcher import ReceivedFrame
from worker.demo.processes import free_ports

GETS_IN_S = 30.0
"""It knocks every three seconds; a machine may be busy."""


@pytest.fixture
def keyring(tmp_path: Path) -> Keyring:
    return Keyring(tmp_path)


@pytest.fixture
def port() -> int:
    return free_ports(1)[0]


@pytest.fixture
def said() -> Iterator[Callable[[], str]]:
    """All that was logged so far."""
    with logged("info") as logs:
        yield logs


@contextmanager
def taking(port: int, keyring: Keyring) -> Iterator[Taken]:
    """An intake with the key pair of `w1`."""
    taken = Taken([f"tcp://127.0.0.1:{port}"], credit=100, key=keyring.pair("w1"), server_key=keyring.server_key)
    try:
        yield taken
    finally:
        taken.intake.close()


def refusals(publisher: FramePublisher) -> int:
    assert publisher._doorkeeper is not None
    return publisher._doorkeeper.refused


def locked_publisher(port: int, keyring: Keyring) -> FramePublisher:
    return publisher_at(port, key=keyring.camera_key)


def test_a_frame_arrives_and_is_acknowledged_through_curve(port: int, keyring: Keyring) -> None:
    keyring.admit("w1", "workers")
    with locked_publisher(port, keyring) as publisher, taking(port, keyring) as taken:
        sent = publisher.publish(PICTURE + 7)
        got = taken.next(GETS_IN_S)
        assert isinstance(got, ReceivedFrame)
        assert (got.header.id, got.payload) == (sent, (PICTURE + 7).tobytes())
        taken.intake.stored([sent])
        assert eventually(lambda: publisher.counts()["open"] == 0)


def test_a_worker_whose_key_is_listed_later_gets_in_by_itself(
    port: int, keyring: Keyring, said: Callable[[], str]
) -> None:
    """A refused handshake leaves its socket deaf for ever."""
    with locked_publisher(port, keyring) as publisher, taking(port, keyring) as taken:
        sent = publisher.publish(PICTURE)
        assert eventually(lambda: refusals(publisher) >= 2, GETS_IN_S)
        assert publisher.counts()["workers"] == 0
        keyring.admit("w1", "workers")
        assert id_of(taken.next(GETS_IN_S)) == sent
    assert said().count("no way in") == 1


def test_a_worker_that_is_refused_after_it_was_in_gets_in_again(port: int, keyring: Keyring) -> None:
    keyring.admit("w1", "workers")
    with taking(port, keyring) as taken:
        with locked_publisher(port, keyring) as publisher:
            taken.intake.stored([publisher.publish(PICTURE)])
            taken.next(GETS_IN_S)
        keyring.expel("w1", "workers")
        with locked_publisher(port, keyring) as publisher:
            sent = publisher.publish(PICTURE)
            assert eventually(lambda: refusals(publisher) >= 1, GETS_IN_S)
            keyring.admit("w1", "workers")
            assert id_of(taken.next(GETS_IN_S)) == sent


def test_a_camera_that_is_given_keys_later_needs_no_restart_of_its_worker(
    port: int, keyring: Keyring, said: Callable[[], str]
) -> None:
    """A worker that has its keys already is no plain one: it takes nothing from a publisher that can't prove itself."""
    keyring.admit("w1", "workers")
    with taking(port, keyring) as taken:
        with publisher_at(port) as publisher:
            publisher.publish(PICTURE)
            assert eventually(lambda: "no way in" in said(), GETS_IN_S)
            assert taken.nothing_more(0)
        with locked_publisher(port, keyring) as publisher:
            sent = publisher.publish(PICTURE)
            assert id_of(taken.next(GETS_IN_S)) == sent
