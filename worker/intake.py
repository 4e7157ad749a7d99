"""The intake: dials the publishers, bounds what is in hand by credit, and answers for every frame it took.

One DEALER a publisher, all owned by one thread. Takes frames from the wire, hands them on through `deliver`; other
threads answer through `judged`, `stored`, `busy` and `beat`.
"""

import dataclasses
import math
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import structlog
import zmq

from producers.bell import Bell
from producers.frame import FrameId
from worker.admission import REFUSALS
from worker.batcher import ReceivedFrame
from worker.link import GoneFrame, Link, LinkSettings
from worker.settings import CameraSettings

log = structlog.get_logger("intake")

LEAST_TICK_S, TICK_S = 0.01, 0.1  # between two looks at the clock; within them, half of what lies between two PINGs


class Intake:
    """Owns the sockets to the publishers.

    Args:
        cameras: by name.
        link: what every link tells its publisher.
        credit: frames in hand at most, over all cameras; each camera has at least one, so that none is left out.
        deliver: called with what has come, frames and given-up frames, from the intake's thread; it must not block.
        paused: whether to grant no more credit for now.
        least_s: of its budget that a frame must have left now, or it would be refused.
        beat_timeout_s: without a beat of the work loop for this long, no PING is sent: publishers then take their
            frames back.
    """

    def __init__(
        self,
        cameras: Mapping[str, CameraSettings],
        link: LinkSettings,
        *,
        credit: int,
        deliver: Callable[[list[ReceivedFrame | GoneFrame]], None],
        paused: Callable[[], bool],
        least_s: Callable[[], float] = lambda: 0.0,
        beat_timeout_s: float,
    ) -> None:
        self._deliver, self._paused, self._least_s, self._beat_timeout_s = deliver, paused, least_s, beat_timeout_s
        self._context: zmq.Context[Any] = zmq.Context()
        self._bell = Bell()
        self._poller, self._polled = zmq.Poller(), list[Any]()
        share = max(1, credit // len(cameras))
        link = dataclasses.replace(link, credit_bytes=link.credit_bytes // len(cameras))
        self._links = {name: Link(self._context, name, camera, link, share=share) for name, camera in cameras.items()}
        self._settings, self._offered = link, link
        self._answers: deque[tuple[str, FrameId, str]] = deque()
        self._beat = time.monotonic()
        self._stop = self._leaving = False
        self._thread = threading.Thread(target=self._run, name="intake", daemon=True)

    def start(self) -> None:
        """Starts the thread."""
        self._thread.start()

    def beat(self) -> None:
        """The work loop is alive. Any thread."""
        self._beat = time.monotonic()

    @property
    def since_beat_s(self) -> float:
        """Seconds since the work loop's last beat. Any thread."""
        return time.monotonic() - self._beat

    @property
    def alive(self) -> bool:
        """Whether the work loop beats, and this thread runs. Any thread."""
        return self.since_beat_s < self._beat_timeout_s and self._thread.is_alive()

    @property
    def answering(self) -> dict[str, bool]:
        """For each camera, whether its publisher answers. Any thread."""
        return {name: link.answers for name, link in self._links.items()}

    def judged(self, frames: list[FrameId], *, stored_soon: bool = False) -> None:
        """These frames' verdicts wait for Redis: their pixels may go, and others may come. Any thread.

        Args:
            frames: whose.
            stored_soon: whether that is to be expected: then one message will say both.
        """
        self._answers.extend(("judged", frame, "") for frame in frames)
        if not stored_soon and any(self._links[frame.camera].short_of_credit for frame in frames):
            self._bell.ring()  # else the next frame is soon enough

    def stored(self, frames: list[FrameId]) -> None:
        """These frames' verdicts are in Redis. Any thread."""
        self._answers.extend(("stored", frame, "") for frame in frames)
        self._bell.ring()

    def busy(self, frame: FrameId, why: str) -> None:
        """This frame goes back to its publisher for somebody else. Any thread."""
        self._answers.append(("busy", frame, why))
        self._bell.ring()

    def offer(self, recipes: Iterable[str], *, longest_batch_s: float) -> None:
        """Tells every publisher which recipes are judged from now on, if they don't know. Any thread.

        Args:
            recipes: all of them.
            longest_batch_s: that one of them may need; publishers and the beat are given more time, never less.
        """
        self._beat_timeout_s = max(self._beat_timeout_s, 3 * longest_batch_s)
        longest_ms = max(self._settings.longest_batch_ms, longest_batch_s * 1000)
        self._settings = dataclasses.replace(
            self._settings, recipes=tuple(sorted(recipes)), longest_batch_ms=longest_ms
        )
        self._bell.ring()

    def leave(self) -> None:
        """Asks every publisher for no more frames. Any thread."""
        self._leaving = True
        self._bell.ring()

    @property
    def holding(self) -> int:
        """Frames in hand: received and not stored."""
        return sum(len(link.held) for link in self._links.values())

    @property
    def handed_back(self) -> int:
        """Frames handed back for another worker, so far. Any thread."""
        return sum(link.handed_back for link in self._links.values())

    @property
    def refusals(self) -> dict[str, int]:
        """What publishers sent and was refused, by reason: `worker.admission.REFUSALS`. Any thread."""
        return {reason: sum(link.admission.refusals[reason] for link in self._links.values()) for reason in REFUSALS}

    def close(self) -> None:
        """Ends the thread and closes the sockets."""
        self._stop = True
        self._bell.ring()
        self._thread.join()
        self._bell.close()
        self._context.destroy(linger=200)  # the last DONE may still be on its way out

    def _run(self) -> None:
        while not self._stop:
            ready = self._wait()
            now = time.monotonic()
            for link in self._links.values():
                if link.socket in ready and (items := list(link.receive(now))):
                    self._deliver(items)
            self._answer()
            self._offer()
            alive, least_s = now - self._beat < self._beat_timeout_s, self._least_s()
            for link in self._links.values():
                link.keep_up(now, alive=alive, paused=self._paused(), leaving=self._leaving, least_s=least_s)
        self._answer()
        for link in self._links.values():
            link.close()

    def _offer(self) -> None:
        settings = self._settings
        if settings != self._offered:
            self._offered = settings
            for link in self._links.values():
                link.offer(settings)

    def _wait(self) -> set[Any]:
        """The publishers' sockets that something has come on, and perhaps the bell's number."""
        sockets = [link.socket for link in self._links.values()]
        if sockets != self._polled:  # a link that dials anew has another
            self._polled, self._poller = sockets, zmq.Poller()
            for source in (self._bell.fd, *sockets):
                self._poller.register(source, zmq.POLLIN)
        tick_s = max(LEAST_TICK_S, min(TICK_S, self._settings.ping_s / 2))
        ready = {socket for socket, _ in self._poller.poll(math.ceil(1000 * tick_s))}
        if self._bell.fd in ready:
            self._bell.hear()
        return ready

    def _answer(self) -> None:
        """Hands each link what became of its frames."""
        stored: dict[str, list[FrameId]] = {}
        judged: dict[str, list[FrameId]] = {}
        while self._answers:
            word, frame, why = self._answers.popleft()
            if word == "busy":
                self._links[frame.camera].busy(frame, why)
            else:
                (stored if word == "stored" else judged).setdefault(frame.camera, []).append(frame)
        for camera, frames in judged.items():
            self._links[camera].judged(frames, time.monotonic())
        for camera, frames in stored.items():
            self._links[camera].stored(frames)
