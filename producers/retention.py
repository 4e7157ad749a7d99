"""Which frame is where. Every frame is kept until its verdict is stored; this is where that promise lives.

Pure: no socket, no clock, no thread. The publisher tells it what happened and when, and asks what to send. What may
happen to a frame in which state, and what is done then, is the table `FRAMES` of `producers.states`.

    WAITING --due--> SENT --judged--> JUDGED --stored--> forgotten
       ^               |                 |
       |               |  worker dead, BUSY, BAD, ack timeout, HELLO without it
       +---------------+-----------------+
       |  attempt + 1, up to max_attempts v
       +--given up--> GONE (header only) --due--> REPORTED --stored--> forgotten
"""

import heapq
import math
from collections import Counter, deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import get_args

from producers.frame import Frame, FrameTag
from producers.kept import Entry, Peer, Worker
from producers.protocol import GoneReason, Grant, Hello, comes_too_late
from producers.room import Room
from producers.states import FRAMES, REASONS, Act, Event, Standing, State

REPORTED_AT_ONCE = 4096  # verdicts of given-up frames that one worker is asked for: there is no credit for these


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
    """Keeps every frame until its verdict is stored, and decides which worker gets which next.

    Attributes:
        next_change: monotonic seconds: the earliest that time alone may change something, and `tick` finds it.
    """

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self.entries: dict[str, Entry] = {}
        self.workers: dict[Peer, Worker] = {}
        self.waiting: list[tuple[int, str]] = []  # a heap: the oldest frame goes first, also one that came back
        self.gone: deque[str] = deque()
        self._out: dict[str, Entry] = {}  # SENT and REPORTED: what counts against a worker's bounds
        self._in_flight: Counter[Peer | None] = Counter()  # bytes of what is SENT, by worker
        self._superseded: deque[tuple[str, str]] = deque(maxlen=64)
        self.next_change = math.inf
        self.room = Room(limits.frames, limits.pixel_bytes)
        words = ("captured", "inherited", "stored", "judged", "resent", "gone")
        self.counts: dict[str, int] = dict.fromkeys(words, 0)
        self.gone_by_reason: dict[str, int] = dict.fromkeys(get_args(GoneReason), 0)

    # -- frames in ---------------------------------------------------------------------------------------------------

    def keep(self, frame: Frame) -> None:
        """Takes in a captured frame."""
        budget = frame.tag.budget_ms
        deadline = math.inf if budget is None else frame.captured_mono + budget / 1000
        entry = self._enter(Entry(frame.tag, frame, deadline, size=len(frame.payload)))
        self._await_worker(entry)
        self.room.take(entry)
        self.counts["captured"] += 1

    def keep_gone(self, tag: FrameTag, reason: GoneReason) -> None:
        """Takes in a frame that never had readable pixels."""
        entry = self._enter(Entry(tag, None))
        self.counts["captured"] += 1
        self._give_up(entry, reason)

    def keep_lost(self, tag: FrameTag) -> None:
        """Takes in a frame of an earlier session of this camera, which was killed before the frame was finished."""
        entry = self._enter(Entry(tag, None))
        self.counts["inherited"] += 1
        self._give_up(entry, "lost")

    def _enter(self, entry: Entry) -> Entry:
        self.entries[entry.id] = entry
        return entry

    def drop_oldest(self) -> bool:
        """Lets the oldest pixels go: of a frame that no worker has, which ends as `lost`; else of one that is sent.

        A frame that is sent keeps its chance: its worker has the pixels. Only if it must be taken back, it is `lost`.
        """
        while self.waiting:
            entry = self.entries.get(heapq.heappop(self.waiting)[1])
            if entry is not None and entry.state is State.WAITING:
                self._happen(entry, Event.SQUEEZED)
                return True
        sent = next((entry for entry in self._out.values() if entry.frame is not None), None)
        if sent is not None:
            self._happen(sent, Event.SQUEEZED)
        return sent is not None

    # -- what workers say --------------------------------------------------------------------------------------------

    def hello(self, peer: Peer, hello: Hello, now: float) -> None:
        """A worker is here, or here again: takes back what it was sent and doesn't hold."""
        held = set(hello.held)
        for other, worker in list(self.workers.items()):
            if other == peer or (worker.hello.name, worker.hello.incarnation) == (hello.name, hello.incarnation):
                self._move(other, peer, held)
                self.workers.pop(other, None)
                self._in_flight += Counter()  # forgets who has nothing
            elif worker.hello.name == hello.name:  # its predecessor under the same name is no more
                self._superseded.append((worker.hello.name, worker.hello.incarnation))
                self.lose(other)
        self.workers[peer] = Worker(hello, now)
        self._look_at(self._dead_at(self.workers[peer]))

    def is_superseded(self, hello: Hello) -> bool:
        """Whether a later start of a worker of this name has taken its place: then two of them share a name."""
        return (hello.name, hello.incarnation) in self._superseded

    def grant(self, peer: Peer, grant: Grant, now: float) -> None:
        """A worker lives and says what it will take."""
        worker = self.workers[peer]
        worker.last_heard = now
        worker.credit = max(worker.credit, grant.total)
        worker.least_s = grant.least_ms / 1000

    def done(self, peer: Peer, *, stored: Iterable[str], judged: Iterable[str]) -> None:
        """Verdicts were stored or judged. Only believed of frames that this very worker was sent."""
        for event, frame_ids in ((Event.JUDGED, judged), (Event.STORED, stored)):
            for frame_id in frame_ids:
                self._answered(peer, frame_id, event)

    def busy(self, peer: Peer, frame_id: str) -> None:
        """A worker hands a frame back."""
        self._answered(peer, frame_id, Event.BUSY)

    def bad(self, peer: Peer, n: int) -> None:
        """The header of the n-th frame that a worker was sent can't be read: the frame ends as `bad_frame`."""
        self._answered(peer, self.workers[peer].order.get(n, ""), Event.BAD)

    def bye(self, peer: Peer) -> None:
        """A worker is draining: it keeps what it has and gets nothing more."""
        self.workers[peer].leaving = True

    def lose(self, peer: Peer) -> None:
        """A worker is dead: what it had goes to others."""
        self.workers.pop(peer, None)
        self._move(peer, None, set())
        self._in_flight.pop(peer, None)

    # -- time passes -------------------------------------------------------------------------------------------------

    def tick(self, now: float) -> list[str]:
        """Buries silent workers, takes back overdue frames, ends spent budgets. Returns the names of the dead."""
        dead = []
        self.next_change = math.inf
        for peer, worker in list(self.workers.items()):
            if now > self._dead_at(worker):
                dead.append(worker.hello.name)
                self.lose(peer)
            else:
                self._look_at(self._dead_at(worker))
        for entry in list(self.entries.values()):
            if entry.state is State.JUDGED:  # no clock moves it, and while Redis is away there are thousands
                continue
            if entry.peer is not None and now > entry.sent_at + self.limits.ack_timeout_s:
                self._happen(entry, Event.OVERDUE)
            elif now > entry.deadline:
                self._happen(entry, Event.EXPIRED)
            if entry.peer is not None:
                self._look_at(entry.sent_at + self.limits.ack_timeout_s)
            elif entry.state is State.WAITING:
                self._look_at(entry.deadline)
        return dead

    def _dead_at(self, worker: Worker) -> float:
        return worker.last_heard + max(self.limits.heartbeat_s, 3 * worker.hello.longest_batch_ms / 1000)

    def _look_at(self, when: float) -> None:
        self.next_change = min(self.next_change, when)

    def give_up_waiting(self) -> None:
        """Gives up every frame that no worker has: nobody will come for it any more."""
        for entry in list(self.entries.values()):
            self._happen(entry, Event.ABANDONED)

    # -- frames out --------------------------------------------------------------------------------------------------

    def due(self, now: float) -> Iterator[tuple[Peer, Entry]]:
        """Who is to be sent what, now. Each pair is marked as sent when it is handed out.

        No worker is sent more frames than its credit, nor more bytes than its `credit_bytes`; one frame always fits.
        A frame that every worker would refuse, because too little of its budget is left, ends here.
        """
        passed_over = []
        crammed: set[Peer] = set()  # the next frame for them waits for room there: no younger one overtakes it
        while self.waiting and any(w.credit > w.sent for peer, w in self.workers.items() if peer not in crammed):
            entry = self.entries.get(heapq.heappop(self.waiting)[1])
            if entry is None or FRAMES[entry.state, Event.DUE] is not Act.SEND:
                continue  # given up meanwhile
            takers = {peer: worker for peer, worker in self.workers.items() if worker.takes(entry)}
            least_s = min((worker.least_s for worker in takers.values()), default=0.0)
            if comes_too_late(entry.deadline - now, budget_ms=entry.tag.budget_ms, least_s=least_s):
                self._happen(entry, Event.EXPIRED)
                continue
            peer = self._worker_for(entry, takers, crammed)
            if peer is not None:
                self._mark_sent(peer, entry, now)
                yield peer, entry
            elif self._too_large(entry):
                self._happen(entry, Event.UNFIT)
            else:
                passed_over.append((entry.tag.seq, entry.id))
        for item in passed_over:
            heapq.heappush(self.waiting, item)

    def gone_due(self, now: float) -> Iterator[tuple[Peer, Entry]]:
        """Which given-up frames' verdicts are to be written by whom, now."""
        if not self.gone:
            return
        asked = Counter(entry.peer for entry in self._out.values() if entry.state is State.REPORTED)
        while self.gone and (staying := [peer for peer in self._staying() if asked[peer] < REPORTED_AT_ONCE]):
            entry = self.entries.get(self.gone.popleft())
            if entry is not None and FRAMES[entry.state, Event.DUE] is Act.REPORT:
                willing = [peer for peer in staying if self.workers[peer].hello.name not in entry.refused_by]
                if not willing:  # each was silent once: round again, Redis may have been away for all
                    entry.refused_by.clear()
                peer = (willing or staying)[0]
                self._happen(entry, Event.DUE, peer=peer, now=now)
                asked[peer] += 1
                yield peer, entry

    def standing(self, peer: Peer) -> Standing:
        """What is known of a peer."""
        if peer not in self.workers:
            return Standing.UNKNOWN
        return Standing.LEAVING if self.workers[peer].leaving else Standing.PRESENT

    def _staying(self) -> list[Peer]:
        return [peer for peer, worker in self.workers.items() if not worker.leaving]

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

    def _worker_for(self, entry: Entry, takers: dict[Peer, Worker], crammed: set[Peer]) -> Peer | None:
        """Which of them gets this frame; whoever it is next for, but has no room for its bytes, joins `crammed`.

        Who has refused it gets it only if everybody has.
        """
        willing = {peer: worker for peer, worker in takers.items() if worker.hello.name not in entry.refused_by}
        choice = [
            (self._in_flight[peer], worker.sent - worker.credit, peer)
            for peer, worker in (willing or takers).items()
            if worker.credit > worker.sent and peer not in crammed
        ]
        for *_, peer in sorted(choice):
            if self._fits(peer, entry):
                return peer
            crammed.add(peer)
        return None

    def _fits(self, peer: Peer, entry: Entry) -> bool:
        in_flight = self._in_flight[peer]
        return in_flight == 0 or in_flight + entry.size <= self.workers[peer].hello.credit_bytes

    def _mark_sent(self, peer: Peer, entry: Entry, now: float) -> None:
        worker = self.workers[peer]
        worker.sent += 1
        worker.order[worker.sent] = entry.id
        worker.order.pop(worker.sent - 4096, None)
        self._happen(entry, Event.DUE, peer=peer, now=now)

    def _move(self, old: Peer, new: Peer | None, held: set[str]) -> None:
        """Frames of a worker that is dead (`new` is None) or has a new routing id and holds just `held`."""
        for frame_id, entry in list(self.entries.items()):
            if entry.peer == old:
                listed = new is not None and frame_id in held
                self._happen(entry, Event.HELD if listed else Event.DROPPED, peer=new)

    # -- what happens to a frame -------------------------------------------------------------------------------------

    def _answered(self, peer: Peer, frame_id: str, event: Event) -> None:
        entry = self.entries.get(frame_id)
        if entry is not None and entry.peer == peer:
            self._happen(entry, event)

    def _happen(self, entry: Entry, event: Event, *, peer: Peer | None = None, now: float = 0.0) -> None:
        """Does to a frame what the table says. `peer` and `now` matter only where it goes to a worker."""
        act = FRAMES[entry.state, event]
        if act is Act.STAY:
            return
        if event in (Event.BUSY, Event.OVERDUE):
            self._refused(entry)
        if entry.state is State.SENT:
            self._in_flight[entry.peer] -= entry.size
        self._do(act, entry, event, peer=peer, now=now)
        if entry.state is State.SENT and act is not Act.FORGET:
            self._in_flight[entry.peer] += entry.size

    def _do(self, act: Act, entry: Entry, event: Event, *, peer: Peer | None, now: float) -> None:
        match act:
            case Act.SEND | Act.REPORT:
                entry.peer, entry.sent_at = peer, now
                self._look_at(now + self.limits.ack_timeout_s)
                self._place(entry, State.SENT if act is Act.SEND else State.REPORTED)
            case Act.SPARE_PIXELS:
                self.room.spare(entry)
                self._place(entry, State.JUDGED)
                self.counts["judged"] += 1
            case Act.FORGET:
                self._forget(entry)
            case Act.FOLLOW:
                entry.peer = peer
            case Act.TAKE_BACK:
                self._take_back(entry)
            case Act.GIVE_UP:
                self._give_up(entry, self._reason(entry, event))
            case Act.DROP_PIXELS:
                self.room.free(entry)
            case Act.REPORT_AGAIN:
                self._await_report(entry)

    def _reason(self, entry: Entry, event: Event) -> GoneReason:
        unknown = event in (Event.EXPIRED, Event.ABANDONED) and not self._known(entry)
        return "no_recipe" if unknown else REASONS[event]

    def _place(self, entry: Entry, state: State) -> None:
        entry.state = state
        if state in (State.SENT, State.REPORTED):
            self._out[entry.id] = entry
        else:
            self._out.pop(entry.id, None)

    def _forget(self, entry: Entry) -> None:
        self.room.free(entry)
        self._out.pop(entry.id, None)
        del self.entries[entry.id]
        self.counts["stored"] += 1

    def _take_back(self, entry: Entry) -> None:
        if entry.attempt >= self.limits.max_attempts:
            self._give_up(entry, "worker_error")
            return
        if entry.frame is None:  # its pixels had to go to make room
            self._give_up(entry, "worker_error" if entry.state is State.JUDGED else "lost")
            return
        self.room.claim(entry)
        entry.attempt += 1
        entry.peer = None
        self._await_worker(entry)
        self.counts["resent"] += 1

    def _await_worker(self, entry: Entry) -> None:
        self._place(entry, State.WAITING)
        heapq.heappush(self.waiting, (entry.tag.seq, entry.id))
        self._look_at(entry.deadline)

    def _give_up(self, entry: Entry, reason: GoneReason) -> None:
        self.room.free(entry)
        entry.reason = reason
        self._await_report(entry)
        self.counts["gone"] += 1
        self.gone_by_reason[reason] += 1

    def _await_report(self, entry: Entry) -> None:
        entry.peer = None
        self._place(entry, State.GONE)
        self.gone.append(entry.id)
