"""`producers.service` against a real datagram socket."""

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from producers.service import ServiceManager
from tests.notified import Listener, listening

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="systemd is Linux's")


@pytest.fixture(params=["a path", "an abstract name"])
def systemd(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Listener]:
    with listening(tmp_path, abstract=request.param == "an abstract name") as listener:
        yield listener


def manager(systemd: Listener, **more: str) -> ServiceManager:
    return ServiceManager({"NOTIFY_SOCKET": systemd.address, **more})


def test_it_tells_what_systemd_asks_for_each_once(systemd: Listener) -> None:
    service = manager(systemd)
    assert service.present
    for _ in range(2):
        service.ready()
        service.status("judges")
    service.stopping()
    assert systemd.drain() == ["READY=1", "STATUS=judges", "STOPPING=1"]


def test_a_loop_that_turns_often_tells_the_watchdog_now_and_then(systemd: Listener) -> None:
    service = manager(systemd, WATCHDOG_USEC="400000")
    service.ready()
    while len(systemd.times) < 5:
        service.beat()
        systemd.listen(0)
    assert systemd.heard == ["READY=1", *["WATCHDOG=1"] * 4]
    assert systemd.times[-1] - systemd.times[1] >= 0.25, "three quarters of the watchdog's time at the least"


def test_a_daemon_that_is_not_ready_asks_for_more_time_for_as_long_as_its_loop_turns(systemd: Listener) -> None:
    service = manager(systemd)
    service.beat()
    assert systemd.drain() == ["EXTEND_TIMEOUT_USEC=60000000"]
    service.ready()
    service.beat()
    assert systemd.drain() == ["READY=1"]


def test_the_watchdog_of_another_process_is_not_fed(systemd: Listener) -> None:
    service = manager(systemd, WATCHDOG_USEC="400000", WATCHDOG_PID=str(os.getpid() + 1))
    service.ready()
    service.beat()
    assert systemd.drain() == ["READY=1"]


def test_without_systemd_nothing_is_said_and_nothing_opened() -> None:
    service = ServiceManager({})
    service.ready()
    service.beat()
    assert not service.present
    assert not service.told_ready


def test_a_socket_that_is_gone_ends_nobody_and_ready_is_said_once_it_is_back(tmp_path: Path) -> None:
    with listening(tmp_path) as first:
        service = manager(first)
    service.ready()
    assert not service.told_ready
    Path(first.address).unlink()
    with listening(tmp_path) as second:
        service.ready()
        assert service.told_ready
        assert second.drain() == ["READY=1"]


def test_a_manager_that_does_not_listen_does_not_hold_up_the_work(systemd: Listener) -> None:
    """The socket's queue is full after a while; a blocking send would wait for ever."""
    service = manager(systemd)
    for number in range(5000):
        service.status(f"line {number}")
    assert 0 < len(systemd.drain()) < 5000
