"""Which frame is where. Every frame is kept until its verdict is stored; this is where that promise lives.

Pure: no socket, no clock, no thread. The publisher tells it what happened and when, and asks what to send.

A frame's way, and what moves it on:

    WAITING --due--> SENT --judged--> JUDGED --stored--> forgotten
       ^               |                 |
       |               |  worker dead, BUSY, BAD, ack timeout, HELLO without it
       +---------------+                 |
       |  attempt + 1, up to max_attempts v
       +--given up--> GONE (header only) --due--> GONE, sent --stored--> forgotten
"""

import heapq
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from enum import Enum
from typing import get_args

from producers.frame import Frame, FrameTag
from producers.protocol import GoneReason, Hello

Peer = bytes
"""A worker's routing id on the work socket."""


class State(Enum):
    """Where a frame is."""

    WAITING = "waiting for a worker"
    SENT = "with a worker"
    JUDGED = "judged, its verdict waits for Redis"
    GONE = "given up, its verdict still to be written"


@dataclass
class Entry:
    """One frame that is kept."""

    tag: FrameTag
    frame: Frame | None
    deadline: float | None
    state: State = State.WAITING
    reason: GoneReason = "lost"
    peer: Peer | None = None
    sent_at: float = 0.0
    attempt: int = 1
    refused_by: set[str] = field(default_factory=set)

    @property
    def payload_bytes(self) -> int:
        """Of the pixels still held."""
        return len(self.frame.payload) if self.frame else 0


@dataclass
class Worker:
    """A worker that has said HELLO and is believed to live."""

    hello: Hello
    last_heard: float
    credit: int = 0
    sent: int = 0
    order: dict[int, str] = field(default_factory=dict)
    leaving: bool = False

    def offers(self, entry: Entry) -> bool:
        """Whether this worker knows the frame's recipe."""
        return entry.tag.recipe is None or entry.tag.recipe in self.hello.recipes

    def takes(self, entry: Entry) -> bool:
        """Whether this worker knows the frame's recipe, is not about to leave, and takes frames of this size."""
        return not self.leaving and self.offers(entry) and entry.payload_bytes <= self.hello.max_frame_bytes


@dataclass(frozen=True)
class Limits:
    """The numbers that bound retention.

    Attributes:
        frames: kept with their pixels at most.
        pixel_bytes: kept at most.
        heartbeat_s: a worker unheard of for this long is dead; at least three of its longest batches.
        ack_timeout_s: a frame neither judged nor stored after this long goes to another worker.
        max_attempts: a frame taken back this often is given up as `worker_error`.
    """

    frames: int = 512
    pixel_bytes: int = 512 * 1024 * 1024
    heartbeat_s: float = 5.0
    ack_timeout_s: float = 30.0
    max_attempts: int = 3


class Retention:
    """Keeps every frame until its verdict is stored, and decides which worker gets which next."""

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self.entries: dict[str, Entry] = {}
        self.workers: dict[Peer, Worker] = {}
        self.waiting: list[tuple[int, str]] = []  # a heap: the oldest frame goes first, also one that came back
        self.gone: deque[str] = deque()
        self._superseded: deque[tuple[str, str]] = deque(maxlen=64)
        self.pixel_frames = 0
        self.pixel_bytes = 0
        words = ("captured", "inherited", "stored", "judged", "resent", "gone")
        self.counts: dict[str, int] = dict.fromkeys(words, 0)
        self.gone_by_reason: dict[str, int] = dict.fromkeys(get_args(GoneReason), 0)

    # -- frames in ---------------------------------------------------------------------------------------------------

    def keep(self, frame: Frame) -> None:
        """Takes in a captured frame."""
        tag = frame.header.tag()
        budget = tag.budget_ms
        deadline = None if budget is None else frame.captured_mono + budget / 1000
        entry = self.entries[str(tag.id)] = Entry(tag, frame, deadline)
        heapq.heappush(self.waiting, (tag.seq, str(tag.id)))
        self.pixel_frames += 1
        self.pixel_bytes += entry.payload_bytes
        self.counts["captured"] += 1

    def keep_gone(self, tag: FrameTag, reason: GoneReason) -> None:
        """Takes in a frame that never had readable pixels."""
        entry = self.entries[str(tag.id)] = Entry(tag, None, None)
        self.counts["captured"] += 1
        self._give_up(entry, reason)

    def keep_lost(self, tag: FrameTag) -> None:
        """Takes in a frame of an earlier session of this camera, which was killed before the frame was finished."""
        entry = self.entries[str(tag.id)] = Entry(tag, None, None)
        self.counts["inherited"] += 1
        self._give_up(entry, "lost")

    def full(self, *, incoming_bytes: int, incoming_frames: int = 1) -> bool:
        """Whether so much more would break a limit. A single frame always fits, however large."""
        frames = self.pixel_frames + incoming_frames
        too_large = self.pixel_bytes + incoming_bytes > self.limits.pixel_bytes
        return frames > self.limits.frames or (frames > 1 and too_large)

    def drop_oldest(self) -> bool:
        """Lets the oldest pixels go: of a frame that no worker has, which ends as `lost`; else of one that is sent.

        A frame that is sent keeps its chance: its worker has the pixels. Only if it must be taken back, it is `lost`.
        """
        while self.waiting:
            entry = self.entries.get(heapq.heappop(self.waiting)[1])
            if entry is not None and entry.state is State.WAITING:
                self._give_up(entry, "lost")
                return True
        sent = next((entry for entry in self.entries.values() if entry.frame is not None), None)
        if sent is not None:
            self._drop_pixels(sent)
        return sent is not None

    # -- what workers say --------------------------------------------------------------------------------------------

    def hello(self, peer: Peer, hello: Hello, now: float) -> None:
        """A worker is here, or here again: takes back what it was sent and doesn't hold."""
        held = set(hello.held)
        for other, worker in list(self.workers.items()):
            if other == peer or (worker.hello.name, worker.hello.incarnation) == (hello.name, hello.incarnation):
                self._move(other, peer, held)
                self.workers.pop(other, None)
            elif worker.hello.name == hello.name:  # its predecessor under the same name is no more
                self._superseded.append((worker.hello.name, worker.hello.incarnation))
                self.lose(other)
        self.workers[peer] = Worker(hello, now)

    def is_superseded(self, hello: Hello) -> bool:
        """Whether a later start of a worker of this name has taken its place: then two of them share a name."""
        return (hello.name, hello.incarnation) in self._superseded

    def ping(self, peer: Peer, *, total: int, now: float) -> None:
        """A worker lives and will take `total` frames since its HELLO."""
        worker = self.workers[peer]
        worker.last_heard = now
        worker.credit = max(worker.credit, total)

    def done(self, peer: Peer, *, stored: Iterable[str], judged: Iterable[str]) -> None:
        """Verdicts were stored or judged. Only believed of frames that this very worker was sent."""
        for frame_id in judged:
            entry = self.entries.get(frame_id)
            if entry is not None and entry.peer == peer and entry.state is State.SENT:
                entry.state = State.JUDGED
                self._drop_pixels(entry)
                self.counts["judged"] += 1
        for frame_id in stored:
            entry = self.entries.get(frame_id)
            if entry is not None and entry.peer == peer:
                self._drop_pixels(entry)
                del self.entries[frame_id]
                self.counts["stored"] += 1

    def busy(self, peer: Peer, frame_id: str) -> None:
        """A worker hands a frame back."""
        entry = self.entries.get(frame_id)
        if entry is not None and entry.peer == peer and entry.state is State.SENT:
            self._refused(entry)
            self._take_back(entry)

    def bad(self, peer: Peer, n: int) -> None:
        """The header of the n-th frame that a worker was sent can't be read: the frame ends as `bad_frame`."""
        entry = self.entries.get(self.workers[peer].order.get(n, ""))
        if entry is not None and entry.peer == peer and entry.state is State.SENT:
            self._give_up(entry, "bad_frame")

    def bye(self, peer: Peer) -> None:
        """A worker is draining: it keeps what it has and gets nothing more."""
        self.workers[peer].leaving = True

    def lose(self, peer: Peer) -> None:
        """A worker is dead: what it had goes to others."""
        self.workers.pop(peer, None)
        self._move(peer, None, set())

    # -- time passes -------------------------------------------------------------------------------------------------

    def tick(self, now: float) -> list[str]:
        """Buries silent workers, takes back overdue frames, ends spent budgets. Returns the names of the dead."""
        dead = []
        for peer, worker in list(self.workers.items()):
            patience = max(self.limits.heartbeat_s, 3 * worker.hello.longest_batch_ms / 1000)
            if now - worker.last_heard > patience:
                dead.append(worker.hello.name)
                self.lose(peer)
        for entry in list(self.entries.values()):
            overdue = now - entry.sent_at > self.limits.ack_timeout_s
            if entry.state is State.SENT and overdue:
                self._refused(entry)
                self._take_back(entry)
            elif entry.state is State.GONE and entry.peer is not None and overdue:
                self._refused(entry)
                entry.peer = None
                self.gone.append(str(entry.tag.id))
            elif entry.state is State.WAITING and entry.deadline is not None and now > entry.deadline:
                self._give_up(entry, "expired" if self._known(entry) else "no_recipe")
        return dead

    def give_up_waiting(self) -> None:
        """Gives up every frame that no worker has: nobody will come for it any more."""
        for entry in list(self.entries.values()):
            if entry.state is State.WAITING:
                self._give_up(entry, "lost" if self._known(entry) else "no_recipe")

    # -- frames out --------------------------------------------------------------------------------------------------

    def due(self, now: float) -> Iterator[tuple[Peer, Entry]]:
        """Who is to be sent what, now. Each pair is marked as sent when it is handed out."""
        passed_over = []
        while self.waiting and any(worker.credit > worker.sent for worker in self.workers.values()):
            entry = self.entries.get(heapq.heappop(self.waiting)[1])
            if entry is None or entry.state is not State.WAITING:
                continue  # given up meanwhile
            peer = self._worker_for(entry)
            if peer is not None:
                self._mark_sent(peer, entry, now)
                yield peer, entry
            elif self._too_large(entry):
                self._give_up(entry, "bad_frame")
            else:
                passed_over.append((entry.tag.seq, str(entry.tag.id)))
        for item in passed_over:
            heapq.heappush(self.waiting, item)

    def gone_due(self, now: float) -> Iterator[tuple[Peer, Entry]]:
        """Which given-up frames' verdicts are to be written by whom, now."""
        while self.gone and (staying := [peer for peer, worker in self.workers.items() if not worker.leaving]):
            entry = self.entries.get(self.gone.popleft())
            if entry is not None and entry.state is State.GONE and entry.peer is None:
                willing = [peer for peer in staying if self.workers[peer].hello.name not in entry.refused_by]
                if not willing:  # each was silent once: round again, Redis may have been away for all
                    entry.refused_by.clear()
                entry.peer, entry.sent_at = (willing or staying)[0], now
                yield entry.peer, entry

    def _known(self, entry: Entry) -> bool:
        """Whether the frame's recipe is one that a worker knows; with no worker at all nobody can say that it isn't."""
        return not self.workers or any(worker.offers(entry) for worker in self.workers.values())

    def _too_large(self, entry: Entry) -> bool:
        """Whether those workers that know the frame's recipe all take smaller frames only."""
        able = [worker for worker in self.workers.values() if worker.offers(entry)]
        return bool(able) and all(entry.payload_bytes > worker.hello.max_frame_bytes for worker in able)

    def _refused(self, entry: Entry) -> None:
        """The worker that has this frame does not get it again while there is another."""
        if entry.peer in self.workers:
            entry.refused_by.add(self.workers[entry.peer].hello.name)

    def _worker_for(self, entry: Entry) -> Peer | None:
        free = [(p, w) for p, w in self.workers.items() if w.takes(entry) and w.credit > w.sent]
        willing = [(p, w) for p, w in free if w.hello.name not in entry.refused_by]
        if not willing and any(w.takes(entry) and w.hello.name not in entry.refused_by for w in self.workers.values()):
            return None  # somebody who hasn't refused it will be free before long
        return max(willing or free, key=lambda pair: pair[1].credit - pair[1].sent, default=(None, None))[0]

    def _mark_sent(self, peer: Peer, entry: Entry, now: float) -> None:
        worker = self.workers[peer]
        worker.sent += 1
        worker.order[worker.sent] = str(entry.tag.id)
        worker.order.pop(worker.sent - 4096, None)
        entry.state, entry.peer, entry.sent_at = State.SENT, peer, now

    def _move(self, old: Peer, new: Peer | None, held: set[str]) -> None:
        """Frames of a worker that is dead (`new` is None) or has a new routing id and holds just `held`."""
        for frame_id, entry in list(self.entries.items()):
            if entry.peer != old:
                continue
            if new is not None and frame_id in held:
                entry.peer = new
            elif entry.state is State.JUDGED:
                self._give_up(entry, "worker_error")
            elif entry.state is State.GONE:
                entry.peer = None
                self.gone.append(frame_id)
            else:
                self._take_back(entry)

    def _take_back(self, entry: Entry) -> None:
        if entry.attempt >= self.limits.max_attempts:
            self._give_up(entry, "worker_error")
            return
        if entry.frame is None:  # its pixels had to go to make room
            self._give_up(entry, "lost")
            return
        entry.attempt += 1
        entry.state, entry.peer = State.WAITING, None
        heapq.heappush(self.waiting, (entry.tag.seq, str(entry.tag.id)))
        self.counts["resent"] += 1

    def _give_up(self, entry: Entry, reason: GoneReason) -> None:
        self._drop_pixels(entry)
        entry.state, entry.reason, entry.peer = State.GONE, reason, None
        self.gone.append(str(entry.tag.id))
        self.counts["gone"] += 1
        self.gone_by_reason[reason] += 1

    def _drop_pixels(self, entry: Entry) -> None:
        if entry.frame is not None:
            self.pixel_frames -= 1
            self.pixel_bytes -= entry.payload_bytes
            entry.frame = None
