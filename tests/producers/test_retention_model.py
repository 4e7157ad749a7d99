"""`producers.retention` under whatever may happen, in whatever order, beside a model of what it promises."""

import math
from dataclasses import dataclass, field

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from producers.kept import Entry, Peer
from producers.protocol import Credit, Hello
from producers.retention import Limits, Retention
from producers.states import State
from tests.producers.test_retention import a_frame, a_hello, a_tag, name_of

LIMITS = Limits(frames=6, pixel_bytes=60, heartbeat_s=5.0, ack_timeout_s=20.0, max_attempts=3)
PEERS = [b"peer-1", b"peer-2", b"peer-3"]

peers = st.sampled_from(PEERS)
seqs = st.integers(0, 12)
some_seqs = st.lists(seqs, max_size=4)


@dataclass
class ModelWorker:
    """What a worker said, and what it was sent since its HELLO."""

    hello: Hello
    last_heard: float
    credit: int = 0
    least_s: float = 0.0
    sent: list[str] = field(default_factory=list)
    leaving: bool = False


class RetentionMachine(RuleBasedStateMachine):
    """Frames and workers come and go; after each step the promises are looked at."""

    def __init__(self) -> None:
        super().__init__()
        self.retention = Retention(LIMITS)
        self.now = 0.0
        self.kept: set[str] = set()
        self.stored: set[str] = set()
        self.sizes: dict[str, int] = {}
        self.workers: dict[Peer, ModelWorker] = {}
        self.holder: dict[str, Peer] = {}
        self.sent_at: dict[str, float] = {}

    def present(self, peer: Peer) -> bool:
        return peer in self.workers

    @initialize()
    def begins_with_frames_and_a_worker_that_takes_them_one_at_a_time(self) -> None:
        self.hello(PEERS[0], 1, "one", True, False, 100, 15, [])
        self.grant(PEERS[0], 3, 0.0)
        self.keep("part", None, 10)
        self.keep("part", None, 10)

    # -- frames in ---------------------------------------------------------------------------------------------------

    @rule(
        recipe=st.sampled_from([None, "part", "lid"]),
        budget_ms=st.sampled_from([None, 1000.0, 30_000.0]),
        size=st.sampled_from([1, 10, 200]),
    )
    def keep(self, recipe: str | None, budget_ms: float | None, size: int) -> None:
        if self.retention.room.full(incoming_bytes=size):
            self.drop_oldest()
        seq = len(self.kept)
        self.retention.keep(a_frame(seq, recipe=recipe, budget_ms=budget_ms, size=size, captured=self.now))
        self.kept.add(name_of(seq))
        self.sizes[name_of(seq)] = size

    @rule()
    def keep_gone(self) -> None:
        seq = len(self.kept)
        self.retention.keep_gone(a_tag(seq), "bad_frame")
        self.kept.add(name_of(seq))

    @rule()
    def drop_oldest(self) -> None:
        self.retention.drop_oldest()
        taken_away = {frame_id for frame_id in self.holder if self.retention.entries[frame_id].peer is None}
        self.holder = {frame_id: at for frame_id, at in self.holder.items() if frame_id not in taken_away}

    @rule()
    def give_up_waiting(self) -> None:
        self.retention.give_up_waiting()

    # -- workers -----------------------------------------------------------------------------------------------------

    @rule(
        peer=peers,
        name=st.integers(1, 2),
        incarnation=st.sampled_from(["one", "two"]),
        part=st.booleans(),
        lid=st.booleans(),
        max_frame_bytes=st.sampled_from([5, 100, 1000]),
        credit_bytes=st.sampled_from([15, 1000]),
        held=some_seqs,
    )
    def hello(
        self,
        peer: Peer,
        name: int,
        incarnation: str,
        part: bool,
        lid: bool,
        max_frame_bytes: int,
        credit_bytes: int,
        held: list[int],
    ) -> None:
        recipes = ["part"] * part + ["lid"] * lid
        hello = a_hello(
            f"w{name}",
            incarnation=incarnation,
            recipes=recipes,
            max_frame_bytes=max_frame_bytes,
            credit_bytes=credit_bytes,
            held=[name_of(seq) for seq in held],
        )
        self.retention.hello(peer, hello, self.now)
        for other, worker in list(self.workers.items()):
            same_start = (worker.hello.name, worker.hello.incarnation) == (hello.name, hello.incarnation)
            if other == peer or same_start:
                for frame_id in [frame_id for frame_id, at in self.holder.items() if at == other]:
                    if frame_id in hello.held:
                        self.holder[frame_id] = peer
                    else:
                        del self.holder[frame_id]
                self.workers.pop(other)
            elif worker.hello.name == hello.name:
                self.forget(other)
        self.workers[peer] = ModelWorker(hello, self.now)

    @precondition(lambda self: self.workers)
    @rule(peer=peers, more=st.integers(-3, 4), least_s=st.sampled_from([0.0, 0.5, 25.0]))
    def grant(self, peer: Peer, more: int, least_s: float) -> None:
        if self.present(peer):
            worker = self.workers[peer]
            total = max(0, worker.credit + more)
            self.retention.grant(peer, Credit(total=total, least_ms=least_s * 1000), now=self.now)
            worker.credit, worker.last_heard, worker.least_s = max(worker.credit, total), self.now, least_s

    @precondition(lambda self: self.holder)
    @rule(peer=peers, stored=some_seqs, judged=some_seqs)
    def done(self, peer: Peer, stored: list[int], judged: list[int]) -> None:
        before = set(self.retention.entries)
        self.retention.done(
            peer, stored=[name_of(seq) for seq in stored], judged=[name_of(seq) for seq in [*judged, 999]]
        )
        released = before - set(self.retention.entries)
        expected = {name_of(seq) for seq in stored if self.holder.get(name_of(seq)) == peer}
        assert released == expected, "a frame was released by somebody who did not have it, or was not by its holder"
        for frame_id in released:
            del self.holder[frame_id]
        self.stored |= released

    @precondition(lambda self: self.holder)
    @rule(peer=peers, seq=seqs)
    def busy(self, peer: Peer, seq: int) -> None:
        frame_id = name_of(seq)
        entry = self.retention.entries.get(frame_id)
        takes_effect = self.holder.get(frame_id) == peer and entry is not None and entry.state is State.SENT
        if self.present(peer):
            self.retention.busy(peer, frame_id)
            if takes_effect:
                del self.holder[frame_id]

    @precondition(lambda self: self.holder)
    @rule(peer=peers, n=st.integers(0, 5))
    def bad(self, peer: Peer, n: int) -> None:
        if not self.present(peer):
            return
        order = self.workers[peer].sent
        frame_id = order[n - 1] if 1 <= n <= len(order) else ""
        entry = self.retention.entries.get(frame_id)
        takes_effect = self.holder.get(frame_id) == peer and entry is not None and entry.state is State.SENT
        self.retention.bad(peer, n)
        if takes_effect:
            assert self.retention.entries[frame_id].reason == "bad_frame"
            del self.holder[frame_id]

    @rule(peer=peers)
    def bye(self, peer: Peer) -> None:
        if self.present(peer):
            self.retention.bye(peer)
            self.workers[peer].leaving = True

    @rule(peer=peers)
    def lose(self, peer: Peer) -> None:
        self.retention.lose(peer)
        self.forget(peer)

    def forget(self, peer: Peer) -> None:
        self.workers.pop(peer, None)
        self.holder = {frame_id: at for frame_id, at in self.holder.items() if at != peer}

    # -- time and sending --------------------------------------------------------------------------------------------

    @rule(seconds=st.sampled_from([0.1, 1.0, 4.0, 21.0]))
    def tick(self, seconds: float) -> None:
        self.now += seconds
        dead = self.retention.tick(self.now)
        silent = [peer for peer, worker in self.workers.items() if self.now - worker.last_heard > LIMITS.heartbeat_s]
        assert sorted(dead) == sorted(self.workers[peer].hello.name for peer in silent)
        for peer in silent:
            self.forget(peer)
        for frame_id in list(self.holder):
            judged = self.retention.entries[frame_id].state is State.JUDGED
            if not judged and self.now - self.sent_at[frame_id] > LIMITS.ack_timeout_s:
                del self.holder[frame_id]

    @rule(failing=st.none() | peers)
    def send_due(self, failing: Peer | None) -> None:
        for peer, entry in self.retention.due(self.now):
            worker = self.workers[peer]
            assert entry.frame is not None
            assert entry.tag.recipe is None or entry.tag.recipe in worker.hello.recipes
            assert entry.payload_bytes <= worker.hello.max_frame_bytes
            assert not worker.leaving
            self.is_worth_sending(entry)
            worker.sent.append(str(entry.tag.id))
            assert len(worker.sent) <= worker.credit
            self.hand(entry, peer)
            in_flight = self.sizes_sent_to(peer)
            assert len(in_flight) == 1 or sum(in_flight) <= worker.hello.credit_bytes
            if peer == failing:
                self.retention.lose(peer)
                self.forget(peer)

    def is_worth_sending(self, entry: Entry) -> None:
        budget_s = math.inf if entry.tag.budget_ms is None else entry.tag.budget_ms / 1000
        welcome = [worker.least_s for worker in self.retention.workers.values() if worker.takes(entry)]
        assert entry.deadline - self.now >= min(*welcome, math.inf, 0.75 * budget_s)

    @rule()
    def send_gone(self) -> None:
        for peer, entry in self.retention.gone_due(self.now):
            assert not self.workers[peer].leaving
            assert entry.frame is None
            self.hand(entry, peer)

    def sizes_sent_to(self, peer: Peer) -> list[int]:
        """Of what this worker has and has not judged, whether its pixels are still kept or not."""
        mine = [frame_id for frame_id, at in self.holder.items() if at == peer]
        entries = [self.retention.entries[frame_id] for frame_id in mine]
        return [self.sizes[str(entry.tag.id)] for entry in entries if entry.state is State.SENT]

    def hand(self, entry: Entry, peer: Peer) -> None:
        frame_id = str(entry.tag.id)
        assert frame_id not in self.holder, "two workers have the frame at once"
        self.holder[frame_id], self.sent_at[frame_id] = peer, self.now

    # -- what always holds -------------------------------------------------------------------------------------------

    @invariant()
    def no_frame_is_silent(self) -> None:
        assert set(self.retention.entries) == self.kept - self.stored

    @invariant()
    def pixel_counters_tell_the_truth(self) -> None:
        held = [entry for entry in self.retention.entries.values() if entry.frame is not None]
        assert self.retention.room.frames == len(held)
        assert self.retention.room.bytes == sum(entry.payload_bytes for entry in held)

    @invariant()
    def time_changes_nothing_before_it_is_looked_at(self) -> None:
        entries = self.retention.entries.values()
        times = [entry.deadline for entry in entries if entry.state is State.WAITING]
        out = [entry for entry in entries if entry.state in (State.SENT, State.REPORTED)]
        times += [entry.sent_at + LIMITS.ack_timeout_s for entry in out]
        times += [worker.last_heard + LIMITS.heartbeat_s for worker in self.retention.workers.values()]
        next_change = min(times, default=math.inf)
        assert self.retention.next_change <= next_change
        if next_change > self.now:  # and no sooner once time has been looked at: a publisher that is idle sleeps
            self.retention.tick(self.now)
            assert self.retention.next_change == next_change

    @invariant()
    def no_frame_is_tried_too_often(self) -> None:
        assert all(1 <= entry.attempt <= LIMITS.max_attempts for entry in self.retention.entries.values())

    @invariant()
    def the_holder_is_who_was_sent_it_and_is_alive(self) -> None:
        assert set(self.retention.workers) == set(self.workers)
        holders = {frame_id: entry.peer for frame_id, entry in self.retention.entries.items() if entry.peer is not None}
        assert holders.keys() >= self.holder.keys()
        for frame_id, peer in holders.items():
            assert peer in self.workers
            assert self.holder.get(frame_id, peer) == peer

    @invariant()
    def what_counts_against_a_worker_is_just_what_it_has_not_answered(self) -> None:
        entries = self.retention.entries.items()
        out = {frame_id for frame_id, entry in entries if entry.state in (State.SENT, State.REPORTED)}
        assert set(self.retention._out) == out
        at_work = (State.SENT, State.JUDGED, State.REPORTED)
        assert all((entry.peer is not None) == (entry.state in at_work) for _, entry in entries)

    @invariant()
    def counts_add_up(self) -> None:
        assert self.retention.counts["captured"] == len(self.kept)
        assert self.retention.counts["stored"] == len(self.stored)

    def teardown(self) -> None:
        """Whatever happened, one honest worker brings every frame to its end."""
        for peer in PEERS:
            self.retention.lose(peer)
        honest = b"honest"
        self.retention.hello(honest, a_hello("honest", recipes=["part", "lid"]), self.now)
        self.retention.grant(honest, Credit(total=1000), now=self.now)
        for _ in range(2):
            handed = [str(entry.tag.id) for _, entry in self.retention.due(self.now)]
            handed += [str(entry.tag.id) for _, entry in self.retention.gone_due(self.now)]
            self.retention.done(honest, stored=handed, judged=[])
        assert self.retention.entries == {}


TestRetention = RetentionMachine.TestCase
TestRetention.settings = settings(max_examples=100, stateful_step_count=40, deadline=None)
