"""Open-loop arrivals: a schedule of its own, and latency that counts from it whatever keeps the camera."""

import time
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pytest

from producers.frame import Picture
from producers.publisher import FramePublisher, PublisherSettings
from worker.bench.arrivals import Camera, Captured, OneByOne, Poisson, Saturate, carry_out
from worker.bench.harvest import Entry, Ledger, outcome, percentile
from worker.demo.processes import free_ports

PICTURE = Picture(encoding="raw", shape=(8, 8, 3), dtype="uint8", color="bgr")
MS = 1_000_000


@pytest.fixture
def camera() -> Iterator[Camera]:
    """A real publisher with nobody at the other end: what its order leaves has no verdict until it is given up."""
    work, live = (f"tcp://127.0.0.1:{port}" for port in free_ports(2))
    with FramePublisher(PublisherSettings(camera="cam1", work=work, live=live, policy="drop_oldest")) as publisher:
        yield Camera(publisher, [bytes(8 * 8 * 3)], PICTURE)


def poisson(*, rate: float = 200.0, seconds: float = 50.0, seed: int = 0, starts_ns: int = 7) -> Poisson:
    return Poisson(starts_ns, rate, seconds, budget_ms=None, seed=(seed,))


def captured(*due_ms: int, behind_ms: int = 0, first: int = 0, session: str = "s") -> Captured:
    due = np.array(due_ms, np.int64) * MS
    return Captured("cam1", session, first, due, np.full(len(due), behind_ms * MS, np.int64), 0)


def entry(seq: int, stored_ms: int, reason: str = "ok", session: str = "s") -> Entry:
    return Entry(session, seq, reason, stored_ms * MS, {"wire": 100, "infer": 1000 * seq})


def test_a_schedule_is_the_same_for_a_seed_and_another_for_another() -> None:
    assert (poisson().schedule() == poisson().schedule()).all()
    assert poisson().schedule()[0] != poisson(seed=1).schedule()[0]


def test_arrivals_are_poisson_lie_in_order_and_within_their_time() -> None:
    times = poisson().schedule()
    gaps = np.diff(times) / 1e9
    assert 9_500 < len(times) < 10_500  # five deviations around 10,000
    assert (gaps >= 0).all()
    assert 7 <= times[0]
    assert times[-1] < 7 + 50e9
    assert gaps.std() == pytest.approx(gaps.mean(), rel=0.05)  # as of an exponential, and of nothing steadier


def test_a_camera_that_cannot_keep_up_is_behind_its_schedule_and_the_schedule_stays(camera: Camera) -> None:
    """All was due a second ago: not one frame is skipped, and none is said to be captured when it was published."""
    late = poisson(rate=20.0, seconds=1.0, starts_ns=time.monotonic_ns() - 1_500 * MS)
    camera.publisher._dispatcher.give_up_waiting = True  # there is no worker: it must not wait for one
    before = time.time_ns()

    @dataclass(frozen=True)
    class Impatient(Poisson):
        pass

    camera.publisher.drain = lambda _: 0  # type: ignore[method-assign]
    done = carry_out(late, camera)
    assert len(done.due_ns) == len(late.schedule())
    assert (np.diff(done.due_ns) == np.diff(late.schedule())).all()
    assert done.due_ns.max() < before
    assert done.behind_ns.min() >= 500 * MS
