"""A live viewer that never reads: the line does not wait for it, and it costs a few pictures of memory."""

import pytest
import zmq

pytest.importorskip("torch")

from tests.faults.conftest import PATIENT_S, OpenLine
from tests.faults.harness import GOOD, LONG, FaultLine, expect_one_verdict_each, picture, resident_bytes

SIDE = 512
PICTURE_BYTES = 3 * SIDE * SIDE
PICTURES = 2000 if LONG else 300


def publish_pictures(line: FaultLine, count: int) -> None:
    for _ in range(count):
        line.expected[str(line.publisher.publish(picture(GOOD, SIDE)))] = "ok"
    line.drain()


def test_a_viewer_that_never_reads_neither_stops_the_line_nor_fills_its_memory(open_line: OpenLine) -> None:
    line = open_line(retain_frames=16, heartbeat_s=PATIENT_S)
    line.worker()
    publish_pictures(line, 50)
    with zmq.Context() as context, context.socket(zmq.SUB) as viewer:
        viewer.setsockopt(zmq.LINGER, 0)
        viewer.setsockopt(zmq.RCVHWM, 1)
        viewer.setsockopt(zmq.RCVBUF, 65_536)
        viewer.subscribe(b"")
        viewer.connect(line.publisher.settings.live)
        publish_pictures(line, 1)
        while not viewer.poll(100):  # it is connected and subscribed from here on
            publish_pictures(line, 1)
        before = resident_bytes(None)
        publish_pictures(line, PICTURES)
        grown = resident_bytes(None) - before
        expect_one_verdict_each(line)
    assert grown < 48 * PICTURE_BYTES < PICTURES * PICTURE_BYTES / 4  # 16 kept, 16 for each of two topics
