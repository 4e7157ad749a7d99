"""A camera side that says just what a test wants: one raw ROUTER, which keeps nothing and never sends twice."""

import time
from collections.abc import Callable
from types import TracebackType

import zmq

from producers.protocol import FROM_WORKER, Bad, Credit, Done, Hello, Message, Ping, Pong, decode, encode
from tests.faults.harness import PATIENCE_S


class RawPublisher:
    """A ROUTER that one worker dials. A context manager; one thread.

    Attributes:
        port: on loopback.
        stored: ids that the worker says are stored.
        bad: which messages, counted from its HELLO on, had a header that the worker could not read.
        hellos: how often the worker has said HELLO.
    """

    def __init__(self) -> None:
        self.stored: set[str] = set()
        self.bad: list[int] = []
        self.hellos = 0
        self._peer = b""
        self._credit = self._sent = 0
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._socket = self._context.socket(zmq.ROUTER)
        self._socket.setsockopt(zmq.LINGER, 0)
        self.port = self._socket.bind_to_random_port("tcp://127.0.0.1")

    def __enter__(self) -> "RawPublisher":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._context.destroy(linger=0)

    def send_frame(self, *parts: bytes) -> None:
        """Sends a frame, or what is counted as one, once the worker has credit for one more."""
        self.serve_until(lambda: self._credit > self._sent, what="credit")
        self._sent += 1
        self.send(*parts)

    def send(self, *parts: bytes) -> None:
        """Sends whatever it is given to the worker that said HELLO last."""
        self.serve_until(lambda: self.hellos > 0, what="a worker")
        self._socket.send_multipart([self._peer, *parts])

    def serve_until(self, condition: Callable[[], bool], *, what: str) -> None:
        """Hears and answers the worker until a condition is true; fails, saying what never came true."""
        ends = time.monotonic() + PATIENCE_S
        while not condition():
            assert time.monotonic() < ends, f"not within {PATIENCE_S} s: {what}"
            if self._socket.poll(50):
                peer, *parts = self._socket.recv_multipart()
                self._hear(peer, decode(parts, FROM_WORKER))

    def _hear(self, peer: bytes, message: Message) -> None:
        match message:
            case Hello():
                self._peer, self._credit, self._sent = peer, 0, 0
                self.hellos += 1
            case Credit():
                self._credit = message.total
            case Ping():
                pong = Pong(ping_mono_us=message.mono_us, mono_us=int(time.monotonic() * 1e6))
                self._socket.send_multipart([peer, *encode(pong)])
            case Done():
                self.stored.update(message.stored)
                self._credit = max(self._credit, message.total)
            case Bad():
                self.bad.append(message.n)
