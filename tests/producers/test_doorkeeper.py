"""CURVE on both sockets of a real publisher: who is let in, who is not, and that the others never notice."""

import logging
import socket
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zmq
import zmq.auth

from producers.doorkeeper import DoorKeys
from producers.errors import AddressTaken, SettingsError
from producers.protocol import Ping, encode
from producers.publisher import FramePublisher, PublisherSettings
from tests.producers.conftest import Dial, Publish
from tests.producers.keyring import Caller, Keyring, calling, logged
from tests.producers.scripted_worker import PATIENCE_S, ScriptedWorker, wait_until

PICTURE = np.arange(4 * 6 * 3, dtype=np.uint8).reshape(4, 6, 3)
DOORS = {"workers": zmq.DEALER, "viewers": zmq.SUB}


@pytest.fixture
def keyring(tmp_path: Path) -> Keyring:
    return Keyring(tmp_path)


@pytest.fixture
def locked(publish: Publish, keyring: Keyring) -> FramePublisher:
    """A publisher with keys; nobody is listed."""
    return publish(key=keyring.camera_key)


@pytest.fixture
def call(locked: FramePublisher, keyring: Keyring) -> Iterator[Any]:
    """Dials one of its doors with the pair of that name; without a name, in plain."""
    with ExitStack() as stack:

        def dial_door(door: str, name: str | None, *, to: str | None = None) -> Caller:
            endpoint = locked.settings.work if door == "workers" else locked.settings.live
            key = keyring.pair(name) if name else None
            return stack.enter_context(calling(DOORS[door], endpoint, key=key, to=to or keyring.server_key))

        yield dial_door


def takes_a_frame(worker: ScriptedWorker, publisher: FramePublisher) -> bool:
    worker.hello(credit=100)
    name = publisher.publish(PICTURE)
    while True:
        header, payload = worker.frame()
        worker.stored(header.id)
        if header.id == name:
            return payload == PICTURE.tobytes()


def sees_frames(viewer: Caller, publisher: FramePublisher) -> bool:
    def seen() -> bool:
        publisher.publish(PICTURE)
        return viewer.hears(0.02)

    wait_until(seen, what="a viewer sees frames")
    return True


def is_answered(caller: Caller, publisher: FramePublisher) -> bool:
    """Whether a viewer sees frames, or a worker that nobody knows yet is asked who it is."""
    if caller.socket.type == zmq.SUB:
        return sees_frames(caller, publisher)
    caller.socket.send_multipart(encode(Ping(mono_us=1, total=0)))
    return caller.hears(PATIENCE_S)


@contextmanager
def good_worker(publisher: FramePublisher, keyring: Keyring) -> Iterator[ScriptedWorker]:
    pair = keyring.admit("good", "workers", "viewers")
    with ScriptedWorker(publisher.settings.work, name="good", key=pair, server_key=keyring.server_key) as worker:
        yield worker


def test_a_listed_worker_takes_frames_and_a_listed_viewer_sees_them(
    locked: FramePublisher, keyring: Keyring, dial: Dial, call: Any
) -> None:
    worker = dial(key=keyring.admit("w1", "workers"), server_key=keyring.server_key)
    keyring.admit("hmi", "viewers")
    assert takes_a_frame(worker, locked)
    viewer = call("viewers", "hmi")
    assert sees_frames(viewer, locked)
    topic, kind, _, payload = next(parts for parts in iter(viewer.socket.recv_multipart, None) if parts[3])
    assert (topic, kind, payload) == (b"cam1/frame", b"1F", PICTURE.tobytes())


def test_a_few_lines_of_plain_pyzmq_watch_a_camera_with_keys(locked: FramePublisher, keyring: Keyring) -> None:
    """As the README has them."""
    keyring.admit("hmi", "viewers")
    with zmq.Context() as context, context.socket(zmq.SUB) as live:
        live.curve_publickey, live.curve_secretkey = zmq.auth.load_certificate(keyring.folder / "hmi.key")
        live.curve_serverkey = (keyring.folder / "cam1.pub").read_bytes().strip()
        live.connect(locked.settings.live)
        live.subscribe(b"cam1/frame")

        def seen() -> bool:
            locked.publish(PICTURE)
            return bool(live.poll(20))

        wait_until(seen, what="the viewer sees frames")
        assert live.recv_multipart()[3] == PICTURE.tobytes()


@pytest.mark.parametrize("door", list(DOORS))
@pytest.mark.parametrize("stranger", ["a key on no list", "no key", "a wrong idea of the camera's key"])
def test_a_stranger_gets_nothing_and_the_others_never_notice(
    locked: FramePublisher, keyring: Keyring, call: Any, door: str, stranger: str
) -> None:
    keyring.admit("w1", "workers", "viewers")
    name, to = {
        "a key on no list": ("eve", None),
        "no key": (None, None),
        "a wrong idea of the camera's key": ("w1", keyring.pair("cam2").public),
    }[stranger]
    with good_worker(locked, keyring) as worker:
        assert takes_a_frame(worker, locked)
        caller = call(door, name, to=to)
        if door == "workers":
            caller.socket.send_multipart(encode(Ping(mono_us=1, total=0)))
        assert caller.is_turned_away()
        assert takes_a_frame(worker, locked)
        assert sees_frames(call("viewers", "good"), locked)
        assert not caller.hears()
        assert locked.counts()["workers"] == 1
        assert (locked.load()["keys_refused"] > 0) == (stranger == "a key on no list")


@pytest.mark.parametrize(("listed", "other"), [("workers", "viewers"), ("viewers", "workers")])
def test_a_key_on_one_list_opens_no_other_door(
    locked: FramePublisher, keyring: Keyring, call: Any, listed: str, other: str
) -> None:
    keyring.admit("w1", listed)
    assert call(other, "w1").is_turned_away()
    assert is_answered(call(listed, "w1"), locked)


def test_a_key_that_is_listed_later_is_let_in_without_a_restart(
    locked: FramePublisher, keyring: Keyring, dial: Dial, call: Any
) -> None:
    assert call("workers", "w1").is_turned_away()
    assert call("viewers", "w1").is_turned_away()
    pair = keyring.admit("w1", "workers", "viewers")
    assert takes_a_frame(dial(key=pair, server_key=keyring.server_key), locked)
    assert sees_frames(call("viewers", "w1"), locked)


def test_a_key_that_is_taken_off_the_list_is_refused_at_its_next_handshake(
    locked: FramePublisher, keyring: Keyring, dial: Dial, call: Any
) -> None:
    worker = dial(key=keyring.admit("w1", "workers"), server_key=keyring.server_key)
    assert takes_a_frame(worker, locked)
    keyring.expel("w1", "workers")
    assert takes_a_frame(worker, locked), "a connection that stands is not cut"
    assert call("workers", "w1").is_turned_away()


def test_a_damaged_file_on_a_list_stops_nobody_else(locked: FramePublisher, keyring: Keyring, dial: Dial) -> None:
    pair = keyring.admit("w1", "workers")
    (keyring.folder / "workers" / "a.pub").write_bytes(b"\xff" * 40)
    (keyring.folder / "workers" / "b.pub").mkdir()
    assert takes_a_frame(dial(key=pair, server_key=keyring.server_key), locked)


def test_a_list_that_vanishes_lets_nobody_in_until_it_is_there_again(
    locked: FramePublisher, keyring: Keyring, dial: Dial, call: Any
) -> None:
    keyring.admit("w1", "workers")
    away = (keyring.folder / "workers").rename(keyring.folder / "away")
    assert call("workers", "w1").is_turned_away()
    away.rename(keyring.folder / "workers")
    assert takes_a_frame(dial(key=keyring.pair("w1"), server_key=keyring.server_key), locked)


@pytest.mark.parametrize("door", list(DOORS))
def test_without_a_doorkeeper_that_answers_nobody_comes_in(
    locked: FramePublisher, keyring: Keyring, call: Any, door: str
) -> None:
    """By default libzmq would admit every key then.

    A handshake in the very moment of the closing may find nobody to ask and hang: then another is tried.
    """
    keyring.admit("w1", door)
    assert locked._doorkeeper is not None
    locked._doorkeeper.close()
    wait_until(lambda: call(door, "w1").is_turned_away(1), what="w1 is turned away")


# -- settings --------------------------------------------------------------------------------------------------------


def test_with_keys_any_address_may_be_bound(publish: Publish, keyring: Keyring) -> None:
    publisher = publish(key=keyring.camera_key, work="tcp://0.0.0.0:*", live="tcp://*:*")
    assert publisher.counts()["open"] == 0


def test_lists_may_lie_elsewhere(publish: Publish, keyring: Keyring, tmp_path: Path, dial: Dial) -> None:
    pair = keyring.admit("w1", "workers")
    workers = (keyring.folder / "workers").rename(tmp_path / "crew")
    publisher = publish(key=keyring.camera_key, workers=workers)
    assert takes_a_frame(dial(key=pair, server_key=keyring.server_key), publisher)


@pytest.mark.parametrize(
    ("case", "words"),
    [
        ("no list of workers", "workers"),
        ("no list of viewers", "viewers"),
        ("lists without a key", "none of its own"),
        ("no key file", "can't be read"),
        ("the public half", "no key pair"),
        ("a damaged key file", "no key pair"),
        ("halves of two pairs", "no key pair"),
        ("a list with a damaged key", "no public key"),
    ],
)
def test_half_a_set_of_keys_is_a_settings_error_before_any_socket_opens(
    keyring: Keyring, case: str, words: str
) -> None:
    text, other = keyring.camera_key.read_text(), keyring.pair("other")
    fields: dict[str, Any] = {"key": keyring.camera_key}
    match case:
        case "no list of workers" | "no list of viewers":
            (keyring.folder / words).rmdir()
        case "lists without a key":
            fields = {"workers": keyring.folder / "workers", "viewers": keyring.folder / "viewers"}
        case "no key file":
            fields = {"key": keyring.folder / "none.key"}
        case "the public half":
            fields = {"key": keyring.folder / "cam1.pub"}
            fields["key"].chmod(0o600)
        case "a damaged key file":
            keyring.camera_key.write_text(text[:-8])
        case "halves of two pairs":
            keyring.camera_key.write_text(text.replace(keyring.server_key, other.public))
        case "a list with a damaged key":
            (keyring.folder / "workers" / "w1.pub").write_text("short\n")
    with socket.create_server(("127.0.0.1", 0)) as taken:  # a socket that is tried would be AddressTaken
        work = f"tcp://127.0.0.1:{taken.getsockname()[1]}"
        with pytest.raises(SettingsError, match=words) as refusal:
            FramePublisher(PublisherSettings(camera="cam1", work=work, live="tcp://127.0.0.1:*", **fields))
    assert not any(secret in str(refusal.value) for secret in keyring.secrets)


# -- hygiene ---------------------------------------------------------------------------------------------------------


def test_a_closed_publisher_with_keys_leaves_no_thread(publisher_settings: PublisherSettings, keyring: Keyring) -> None:
    before = set(threading.enumerate())
    publisher = FramePublisher(publisher_settings.model_copy(update={"key": keyring.camera_key}))
    publisher.close()
    with socket.create_server(("127.0.0.1", 0)) as taken:
        work = f"tcp://127.0.0.1:{taken.getsockname()[1]}"
        with pytest.raises(AddressTaken):
            FramePublisher(publisher_settings.model_copy(update={"key": keyring.camera_key, "work": work}))
    assert set(threading.enumerate()) == before


def test_no_secret_is_logged_and_a_refused_key_is_named_once(
    locked: FramePublisher, keyring: Keyring, call: Any, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    with logged("debug") as logs:
        for _ in range(3):
            assert call("workers", "eve").is_turned_away()
        with good_worker(locked, keyring) as worker:
            assert takes_a_frame(worker, locked)
        said = logs() + caplog.text
    refused = [line for line in said.splitlines() if "key refused" in line]
    assert len(refused) == 1
    assert keyring.pair("eve").public in said
    assert not any(secret in said for secret in keyring.secrets)


def test_no_repr_shows_a_secret(locked: FramePublisher, keyring: Keyring) -> None:
    keys = DoorKeys.read(keyring.camera_key, workers=None, viewers=None)
    assert keys is not None
    shown = f"{keys!r} {keys.pair} {locked.settings!r} {locked.settings.model_dump_json()}"
    assert keyring.server_key in shown
    assert not any(secret in shown for secret in keyring.secrets)
