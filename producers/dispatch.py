"""The thread beside the camera: it owns the publisher's sockets and moves frames between them and `Retention`."""

import time
from types import TracebackType
from typing import Literal

import structlog
import zmq

from producers.errors import ProtocolError
from producers.frame import Frame, FrameTag
from producers.live import LiveView
from producers.protocol import (
    FRAME,
    FROM_WORKER,
    Bad,
    Busy,
    Bye,
    Credit,
    Done,
    Gone,
    GoneReason,
    Hello,
    Message,
    Ping,
    Pong,
    Refused,
    Who,
    decode,
    encode,
)
from producers.retention import Limits, Peer, Retention

log = structlog.get_logger("publisher")

TICK_MS = 50
MESSAGES_A_TURN = 256


class Dispatcher:
    """One turn: hear the workers, let time pass, take new frames, send what is due.

    Takes messages from the work socket and frames from `take`; hands frames to workers and viewers. All methods belong
    to the thread that runs it; `stop` and `give_up_waiting` are flags that any thread may raise.
    """

    def __init__(
        self,
        camera: str,
        limits: Limits,
        policy: Literal["block", "drop_oldest"],
        *,
        work: "zmq.Socket[bytes]",
        live: "zmq.Socket[bytes]",
        wake: "zmq.Socket[bytes]",
    ) -> None:
        self.camera = camera
        self.policy = policy
        self.retention = Retention(limits)
        self.stop = False
        self.give_up_waiting = False
        self.messages_refused = 0
        self._work, self._wake = work, wake
        self._live = LiveView(live, camera)
        self._poller = zmq.Poller()
        for socket in (work, wake, self._live.events):
            self._poller.register(socket, zmq.POLLIN)
        self._next_tick = 0.0

    def __enter__(self) -> "Dispatcher":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._live.close()
        for socket in (self._work, self._wake):
            socket.close(linger=0)

    def turn(self) -> None:
        """Waits for something to happen, at most one tick, and deals with it."""
        for socket, _ in self._poller.poll(TICK_MS):
            if socket is self._wake:
                _empty(self._wake)
            elif socket is self._live.events:
                self._live.hear()
            else:
                self._hear()
        now = time.monotonic()
        if now >= self._next_tick:
            self._next_tick = now + TICK_MS / 1000
            for name in self.retention.tick(now):
                log.warning("worker is silent, its frames go to others", camera=self.camera, worker=name)
            if self.give_up_waiting:
                self.retention.give_up_waiting()

    def take(self, item: Frame | tuple[FrameTag, GoneReason]) -> None:
        """Takes one captured frame into retention and shows it to viewers."""
        if not isinstance(item, Frame):
            self.retention.keep_gone(*item)
            return
        if self.policy == "drop_oldest":
            while self.retention.full(incoming_bytes=len(item.payload)) and self.retention.drop_oldest():
                log.debug("retention is full, the oldest frame is given up", camera=self.camera)
        self.retention.keep(item)
        self._live.show(item)

    def send_due(self) -> None:
        """Sends workers what is theirs."""
        now = time.monotonic()
        for peer, entry in self.retention.due(now):
            if entry.frame is not None:
                header = entry.frame.stamped(now=time.monotonic(), attempt=entry.attempt).to_bytes()
                self._send(peer, [FRAME, header, entry.frame.payload])
        for peer, entry in self.retention.gone_due(now):
            tag = entry.tag.model_copy(update={"attempt": entry.attempt})
            self._send(peer, encode(Gone(reason=entry.reason, frames=(tag,))))

    def _send(self, peer: Peer, parts: list[bytes]) -> None:
        try:
            self._work.send_multipart([peer, *parts], zmq.NOBLOCK, copy=len(parts[-1]) < 65_536)
        except zmq.ZMQError as error:  # no such peer, or its queue is full: it is as good as dead
            if peer in self.retention.workers:
                name = self.retention.workers[peer].hello.name
                log.warning("worker can't be reached", camera=self.camera, worker=name, error=str(error))
                self.retention.lose(peer)

    def _hear(self) -> None:
        for _ in range(MESSAGES_A_TURN):  # a peer that floods the socket must not stop the line
            try:
                peer, *parts = self._work.recv_multipart(zmq.NOBLOCK)
            except zmq.Again:
                return
            try:
                self._obey(peer, decode(parts, FROM_WORKER))
            except ProtocolError as error:
                self.messages_refused += 1
                log.warning("message refused", camera=self.camera, error=str(error))
                if parts and parts[0][:1] != FRAME[:1]:
                    self._send(peer, encode(Refused(why="this publisher speaks protocol version 1")))

    def _obey(self, peer: Peer, message: Message) -> None:
        now = time.monotonic()
        if isinstance(message, Hello):
            self._greet(peer, message, now)
            return
        if peer not in self.retention.workers:
            self._send(peer, encode(Who()))
            return
        match message:
            case Ping():
                self.retention.ping(peer, total=message.total, now=now)
                self._send(peer, encode(Pong(ping_mono_us=message.mono_us, mono_us=int(now * 1e6))))
            case Credit():
                self.retention.ping(peer, total=message.total, now=now)
            case Done():
                self.retention.done(peer, stored=message.stored, judged=message.judged)
            case Busy():
                self.retention.busy(peer, message.id)
            case Bad():
                self.retention.bad(peer, message.n)
            case Bye():
                self.retention.bye(peer)

    def _greet(self, peer: Peer, hello: Hello, now: float) -> None:
        if hello.camera != self.camera:
            why = f"this is camera {self.camera}, not {hello.camera}"
            self._send(peer, encode(Refused(why=why)))
            return
        if self.retention.is_superseded(hello):
            self._send(peer, encode(Refused(why=f"a later start of a worker named {hello.name} has taken its place")))
            return
        log.info("worker is here", camera=self.camera, worker=hello.name, recipes=hello.recipes)
        self.retention.hello(peer, hello, now)


def _empty(wake: "zmq.Socket[bytes]") -> None:
    while True:
        try:
            wake.recv(zmq.NOBLOCK)
        except zmq.Again:
            return
