"""A worker that does just what a test says: one raw DEALER, no credit and no answer of its own accord."""

import itertools
import json
import time
from collections.abc import Callable
from types import TracebackType

import zmq

from producers.frame import FrameHeader
from producers.keys import KeyPair
from producers.protocol import (
    FRAME,
    FROM_PUBLISHER,
    Bad,
    Busy,
    Bye,
    Credit,
    Done,
    Gone,
    Hello,
    Message,
    Ping,
    Pong,
    Who,
    decode,
    encode,
)

PATIENCE_S = 10.0

Arrival = tuple[FrameHeader, bytes] | Message
"""What a publisher sends: a frame's header and payload, or a control message."""


def wait_until(condition: Callable[[], bool], *, what: str, patience_s: float = PATIENCE_S) -> None:
    """Waits for a condition; fails, saying what never came true."""
    ends = time.monotonic() + patience_s
    while not condition():
        assert time.monotonic() < ends, f"not within {patience_s} s: {what}"
        time.sleep(0.005)


class ScriptedWorker:
    """A DEALER on a publisher's work socket. A context manager; one thread.

    Args:
        endpoint: of the publisher.
        name: unique on the line.
        incarnation: of this start.
        camera: the one it asks for.
        recipes: offered.
        max_frame_bytes: largest payload it says it takes.
        key: its own, if the publisher asks for one.
        server_key: the publisher's public key, likewise.
    """

    def __init__(
        self,
        endpoint: str,
        *,
        name: str = "w1",
        incarnation: str = "first",
        camera: str = "cam1",
        recipes: tuple[str, ...] = ("part",),
        max_frame_bytes: int = 1 << 26,
        key: KeyPair | None = None,
        server_key: str = "",
    ) -> None:
        self.name, self.incarnation, self.camera, self.recipes = name, incarnation, camera, recipes
        self.max_frame_bytes = max_frame_bytes
        self.total = 0
        self._clock = itertools.count(1)
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._socket = self._context.socket(zmq.DEALER)
        self._socket.setsockopt(zmq.LINGER, 0)
        if key is not None:
            key.introduce(self._socket, server_key=server_key)
        self._socket.connect(endpoint)

    def __enter__(self) -> "ScriptedWorker":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.leave()

    def leave(self) -> None:
        """Vanishes without a word."""
        self._context.destroy(linger=0)

    # -- out ---------------------------------------------------------------------------------------------------------

    def send(self, *parts: bytes) -> None:
        """Sends whatever it is given."""
        self._socket.send_multipart(parts)

    def say(self, message: Message) -> None:
        """Sends a control message."""
        self.send(*encode(message))

    def hello(self, *, credit: int = 0, held: tuple[str, ...] = (), longest_batch_ms: float = 0.0) -> None:
        """Says HELLO, and grants credit if there is any."""
        self.say(
            Hello(
                name=self.name,
                incarnation=self.incarnation,
                camera=self.camera,
                recipes=self.recipes,
                max_frame_bytes=self.max_frame_bytes,
                longest_batch_ms=longest_batch_ms,
                held=held,
            )
        )
        self.total = credit
        if credit:
            self.say(Credit(total=credit))

    def grant(self, total: int) -> None:
        """Raises the cumulative credit."""
        self.total = total
        self.say(Credit(total=total))

    def stored(self, *ids: object) -> None:
        """Says that these frames' verdicts are in Redis."""
        self.say(Done(stored=tuple(map(str, ids))))

    def judged(self, *ids: object) -> None:
        """Says that these frames' verdicts wait for Redis."""
        self.say(Done(judged=tuple(map(str, ids))))

    def busy(self, frame_id: object) -> None:
        """Hands a frame back."""
        self.say(Busy(id=str(frame_id), why="no memory"))

    def bad(self, n: int) -> None:
        """Says that the n-th frame's header can't be read."""
        self.say(Bad(n=n))

    def bye(self) -> None:
        """Says that it is draining."""
        self.say(Bye())

    # -- in ----------------------------------------------------------------------------------------------------------

    def has_something(self, *, wait_s: float) -> bool:
        """Whether anything arrives within a moment."""
        return bool(self._socket.poll(int(wait_s * 1000)))

    def receive(self, *, patience_s: float = PATIENCE_S, pinging: bool = True) -> Arrival:
        """The next thing that arrives, PONGs aside. While it waits it pings, so that it stays alive."""
        ends = time.monotonic() + patience_s
        while time.monotonic() < ends:
            if self._socket.poll(50):
                arrival = self._read()
                if not isinstance(arrival, Pong):
                    return arrival
            elif pinging:
                self._ping()
        raise AssertionError(f"nothing arrived within {patience_s} s")

    def frame(self, *, patience_s: float = PATIENCE_S) -> tuple[FrameHeader, bytes]:
        """The next thing that arrives, which must be a frame."""
        arrival = self.receive(patience_s=patience_s)
        assert isinstance(arrival, tuple), f"expected a frame, not {arrival}"
        return arrival

    def gone(self, *, patience_s: float = PATIENCE_S) -> Gone:
        """The next thing that arrives, which must be a GONE."""
        arrival = self.receive(patience_s=patience_s)
        assert isinstance(arrival, Gone), f"expected GONE, not {arrival}"
        return arrival

    def settle(self) -> list[Arrival]:
        """All that arrives until the publisher has dealt with what was said so far, PONGs aside.

        A PONG says that all before its PING was heard; what comes of that is sent a moment later, in the same turn.
        """
        arrivals = self.exchange()
        time.sleep(0.02)  # or a second PING might be heard within that very turn
        return arrivals + self.exchange()

    def exchange(self) -> list[Arrival]:
        """All that arrives before the PONG to a PING that is sent now, PONGs aside; a WHO ends it, too."""
        mark, ends = self._ping(), time.monotonic() + PATIENCE_S
        arrivals: list[Arrival] = []
        while time.monotonic() < ends:
            if not self._socket.poll(50):
                continue
            arrival = self._read()
            if isinstance(arrival, Pong):
                if arrival.ping_mono_us == mark:
                    return arrivals
                continue
            arrivals.append(arrival)
            if isinstance(arrival, Who):
                return arrivals
        raise AssertionError(f"the publisher answered no PING within {PATIENCE_S} s")

    def pong(self, *, mono_us: int) -> Pong:
        """The answer to a PING with this time."""
        self.say(Ping(mono_us=mono_us, total=self.total))
        assert self._socket.poll(int(PATIENCE_S * 1000))
        arrival = self._read()
        assert isinstance(arrival, Pong), f"expected PONG, not {arrival}"
        return arrival

    def _ping(self) -> int:
        mark = next(self._clock)
        self.say(Ping(mono_us=mark, total=self.total))
        return mark

    def _read(self) -> Arrival:
        parts = self._socket.recv_multipart()
        if parts[0] == FRAME:
            json.loads(parts[1])  # any language can read along
            return FrameHeader.from_bytes(parts[1]), parts[2]
        return decode(parts, FROM_PUBLISHER)
