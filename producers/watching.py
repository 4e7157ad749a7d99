"""A viewer of live sockets: it dials, takes what comes, and counts what it missed. DESIGN: "From camera to worker"."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Literal

import structlog
import zmq

from producers.errors import BadFrame, SettingsError
from producers.frame import MAX_HEADER_BYTES, MAX_PIXEL_BYTES, FrameHeader
from producers.keys import KeyPair, read_public

log = structlog.get_logger("viewer")

QUEUED = 64  # messages that wait here for each camera; what comes on top is missed, and counted
KNOCK_S = 5.0  # whoever was refused for its key is deaf for ever: it dials again after so long without a message
Topic = Literal["frame", "header"]


@dataclass(frozen=True)
class LiveEnd:
    """Where a camera's live socket is.

    Attributes:
        endpoint: `tcp://HOST:PORT` or `ipc://PATH`.
        server_key: the camera's public key; None: it has none.
    """

    endpoint: str
    server_key: str | None = None


def live_ends(endpoints: Sequence[str], server_keys: Sequence[Path]) -> list[LiveEnd]:
    """Live endpoints and the files of their cameras' public keys, as a person gave them.

    Raises:
        SettingsError: there are keys, but not one for each; or one can't be read.
    """
    keys: list[str | None] = [read_public(file) for file in server_keys]
    if keys and len(keys) != len(endpoints):
        raise SettingsError("--server-key is given once for each endpoint, in their order, or not at all")
    return [LiveEnd(*end) for end in zip(endpoints, keys or [None] * len(endpoints), strict=True)]


@dataclass(frozen=True)
class Seen:
    """One message of a live socket.

    Attributes:
        header: parsed.
        text: the same, as it travelled.
        payload: empty if only headers are watched.
    """

    header: FrameHeader
    text: bytes
    payload: bytes


class Watcher:
    """Watches cameras. A context manager; all of it in one thread.

    Attributes:
        missed: frames that were published, and did not come; by camera.
        unreadable: messages that were none.

    Args:
        ends: where the cameras are.
        topic: whole frames, or headers alone.
        key: of this viewer; None: it has none.
        clock: monotonic, seconds.

    Raises:
        SettingsError: an endpoint that is none, or a camera's key without one of ours.
    """

    def __init__(
        self,
        ends: Sequence[LiveEnd],
        *,
        topic: Topic,
        key: KeyPair | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.missed: dict[str, int] = {}
        self.unreadable = 0
        self._topic, self._key, self._clock = topic, key, clock
        self._next: dict[tuple[str, str], int] = {}
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._poller = zmq.Poller()
        self._taps: dict[zmq.Socket[bytes], tuple[LiveEnd, float]] = {}  # and when each was last heard
        self._narrowed: set[zmq.Socket[bytes]] = set()
        try:
            for end in ends:
                self._dial(end)
        except SettingsError:
            self._context.destroy(linger=0)
            raise

    def __enter__(self) -> "Watcher":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._context.destroy(linger=0)

    def receive(self, wait_ms: int) -> list[Seen]:
        """What has come, one message of each camera at most; waits for the first so long."""
        self._knock_again()
        found: list[Seen] = []
        for socket, _ in self._poller.poll(wait_ms):
            parts = socket.recv_multipart()
            self._taps[socket] = (self._taps[socket][0], self._clock())
            seen = self._read(parts)
            if seen is not None:
                self._narrow(socket, parts[0])
                self._count(seen.header)
                found.append(seen)
        return found

    def _read(self, parts: list[bytes]) -> Seen | None:
        """A message of the topic that is watched; None for any other."""
        if len(parts) != 4 or len(parts[2]) > MAX_HEADER_BYTES:
            self.unreadable += 1
            return None
        if not parts[0].endswith(f"/{self._topic}".encode()):
            return None
        try:
            return Seen(FrameHeader.from_bytes(parts[2]), parts[2], parts[3])
        except BadFrame as error:
            self.unreadable += 1
            say = log.warning if self.unreadable == 1 else log.debug
            say("a message can't be read, more are only counted", error=str(error))
            return None

    def _narrow(self, socket: "zmq.Socket[bytes]", topic: bytes) -> None:
        """At first a viewer does not know the camera's name and takes all; then only what it asks for is sent."""
        if socket not in self._narrowed:
            socket.subscribe(topic)
            socket.unsubscribe(b"")
            self._narrowed.add(socket)

    def _count(self, header: FrameHeader) -> None:
        session = (header.camera, header.session)
        gap = header.seq - self._next.get(session, header.seq)
        self.missed[header.camera] = self.missed.get(header.camera, 0) + max(0, gap)
        self._next[session] = max(header.seq + 1, self._next.get(session, 0))

    def _dial(self, end: LiveEnd) -> None:
        if end.server_key is not None and self._key is None:
            raise SettingsError(
                f"{end.endpoint} has a key, and this viewer has none: give a --key (sightline keys new)"
            )
        socket = self._context.socket(zmq.SUB)
        socket.setsockopt(zmq.LINGER, 0)
        socket.setsockopt(zmq.RCVHWM, QUEUED)
        socket.setsockopt(zmq.MAXMSGSIZE, MAX_PIXEL_BYTES + 65_536)
        socket.setsockopt(zmq.HEARTBEAT_IVL, 1000)
        socket.setsockopt(zmq.HEARTBEAT_TIMEOUT, 5000)
        socket.setsockopt(zmq.RECONNECT_IVL, 100)
        socket.setsockopt(zmq.RECONNECT_IVL_MAX, 2000)
        socket.setsockopt(zmq.IPV6, 1 if "[" in end.endpoint else 0)
        if end.server_key is not None and self._key is not None:
            self._key.introduce(socket, server_key=end.server_key)
        socket.subscribe(b"")
        try:
            socket.connect(end.endpoint)
        except zmq.ZMQError as error:
            raise SettingsError(f"{end.endpoint} can't be dialled: expected tcp://HOST:PORT or ipc://PATH") from error
        self._poller.register(socket, zmq.POLLIN)
        self._taps[socket] = (end, self._clock())

    def _knock_again(self) -> None:
        for socket, (end, heard) in list(self._taps.items()):
            if end.server_key is not None and self._clock() - heard > KNOCK_S:
                self._poller.unregister(socket)
                self._narrowed.discard(socket)
                del self._taps[socket]
                socket.close(linger=0)
                self._dial(end)
