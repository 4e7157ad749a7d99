"""`producers.publisher`: who may come in, what viewers see, and what garbage does, which is nothing."""

import socket
import threading
from pathlib import Path

import numpy as np
import pytest
import zmq
from hypothesis import given, settings
from hypothesis import strategies as st

from producers.errors import AddressTaken, SettingsError
from producers.frame import FrameHeader, decode
from producers.protocol import FROM_WORKER, Who
from producers.publisher import FramePublisher, PublisherSettings
from tests.producers.conftest import Dial, Publish
from tests.producers.scripted_worker import ScriptedWorker, wait_until

PICTURE = np.arange(4 * 6 * 3, dtype=np.uint8).reshape(4, 6, 3)


def watch(publisher: FramePublisher, topic: bytes) -> list[bytes]:
    """What a viewer in plain pyzmq sees of a camera; it is published until the viewer has subscribed."""
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    try:
        viewer = context.socket(zmq.SUB)
        viewer.connect(publisher.settings.live)
        viewer.subscribe(topic)

        def sees_something() -> bool:
            publisher.publish(PICTURE, part_id="A-1042")
            return bool(viewer.poll(20))

        wait_until(sees_something, what="the viewer is subscribed")
        return viewer.recv_multipart()
    finally:
        context.destroy(linger=0)


def test_a_viewer_sees_frames_that_no_worker_took(publish: Publish) -> None:
    topic, kind, header_bytes, payload = watch(publish(), b"cam1/frame")
    header = FrameHeader.from_bytes(header_bytes)
    assert (topic, kind) == (b"cam1/frame", b"1F")
    assert header.part_id == "A-1042"
    assert np.array_equal(decode(header, payload), PICTURE[:, :, ::-1])


def test_a_viewer_may_have_the_headers_alone(publish: Publish) -> None:
    topic, kind, header_bytes, payload = watch(publish(), b"cam1/header")
    assert (topic, kind, payload) == (b"cam1/header", b"1F", b"")
    assert FrameHeader.from_bytes(header_bytes).camera == "cam1"


# -- addresses -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("taken", ["work", "live"])
def test_a_second_publisher_on_the_same_port_is_told_that_it_is_taken(
    publish: Publish, dial: Dial, endpoints: tuple[str, str], taken: str
) -> None:
    first, worker = publish(), dial()
    free = {"work": "tcp://127.0.0.1:*", "live": "tcp://127.0.0.1:*"}
    settings_ = PublisherSettings(camera="cam1", **{**free, taken: getattr(first.settings, taken)})
    with pytest.raises(AddressTaken, match=getattr(first.settings, taken)):
        FramePublisher(settings_)
    worker.hello(credit=1)
    assert worker.settle() == []
    first.publish(PICTURE)
    assert worker.frame()[0].session == first.session


def test_a_second_publisher_on_the_same_ipc_path_is_told_that_it_is_taken(publish: Publish, tmp_path: Path) -> None:
    """The path is unlinked by libzmq before it binds: the first publisher would be deaf for ever, and not know it."""
    first = publish(work=f"ipc://{tmp_path}/work", live=f"ipc://{tmp_path}/live")
    with pytest.raises(AddressTaken):
        publish(work=first.settings.work, live=f"ipc://{tmp_path}/other")


def test_an_ipc_path_that_a_killed_publisher_left_behind_is_free(publish: Publish, tmp_path: Path) -> None:
    path = tmp_path / "work"
    with socket.socket(socket.AF_UNIX) as killed:
        killed.bind(str(path))
    assert path.exists()
    publisher = publish(work=f"ipc://{path}")
    with ScriptedWorker(publisher.settings.work) as worker:
        worker.hello(credit=1)
        publisher.publish(PICTURE)
        assert worker.frame()[0].session == publisher.session


def test_a_folder_that_does_not_exist_is_no_address(publish: Publish, tmp_path: Path) -> None:
    with pytest.raises(AddressTaken):
        publish(work=f"ipc://{tmp_path}/nowhere/work")


@pytest.mark.parametrize("end", ["work", "live"])
@pytest.mark.parametrize(
    "address", ["tcp://0.0.0.0:*", "tcp://*:*", "tcp://[::]:*", "tcp://eth0:*", "tcp://127.evil.example:*"]
)
def test_an_address_that_others_can_reach_is_refused(publish: Publish, end: str, address: str) -> None:
    with pytest.raises(SettingsError, match="insecure"):
        publish(**{end: address})


def test_an_address_that_others_can_reach_is_opened_if_that_is_written_out(publish: Publish) -> None:
    assert publish(work="tcp://0.0.0.0:*", insecure=True).counts()["open"] == 0


@pytest.mark.parametrize(
    "address", ["ws://127.0.0.1:*", "tcp://127.0.0.1:http", "tcp://127.0.0.1:99999", "tcp://127.0.0.1", "ipc://"]
)
def test_what_is_no_address_is_a_settings_error(publish: Publish, address: str) -> None:
    """A slip in a file must not look like a port that somebody else has, or bind a port that nobody named."""
    with pytest.raises(SettingsError):
        publish(work=address)


# -- garbage ---------------------------------------------------------------------------------------------------------

KINDS = st.sampled_from([message.kind for message in FROM_WORKER] + [b"1F", b"1G", b"2H", b""])
GARBAGE = st.lists(st.binary(max_size=40), min_size=1, max_size=5)
NEARLY = st.tuples(
    KINDS, st.sampled_from([b"{}", b"[]", b"null", b"\xff", b"[" * 5000, b'{"total":1}']), st.binary(max_size=9)
)


def test_garbage_never_stops_the_publisher_and_is_counted(publish: Publish, dial: Dial) -> None:
    publisher, worker, stranger = publish(), dial(), dial(name="stranger")
    worker.hello(credit=1)
    sent = 0

    @settings(max_examples=150, deadline=None)
    @given(parts=GARBAGE | NEARLY.map(list))
    def throw(parts: list[bytes]) -> None:
        nonlocal sent
        sent += 1
        (worker if sent % 2 else stranger).send(*parts)

    throw()
    worker.hello(credit=1)  # some of the garbage may have been a BYE
    worker.settle()
    assert Who() in stranger.settle()
    assert publisher._dispatcher.messages_refused > sent / 2
    name = publisher.publish(PICTURE)
    assert worker.frame()[0].id == name


def test_a_message_above_the_sockets_limit_costs_its_sender_the_connection_and_nobody_else(
    publish: Publish, dial: Dial
) -> None:
    publisher, worker, monster = publish(), dial(), dial(name="monster")
    worker.hello(credit=1)
    monster.send(b"1D", b"{}", bytes(3 << 20))
    worker.settle()
    name = publisher.publish(PICTURE)
    assert worker.frame()[0].id == name


def test_a_closed_publisher_leaves_no_thread(publisher_settings: PublisherSettings) -> None:
    before = set(threading.enumerate())
    publisher = FramePublisher(publisher_settings)
    assert {thread.name for thread in set(threading.enumerate()) - before} == {"publisher"}
    publisher.close()
    assert set(threading.enumerate()) == before
