"""The thread beside the camera: it owns the publisher's sockets and moves frames between them and `Retention`."""

import math
import time
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import Literal

import structlog
import zmq

from producers.bell import Bell
from producers.doors import ZERO_COPY_BYTES
from producers.errors import ProtocolError
from producers.frame import Frame, FrameTag
from producers.kept import Peer
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
from producers.retention import Limits, Retention
from producers.states import PEERS, Answer, Heard

log = structlog.get_logger("publisher")

TICK_S = 0.05  # between two looks at the clock, at least: each goes through all that is kept
QUIET_S = 0.25  # at most: whoever watches this thread is to see that it turns
MESSAGES_A_TURN = 256
GONE_A_MESSAGE = 256
MAX_GONE_BYTES = 60_000  # a worker takes 64 KiB beside its largest frame; beyond that its socket would go deaf
MAX_WORKERS = 256

_HEARD = {Credit: Heard.CREDIT, Ping: Heard.PING, Done: Heard.DONE, Busy: Heard.BUSY, Bad: Heard.BAD, Bye: Heard.BYE}


Taken = Frame | tuple[FrameTag, GoneReason]
"""A captured frame, or the tag of one that can't be published and why."""


class Dispatcher:
    """One turn: hear the workers, let time pass, take new frames, send what is due.

    Takes messages from the work socket and frames from `take`; hands frames to workers and viewers. All methods belong
    to the thread that runs it; `stop` and `give_up_waiting` are flags that any thread may raise, and `bell` then wakes
    this one. `record` is told of every frame first; it must not wait. Where it fails the line goes on, and `unrecorded`
    counts.
    """

    def __init__(
        self,
        camera: str,
        limits: Limits,
        policy: Literal["block", "drop_oldest"],
        *,
        work: "zmq.Socket[bytes]",
        live: "zmq.Socket[bytes]",
        bell: Bell,
        record: Callable[[Taken], None] = lambda item: None,
    ) -> None:
        self.camera = camera
        self.policy = policy
        self.retention = Retention(limits)
        self.stop = False
        self.give_up_waiting = False
        self.unrecorded = 0
        self._record = record
        self.refusals: dict[Heard, int] = dict.fromkeys(Heard, 0)
        self._work, self._bell = work, bell
        self._live = LiveView(live, camera)
        self._poller = zmq.Poller()
        for source in (work, self._live.events, bell.fd):
            self._poller.register(source, zmq.POLLIN)
        self._last_tick = -QUIET_S

    def __enter__(self) -> "Dispatcher":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._live.close()
        self._work.close(linger=0)
        self._bell.close()

    @property
    def messages_refused(self) -> int:
        """Of all kinds. Any thread."""
        return sum(self.refusals.values())

    def turn(self) -> None:
        """Waits for something to happen or for time to change something, for `QUIET_S` at most, and deals with it."""
        wait_s = self._next_tick() - time.monotonic()
        for source, _ in self._poller.poll(max(0, math.ceil(wait_s * 1000))):
            if source == self._bell.fd:
                self._bell.hear()
            elif source is self._live.events:
                self._live.hear()
            else:
                self._hear()
        now = time.monotonic()
        if now >= self._next_tick():
            self._last_tick = now
            for name in self.retention.tick(now):
                log.warning("worker is silent, its frames go to others", camera=self.camera, worker=name)
        if self.give_up_waiting:
            self.retention.give_up_waiting()

    def _next_tick(self) -> float:
        return max(self._last_tick + TICK_S, min(self._last_tick + QUIET_S, self.retention.next_change))

    def take(self, item: Taken) -> None:
        """Takes one captured frame into retention and shows it to viewers."""
        self._note(item)
        if not isinstance(item, Frame):
            self.retention.keep_gone(*item)
            return
        if self.policy == "drop_oldest":
            while self.retention.room.full(incoming_bytes=len(item.payload)) and self.retention.drop_oldest():
                log.debug("retention is full, the oldest frame is given up", camera=self.camera)
        self.retention.keep(item)
        self._live.show(item)

    def _note(self, item: Taken) -> None:
        try:
            self._record(item)
        except Exception as error:  # whatever it is: a recording never stops the line
            self.unrecorded += 1
            if self.unrecorded == 1:
                log.error("recording fails, the line goes on", camera=self.camera, error=repr(error))

    def send_due(self) -> None:
        """Sends workers what is theirs."""
        now = time.monotonic()
        for peer, entry in self.retention.due(now):
            if entry.frame is not None:
                header = entry.frame.stamped(now=time.monotonic(), attempt=entry.attempt).to_bytes()
                self._send(peer, [FRAME, header, entry.frame.payload])
        self._send_gone(now)

    def _send_gone(self, now: float) -> None:
        """Sends given-up frames many at a time: a crash or a full retention may leave tens of thousands."""
        together: dict[tuple[Peer, GoneReason], list[FrameTag]] = {}
        for peer, entry in self.retention.gone_due(now):
            tag = entry.tag.model_copy(update={"attempt": entry.attempt})
            together.setdefault((peer, entry.reason), []).append(tag)
        for (peer, reason), tags in together.items():
            for start in range(0, len(tags), GONE_A_MESSAGE):
                for parts in _gone(reason, tags[start : start + GONE_A_MESSAGE]):
                    if peer in self.retention.workers:  # else they are due again, to another
                        self._send(peer, parts)

    def _send(self, peer: Peer, parts: list[bytes]) -> None:
        try:
            self._work.send_multipart([peer, *parts], zmq.NOBLOCK, copy=len(parts[-1]) < ZERO_COPY_BYTES)
        except zmq.ZMQError as error:  # no such peer, or its queue is full: it is as good as dead
            if peer in self.retention.workers:
                name = self.retention.workers[peer].hello.name
                log.warning("worker can't be reached", camera=self.camera, worker=name, error=str(error))
                self.retention.lose(peer)
                self._last_tick = -QUIET_S  # what it had is due to others: the next turn does not wait

    def _hear(self) -> None:
        for _ in range(MESSAGES_A_TURN):  # a peer that floods the socket must not stop the line
            try:
                peer, *parts = self._work.recv_multipart(zmq.NOBLOCK)
            except zmq.Again:
                return
            self._obey(peer, parts)

    def _obey(self, peer: Peer, parts: list[bytes]) -> None:
        """Does what the table `PEERS` says about a message from this peer."""
        heard, message, why = self._understand(parts)
        now = time.monotonic()
        match PEERS[self.retention.standing(peer), heard], message:
            case Answer.GREET, Hello():
                log.info("worker is here", camera=self.camera, worker=message.name, recipes=message.recipes)
                self.retention.hello(peer, message, now)
            case Answer.REFUSE, _:
                self._count(heard, why)
                self._send(peer, encode(Refused(why=why[:256])))
            case Answer.ASK, _:
                self._send(peer, encode(Who()))
            case Answer.CREDIT, Credit():
                self.retention.grant(peer, message, now)
            case Answer.PONG, Ping():
                self.retention.grant(peer, message, now)
                self._send(peer, encode(Pong(ping_mono_us=message.mono_us, mono_us=int(now * 1e6))))
            case Answer.DONE, Done():
                self.retention.done(peer, stored=message.stored, judged=message.judged)
                if message.total:
                    self.retention.grant(peer, message, now)
            case Answer.BUSY, Busy():
                self.retention.busy(peer, message.id)
            case Answer.BAD, Bad():
                self.retention.bad(peer, message.n)
            case Answer.LET_GO, Bye():
                self.retention.bye(peer)
            case Answer.COUNT, _:
                self._count(heard, why)

    def _understand(self, parts: list[bytes]) -> tuple[Heard, Message | None, str]:
        """What this message is, and why it is refused if it is."""
        try:
            message = decode(parts, FROM_WORKER)
        except ProtocolError as error:
            if parts and parts[0][:1] != FRAME[:1]:
                return Heard.OTHER_VERSION, None, "this publisher speaks protocol version 1"
            return Heard.GARBAGE, None, str(error)
        if not isinstance(message, Hello):
            return _HEARD[type(message)], message, ""
        if message.camera != self.camera:
            return Heard.HELLO_ELSEWHERE, message, f"this is camera {self.camera}, not {message.camera}"
        if self.retention.is_superseded(message):
            why = f"a later start of a worker named {message.name} has taken its place"
            return Heard.HELLO_SUPERSEDED, message, why
        if len(self.retention.workers) >= MAX_WORKERS:
            return Heard.HELLO_TOO_MANY, message, f"{MAX_WORKERS} workers are here"
        return Heard.HELLO, message, ""

    def _count(self, heard: Heard, why: str) -> None:
        """A peer that floods the socket costs a counter, not a disk full of logs."""
        self.refusals[heard] += 1
        say = log.warning if self.refusals[heard] == 1 else log.debug
        say("message refused, more of its kind are only counted", camera=self.camera, error=why)


def _gone(reason: GoneReason, tags: list[FrameTag]) -> Iterator[list[bytes]]:
    """Messages for these frames: one, or more of them if their tags are long."""
    parts = encode(Gone(reason=reason, frames=tuple(tags)))
    if len(parts[2]) <= MAX_GONE_BYTES or len(tags) == 1:
        yield parts
        return
    middle = len(tags) // 2
    yield from _gone(reason, tags[:middle])
    yield from _gone(reason, tags[middle:])
