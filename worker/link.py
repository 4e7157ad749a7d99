"""One publisher as a worker sees it: its socket, its credit, its clock, and the frames held from it."""

import math
import time
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import takewhile
from typing import Any

import structlog
import zmq

from producers.errors import ProtocolError
from producers.frame import FrameHeader, FrameId, FrameTag, Payload
from producers.keys import KeyPair
from producers.protocol import (
    CREDIT_BYTES,
    FRAME,
    FROM_PUBLISHER,
    MAX_LISTED,
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
    Refused,
    Who,
    decode,
    encode,
)
from producers.states import LINKS, Arrival, Step, Tie
from worker.admission import Admission
from worker.batcher import ReceivedFrame
from worker.settings import CameraSettings

log = structlog.get_logger("intake")

DEAF_AFTER_PONGS = 3
TELL_JUDGED_S = 0.05  # by then a verdict is in Redis, or Redis is slow
SHUT_OUT_S = 3.0  # a handshake takes milliseconds; a busy publisher may need longer
MESSAGES_A_TURN = 256  # a publisher that floods its socket must not starve the others


@dataclass(frozen=True)
class GoneFrame:
    """A frame without pixels whose verdict is to be written."""

    tag: FrameTag
    reason: str


@dataclass(frozen=True)
class LinkSettings:
    """What every link tells its publisher.

    Attributes:
        worker: name.
        incarnation: drawn anew at each start.
        recipes: offered.
        max_frame_bytes: largest payload taken.
        longest_batch_ms: measured at warm-up.
        ping_s: between heartbeats.
        key: the worker's own, for cameras with a `server_key`.
        credit_bytes: of frames not judged yet, at most, over all cameras; one frame a camera always fits.
        hold_frames: held of a camera at most before frames without pixels are refused, too.
    """

    worker: str
    incarnation: str
    recipes: tuple[str, ...]
    max_frame_bytes: int
    longest_batch_ms: float
    ping_s: float
    key: KeyPair | None = None
    credit_bytes: int = CREDIT_BYTES
    hold_frames: int = 20_000


class Link:
    """A DEALER to one publisher. Every method belongs to the intake's thread."""

    def __init__(
        self, context: "zmq.Context[Any]", name: str, camera: CameraSettings, settings: LinkSettings, *, share: int
    ) -> None:
        self.name, self.camera, self.settings, self.share = name, camera, settings, share
        self.held: set[FrameId] = set()  # received and not stored
        self.unjudged: set[FrameId] = set()  # those of them that credit bounds; verdicts that wait have their own bound
        self._untold: dict[FrameId, float] = {}  # judged when; the oldest first
        self.admission = Admission(name, hold_frames=settings.hold_frames)
        self.handed_back = 0
        self._stored: list[FrameId] = []  # and not told yet
        self._paused, self._grants, self._least_ms = False, False, 0.0  # as it was when last kept up with
        self._context = context
        self._offset_us: int | None = None
        self._best_rtt_us = math.inf
        self._next_ping = 0.0
        self._told_shut_out = False
        self.socket = self._dial()

    def _dial(self) -> "zmq.Socket[Any]":
        socket: zmq.Socket[Any] = self._context.socket(zmq.DEALER)
        socket.setsockopt(zmq.LINGER, 200)
        socket.setsockopt(zmq.IMMEDIATE, 1)  # nothing is queued for a peer that isn't there
        socket.setsockopt(zmq.SNDHWM, 10_000)
        socket.setsockopt(zmq.RCVHWM, 1000)  # credit bounds what comes in; this, what a hostile publisher sends
        socket.setsockopt(zmq.MAXMSGSIZE, self.settings.max_frame_bytes + 65_536)
        socket.setsockopt(zmq.HEARTBEAT_IVL, 1000)
        socket.setsockopt(zmq.HEARTBEAT_TIMEOUT, 5000)
        socket.setsockopt(zmq.RECONNECT_IVL, 100)
        socket.setsockopt(zmq.RECONNECT_IVL_MAX, 2000)
        if self.settings.key is not None and self.camera.server_key is not None:
            self.settings.key.introduce(socket, server_key=self.camera.server_key)
        socket.connect(self.camera.endpoint)
        self.tie = Tie.DIALLING
        self._received = self._granted = self._on_their_way = 0
        self._pings_unanswered = 0
        self._next_ping = 0.0
        self._shut_out_since: float | None = None
        return socket

    @property
    def answers(self) -> bool:
        """Whether the publisher knows this worker and answers its pings. Any thread."""
        heard = self._shut_out_since is None and self._pings_unanswered < DEAF_AFTER_PONGS
        return heard and self.tie in (Tie.GREETED, Tie.LEAVING)

    # -- in ----------------------------------------------------------------------------------------------------------

    def receive(self, now: float) -> Iterator[ReceivedFrame | GoneFrame]:
        """What has arrived: frames to judge, and frames given up whose verdicts are to be written."""
        for _ in range(MESSAGES_A_TURN):
            try:
                parts = _receive(self.socket)
            except zmq.Again:
                return
            yield from self._frame(parts, now) if parts[0] == FRAME else self._message(parts, now)

    def _frame(self, parts: list[Any], now: float) -> Iterator[ReceivedFrame]:
        self._received += 1
        asked_for = self._received <= self._granted + self._on_their_way
        arrival, header = self.admission.frame(parts, held=self.held, asked_for=asked_for, now=now)
        match LINKS[self.tie, arrival]:
            case Step.TAKE if header is not None:
                yield self._take(header, parts[2], now)
            case Step.BAD:
                self.send(Bad(n=self._received))
            case Step.HAND_BACK if header is not None:
                self.send(Busy(id=str(header.id), why="no credit was granted for it"))

    def _take(self, header: FrameHeader, payload: Payload, now: float) -> ReceivedFrame:
        self.held.add(header.id)
        self.unjudged.add(header.id)
        wire_us = header.age_us + self._transit_us(header.sent_mono_us)
        budget = math.inf if header.budget_ms is None else header.budget_ms / 1000
        recipe = header.recipe or self.camera.recipe
        return ReceivedFrame(header, payload, recipe, now, wire_us, now - wire_us / 1e6 + budget)

    def _message(self, parts: list[Any], now: float) -> Iterator[GoneFrame]:
        try:
            message = decode(parts, FROM_PUBLISHER)
        except ProtocolError as error:
            self.admission.refuse("garbage", str(error))
            return
        if isinstance(message, Gone):
            yield from self._gone(message, now)
        else:
            self._hear(message, now)

    def _gone(self, message: Gone, now: float) -> Iterator[GoneFrame]:
        for tag in message.frames:
            if tag.id not in self.held:
                arrival = self.admission.gone(tag, held=len(self.held), paused=self._paused, now=now)
                if LINKS[self.tie, arrival] is Step.TAKE:
                    self.held.add(tag.id)
                    yield GoneFrame(tag, message.reason)

    def _transit_us(self, sent_mono_us: int) -> int:
        """Time on the wire and in socket queues, by the publisher's clock; 0 until that clock is known."""
        if self._offset_us is None:
            return 0
        return max(0, int(time.monotonic() * 1e6) + self._offset_us - sent_mono_us)

    def _hear(self, message: Message, now: float) -> None:
        match message:
            case Pong():
                if LINKS[self.tie, Arrival.PONG] is Step.SET_CLOCK:
                    self._set_clock(message, now)
            case Who():
                if LINKS[self.tie, Arrival.WHO] is Step.GREET:
                    self.tie = Tie.DIALLING
            case Refused():
                if LINKS[self.tie, Arrival.REFUSED] is Step.STOP:
                    self.tie = Tie.REFUSED
                    log.error("publisher refuses this worker", camera=self.name, why=message.why)

    def _set_clock(self, pong: Pong, now: float) -> None:
        if self.tie is Tie.GREETING:
            self.tie = Tie.GREETED
        self._pings_unanswered = 0
        self._told_shut_out = False
        rtt_us = now * 1e6 - pong.ping_mono_us
        if 0 <= rtt_us <= self._best_rtt_us * 1.5:  # a slow answer says little about the other clock
            self._best_rtt_us = min(rtt_us, self._best_rtt_us)
            self._offset_us = int(pong.mono_us + rtt_us / 2 - now * 1e6)

    # -- out ---------------------------------------------------------------------------------------------------------

    def keep_up(self, now: float, *, alive: bool, paused: bool, leaving: bool = False, least_s: float = 0.0) -> None:
        """Tells what is stored, greets, grants credit, pings; redials a publisher that is deaf or lets nobody in.

        Args:
            now: monotonic seconds.
            alive: whether the work loop is. If not, nothing is asked for: what came would find nobody.
            paused: whether to grant no more credit for now.
            leaving: whether to grant none ever again, and to say so.
            least_s: of its budget that a frame must have left, or it would be refused.
        """
        self._paused, self._grants, self._least_ms = paused, alive and not (paused or leaving), least_s * 1000
        self._tell_stored()
        if self.tie is Tie.REFUSED or not alive:
            return
        shut_out = self._shut_out_since is not None and now - self._shut_out_since > SHUT_OUT_S
        if shut_out and LINKS[self.tie, Arrival.SHUT_OUT] is Step.REDIAL:
            self._knock_again()
        if self.tie is Tie.DIALLING and not self._greet():
            return
        if leaving and self.tie is not Tie.LEAVING and self.send(Bye()):
            self.tie = Tie.LEAVING
        if (total := self._next_total()) and self.send(Credit(total=total, least_ms=self._least_ms)):
            self._granted = total
        self._tell_judged(now)
        if now >= self._next_ping:
            self._ping(now)

    def offer(self, settings: LinkSettings) -> None:
        """Offers other recipes from now on: greets again, unless it is to be left or wants none of this worker."""
        self.settings = settings
        if self.tie in (Tie.GREETING, Tie.GREETED):
            self.tie = Tie.DIALLING

    @property
    def short_of_credit(self) -> bool:
        """Whether the publisher has less than half of its share left, so that more is granted once it can be.

        Any thread.
        """
        return 2 * (self._granted - self._received) < self.share

    def _next_total(self) -> int:
        """Frames to grant in all, if it is time to grant more; else 0."""
        total = self._received + self.share - len(self.unjudged)
        greeted = self.tie in (Tie.GREETING, Tie.GREETED)
        return total if self._grants and greeted and self.short_of_credit and total > self._granted else 0

    def _greet(self) -> bool:
        settings = self.settings
        hello = Hello(
            name=settings.worker,
            incarnation=settings.incarnation,
            camera=self.name,
            recipes=settings.recipes,
            max_frame_bytes=settings.max_frame_bytes,
            credit_bytes=settings.credit_bytes,
            longest_batch_ms=settings.longest_batch_ms,
            held=tuple(str(frame) for frame in self.held),
        )
        sent = self.send(hello)
        if sent:
            self.tie = Tie.GREETING
            self._on_their_way = max(0, self._granted - self._received)  # asked for before: they may still come
            self._received = self._granted = 0
            self._next_ping = 0.0
        return sent

    def _ping(self, now: float) -> None:
        self._next_ping = now + self.settings.ping_s
        silent = self._pings_unanswered >= DEAF_AFTER_PONGS
        if silent and LINKS[self.tie, Arrival.SILENCE] is Step.REDIAL:
            log.warning("publisher does not answer, dialling again", camera=self.name, endpoint=self.camera.endpoint)
            self._redial()
            return
        mono_us, held = int(time.monotonic() * 1e6), len(self.held)
        if self.send(Ping(mono_us=mono_us, total=self._granted, held=held, least_ms=self._least_ms)):
            self._pings_unanswered += 1

    def _knock_again(self) -> None:
        """A refused handshake leaves a socket deaf for ever: only a new one notices that its key is listed by now."""
        if not self._told_shut_out:
            self._told_shut_out = True
            log.warning(
                "no way in, knocking again: the publisher is not there, or keys do not fit",
                camera=self.name,
                endpoint=self.camera.endpoint,
                with_key=self.camera.server_key is not None,
            )
        self._redial()

    def _redial(self) -> None:
        self.socket.close(linger=0)
        self.socket = self._dial()
        self._offset_us, self._best_rtt_us = None, math.inf

    def judged(self, frames: list[FrameId], now: float) -> None:
        """Verdicts that wait for Redis. Others may come for them; the publisher is told only if they wait for long."""
        self.unjudged.difference_update(frames)
        self._untold.update((frame, now) for frame in frames if frame in self.held)  # the sink may have been quicker

    def stored(self, frames: list[FrameId]) -> None:
        """These frames' verdicts are in Redis: the publisher is told next, and that others may come for them."""
        self.unjudged.difference_update(frames)
        self.held.difference_update(frames)
        self._stored += frames
        for frame in frames:
            self._untold.pop(frame, None)

    def _tell_stored(self) -> None:
        """One message says it, and grants what there is to grant. Whoever is gone asks again after its HELLO."""
        if not self._stored:
            return
        total, stored = self._next_total(), tuple(map(str, self._stored))
        self._stored = []
        if self.send(Done(stored=stored, total=total, least_ms=self._least_ms)):
            self._granted = max(self._granted, total)

    def _tell_judged(self, now: float) -> None:
        """Verdicts that have waited long enough for their pixels to go: Redis is slow, or away.

        Until then the publisher keeps the pixels, so that another worker can judge the frame if this one is killed.
        """
        due = list(takewhile(lambda frame: now - self._untold[frame] >= TELL_JUDGED_S, self._untold))
        if due and self.send(Done(judged=tuple(map(str, due[:MAX_LISTED])))):
            for frame in due[:MAX_LISTED]:
                del self._untold[frame]

    def busy(self, frame: FrameId, why: str) -> None:
        """Hands a frame back."""
        self.handed_back += 1
        self.unjudged.discard(frame)
        self.held.discard(frame)
        self.send(Busy(id=str(frame), why=why[:256]))

    def send(self, message: Message) -> bool:
        """Sends a message if the publisher is there; whatever is lost is made good by HELLO and the next PING."""
        try:
            self.socket.send_multipart(encode(message), zmq.NOBLOCK)
        except zmq.Again:
            if self._shut_out_since is None:
                self._shut_out_since = time.monotonic()
            return False
        self._shut_out_since = None
        return True

    def close(self) -> None:
        """Tells what is stored and closes the socket; what is on its way out has a moment to go."""
        self._grants = False
        self._tell_stored()
        self.socket.close(linger=200)


def _receive(socket: "zmq.Socket[Any]") -> list[Any]:
    """The next message; the pixels of a FRAME stay where libzmq has put them.

    Raises:
        zmq.Again: there is none.
    """
    parts: list[Any] = [socket.recv(zmq.NOBLOCK)]
    while socket.getsockopt(zmq.RCVMORE):
        pixels = parts[0] == FRAME and len(parts) == 2
        parts.append(socket.recv(copy=False).buffer if pixels else socket.recv())
    return parts
