"""Headers on the live topic: heard with keys and without, and what is none is refused."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import zmq

from producers.publisher import FramePublisher, PublisherSettings
from tests.producers.keyring import Keyring
from tests.worker.frames import header
from tests.worker.processes import eventually
from worker.demo.processes import free_ports
from worker.gate.inbox import Event, Inbox, now_us
from worker.gate.live import Headers
from worker.gate.settings import LiveSettings


@contextmanager
def hearing(headers: Headers) -> Iterator[Headers]:
    headers.start()
    try:
        yield headers
    finally:
        headers.close()


def heard(inbox: Inbox, found: list[Event]) -> Callable[[], bool]:
    """Whether anything has come; what has, is put into `found`."""

    def look() -> bool:
        found.extend(event for _, event in inbox.take(now_us())[0])
        return bool(found)

    return look


def test_a_gateway_whose_key_is_listed_hears_a_camera_that_has_keys(tmp_path: Path) -> None:
    ring, inbox = Keyring(tmp_path), Inbox()
    key = ring.admit("gate", "viewers")
    work, live = (f"tcp://127.0.0.1:{port}" for port in free_ports(2))
    settings = PublisherSettings(camera="cam1", work=work, live=live, simulated=False, key=ring.camera_key)
    cameras = {"cam1": LiveSettings(live=live, server_key=ring.server_key)}
    found: list[Event] = []
    with FramePublisher(settings) as camera, hearing(Headers(cameras, key, inbox)):

        def published_and_heard() -> bool:
            camera.publish(np.zeros((4, 6, 3), np.uint8), trigger=7)
            return heard(inbox, found)()

        assert eventually(published_and_heard)
    assert {(event.camera, event.trigger) for event in found} == {("cam1", 7)}  # type: ignore[union-attr]


def test_what_is_no_header_of_that_camera_is_refused_and_the_next_one_is_heard() -> None:
    inbox, found = Inbox(), list[Event]()
    with zmq.Context() as context, context.socket(zmq.PUB) as pub:
        port = pub.bind_to_random_port("tcp://127.0.0.1")
        cameras = {"cam1": LiveSettings(live=f"tcp://127.0.0.1:{port}")}
        with hearing(Headers(cameras, None, inbox)) as headers:
            good = [b"cam1/header", b"1F", header(3, camera="cam1").to_bytes(), b""]
            for bad in (
                [b"cam1/header"],
                [b"cam1/header", b"1X", good[2], b""],
                [b"cam1/header", b"1F", b"{", b""],
                [b"cam1/header", b"1F", header(3, camera="cam2").to_bytes(), b""],
            ):
                before = headers.refused

                def refused(bad: list[bytes] = bad, before: int = before) -> bool:
                    pub.send_multipart(bad)
                    return headers.refused > before

                assert eventually(refused)
            pub.send_multipart(good)
            assert eventually(heard(inbox, found))
    assert [event.seq for event in found] == [3]  # type: ignore[union-attr]
