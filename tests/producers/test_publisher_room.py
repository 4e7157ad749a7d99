"""`producers.publisher`: what it keeps is bounded, whatever workers and viewers do or leave undone."""

import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np
import pytest
import zmq

from producers.errors import ProducersError, PublisherClosed
from producers.publisher import FramePublisher, PublisherSettings
from tests.producers.conftest import Dial, Publish
from tests.producers.scripted_worker import wait_until

PICTURE = np.arange(4 * 6 * 3, dtype=np.uint8).reshape(4, 6, 3)


@contextmanager
def publishing(publisher: FramePublisher, count: int) -> Iterator[threading.Thread]:
    """A camera program of its own, which may have to wait; in the end it is let go."""

    def capture() -> None:
        with suppress(ProducersError):  # it may be closed meanwhile
            for _ in range(count):
                publisher.publish(PICTURE)

    thread = threading.Thread(target=capture, daemon=True)
    thread.start()
    try:
        yield thread
    finally:
        publisher.interrupt()
        thread.join(10)


def watch_open(publisher: FramePublisher, *, seconds: float) -> int:
    """The most open frames that are seen for a while."""
    ends, most = time.monotonic() + seconds, 0
    while time.monotonic() < ends:
        most = max(most, publisher.counts()["open"])
        time.sleep(0.005)
    return most


def test_block_makes_publish_wait_until_a_verdict_is_stored(publish: Publish, dial: Dial) -> None:
    publisher, worker = publish(retain_frames=1), dial()
    worker.hello(credit=1)
    name = publisher.publish(PICTURE)
    worker.frame()
    with publishing(publisher, 1) as camera:
        assert watch_open(publisher, seconds=0.3) == 1
        assert camera.is_alive()
        worker.stored(name)
        camera.join(10)
        assert not camera.is_alive()


def test_block_makes_publish_wait_for_bytes_too(publish: Publish) -> None:
    publisher = publish(retain_bytes=PICTURE.nbytes * 2)
    publisher.publish(PICTURE)
    publisher.publish(PICTURE)
    wait_until(lambda: publisher.counts()["captured"] == 2, what="the publisher has the frames")
    with publishing(publisher, 1) as camera:
        assert watch_open(publisher, seconds=0.3) == 2
        assert camera.is_alive()


def test_interrupt_frees_a_waiting_publish_and_its_frame_is_kept(publish: Publish, dial: Dial) -> None:
    publisher = publish(retain_frames=1)
    publisher.publish(PICTURE)
    wait_until(lambda: publisher.counts()["captured"] == 1, what="the publisher has the frame")
    with publishing(publisher, 3) as camera:
        assert watch_open(publisher, seconds=0.2) == 1
        publisher.interrupt()
        camera.join(10)
        assert not camera.is_alive()
    worker = dial()
    worker.hello(credit=9)
    assert [worker.frame()[0].seq for _ in range(4)] == [0, 1, 2, 3]


@pytest.mark.parametrize("bound", [{"retain_frames": 4}, {"retain_bytes": PICTURE.nbytes * 4}], ids=["frames", "bytes"])
def test_block_keeps_to_its_bounds_however_fast_the_source_is(publish: Publish, bound: dict[str, int]) -> None:
    """Frames that the publisher's thread has not looked at yet are kept as well, and take as much memory."""
    publisher = publish(**bound)
    with publishing(publisher, 200):
        assert watch_open(publisher, seconds=0.4) == 4


def test_drop_oldest_never_waits_and_loses_no_verdict(publish: Publish, dial: Dial) -> None:
    publisher, worker = publish(policy="drop_oldest", retain_frames=8), dial()
    with publishing(publisher, 100) as camera:
        camera.join(10)
        assert not camera.is_alive()
    wait_until(lambda: publisher.counts()["captured"] == 100, what="the publisher has the frames")
    assert publisher.counts()["gone"] == 92
    worker.hello(credit=100)
    frames: list[int] = []
    lost: list[tuple[int, str]] = []
    while len(frames) + len(lost) < 100:
        arrival = worker.receive()
        if isinstance(arrival, tuple):
            frames.append(arrival[0].seq)
        else:
            lost += [(tag["seq"], arrival.model_dump()["reason"]) for tag in arrival.model_dump()["frames"]]
    assert frames == list(range(92, 100))
    assert lost == [(seq, "lost") for seq in range(92)]


def test_a_publisher_closes_while_much_is_unanswered(publisher_settings: PublisherSettings, dial: Dial) -> None:
    publisher, worker = FramePublisher(publisher_settings.model_copy(update={"policy": "drop_oldest"})), dial()
    worker.hello(credit=2**53)
    for _ in range(3000):
        publisher.publish(PICTURE)
    try:
        publisher.close()
    except zmq.Again:  # its thread has more wake-ups than it could look at
        wait_until(lambda: publisher.counts()["captured"] == 3000, what="the publisher has the frames")
        publisher.close()
        pytest.fail("it could not be closed while it was busy")


def test_closing_frees_a_waiting_publish(publisher_settings: PublisherSettings) -> None:
    publisher = FramePublisher(publisher_settings.model_copy(update={"retain_frames": 1}))
    publisher.publish(PICTURE)
    wait_until(lambda: publisher.counts()["captured"] == 1, what="the publisher has the frame")
    with publishing(publisher, 1) as camera:
        publisher.close()
        camera.join(2)
        assert not camera.is_alive()


def test_a_recorder_that_fails_stops_no_frame(publisher_settings: PublisherSettings, dial: Dial) -> None:
    """Every frame is judged; those that were not recorded are counted."""

    def fails(item: object) -> None:
        raise RuntimeError("for the test")

    with FramePublisher(publisher_settings, record=fails) as publisher:
        worker = dial()
        worker.hello(credit=3)
        for _ in range(3):
            publisher.publish(PICTURE)
            worker.stored(worker.frame()[0].id)
        assert publisher.drain(5) == 0
        assert publisher.load()["unrecorded"] == 3


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_publisher_whose_thread_has_failed_takes_no_more_frames(publisher_settings: PublisherSettings) -> None:
    """A frame that nobody would ever send is refused, not kept for ever."""
    failing = threading.Event()

    def turn() -> None:
        if failing.is_set():
            raise RuntimeError("for the test")

    with FramePublisher(publisher_settings, each_turn=turn) as publisher:
        failing.set()
        wait_until(lambda: not publisher.alive, what="the thread has failed")
        with pytest.raises(PublisherClosed, match="has failed"):
            publisher.publish(PICTURE)


def test_closing_twice_is_closing_once(publisher_settings: PublisherSettings) -> None:
    publisher = FramePublisher(publisher_settings)
    publisher.close()
    publisher.close()


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs Linux's /proc to see memory")
def test_a_viewer_that_does_not_read_takes_no_memory(publish: Publish) -> None:
    picture = np.zeros((1000, 1000), np.uint8)
    publisher = publish(policy="drop_oldest", retain_frames=2)
    with watching(publisher.settings.live, b"cam1/frame") as viewer:

        def sees_a_frame() -> bool:
            publisher.publish(picture, color="mono")
            return bool(viewer.poll(20))

        wait_until(sees_a_frame, what="the viewer is subscribed")
        before = resident_mib()
        for _ in range(200):
            seq = publisher.publish(picture, color="mono").seq
            wait_until(lambda seq=seq: publisher.counts()["captured"] > seq, what="it is shown")  # type: ignore[misc]
        assert resident_mib() - before < 100


@contextmanager
def watching(endpoint: str, topic: bytes) -> Iterator["zmq.Socket[bytes]"]:
    """A viewer with the smallest of queues."""
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    viewer = context.socket(zmq.SUB)
    viewer.setsockopt(zmq.RCVHWM, 1)
    viewer.connect(endpoint)
    viewer.subscribe(topic)
    try:
        yield viewer
    finally:
        context.destroy(linger=0)


def resident_mib() -> float:
    """Memory of this process."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("VmRSS")).split()[1]) / 1024


FLOOD = """
import sys, zmq
socket = zmq.Context().socket(zmq.DEALER)
socket.setsockopt(zmq.LINGER, 0)
socket.connect(sys.argv[1])
while True:
    socket.send_multipart([b"1P", b"garbage", b""])
"""


def test_a_peer_that_floods_the_socket_does_not_stop_the_line(
    publish: Publish, dial: Dial, endpoints: tuple[str, str]
) -> None:
    publisher, worker = publish(), dial()
    worker.hello(credit=100)
    worker.settle()
    flooder = subprocess.Popen([sys.executable, "-c", FLOOD, endpoints[0]])
    try:
        wait_until(lambda: publisher._dispatcher.messages_refused > 100, what="the flood is here")
        for _ in range(5):
            name = publisher.publish(PICTURE)
            assert worker.frame(patience_s=5.0)[0].id == name
    finally:
        flooder.kill()
        flooder.wait()
