"""Open-loop arrivals: a schedule of its own, and time that counts from it whatever keeps the camera."""

import time
from collections.abc import Iterator

import numpy as np
import pytest

from producers.frame import Picture
from producers.publisher import FramePublisher, PublisherSettings
from worker.bench.arrivals import Camera, OneByOne, Poisson, Saturate, carry_out
from worker.demo.processes import free_ports

PICTURE = Picture(encoding="raw", shape=(8, 8, 3), dtype="uint8", color="bgr")
MS = 1_000_000


@pytest.fixture
def camera() -> Iterator[Camera]:
    """A real publisher that no worker dials: what it captures stays open."""
    work, live = (f"tcp://127.0.0.1:{port}" for port in free_ports(2))
    with FramePublisher(PublisherSettings(camera="cam1", work=work, live=live, policy="drop_oldest")) as publisher:
        yield Camera(publisher, [bytes(8 * 8 * 3)], PICTURE)


def poisson(*, rate: float = 200.0, seconds: float = 50.0, seed: int = 0, starts_ns: int = 7) -> Poisson:
    return Poisson(starts_ns, rate, seconds, budget_ms=None, seed=(seed,))


def test_a_schedule_is_the_same_for_a_seed_and_another_for_another() -> None:
    assert (poisson().schedule() == poisson().schedule()).all()
    assert poisson().schedule()[0] != poisson(seed=1).schedule()[0]


def test_arrivals_are_poisson_in_order_and_within_their_time() -> None:
    times = poisson().schedule()
    gaps = np.diff(times) / 1e9
    assert 9_500 < len(times) < 10_500  # five deviations around 10,000
    assert (gaps >= 0).all()
    assert times[0] >= 7
    assert times[-1] < 7 + 50e9
    assert gaps.std() == pytest.approx(gaps.mean(), rel=0.05)  # as of an exponential, and of nothing steadier


def test_a_camera_that_comes_late_keeps_the_schedule_and_says_how_late_it_was(camera: Camera) -> None:
    """All was due before it began: no frame is left out, and none counts from when it was published."""
    late = poisson(rate=20.0, seconds=1.0, starts_ns=time.monotonic_ns() - 1_500 * MS)
    before_ns = time.time_ns()
    done = carry_out(late, camera, patience_s=0.0)
    assert len(done.due_ns) == len(late.schedule()) > 0
    assert (np.diff(done.due_ns) == np.diff(late.schedule())).all()
    assert done.due_ns.max() < before_ns
    assert done.behind_ns.min() >= 500 * MS
    assert (done.camera, done.session, done.first) == ("cam1", camera.publisher.session, 0)


def test_arrivals_do_not_wait_for_verdicts(camera: Camera) -> None:
    order = poisson(rate=500.0, seconds=0.2, starts_ns=time.monotonic_ns())
    done = carry_out(order, camera, patience_s=0.0)
    assert done.open == len(order.schedule()) == camera.open


def test_the_next_order_goes_on_where_the_seq_was(camera: Camera) -> None:
    first = carry_out(poisson(rate=50.0, seconds=0.2, starts_ns=0), camera, patience_s=0.0)
    second = carry_out(poisson(rate=50.0, seconds=0.2, starts_ns=0), camera, patience_s=0.0)
    assert second.first == len(first.due_ns) > 0


def test_a_saturated_camera_never_has_more_open_than_its_window(camera: Camera) -> None:
    assert carry_out(Saturate(seconds=0.1, window=5), camera, patience_s=0.0).open == 5


def test_an_idle_line_gets_no_frame_before_the_last_one_has_its_verdict(camera: Camera) -> None:
    assert len(carry_out(OneByOne(seconds=0.2, frames=10, gap_s=0.0), camera, patience_s=0.0).due_ns) == 1
