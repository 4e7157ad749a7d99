"""`producers.states`: every cell of the tables for frames and for peers, against what the code really does.

Nothing here looks at the code that reads the tables: each cell brings a real `Retention`, or a real `Dispatcher` with
real sockets, into the state, lets the event happen from outside, and compares what became of it.
"""

import itertools
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import pytest
import zmq

from producers.bell import Bell
from producers.dispatch import MAX_WORKERS, Dispatcher
from producers.errors import ProtocolError
from producers.frame import FrameHeader
from producers.kept import Peer
from producers.protocol import (
    FRAME,
    FROM_PUBLISHER,
    FROM_WORKER,
    Bad,
    Busy,
    Bye,
    Credit,
    Done,
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
from producers.states import FRAMES, PEERS, REASONS, Act, Answer, Event, Heard, Standing, State
from tests.producers.test_retention import EXACT, A, B, a_frame, a_hello, gone, join, name_of, sent

FRAME_ID = name_of(0)

# -- a frame ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Seen:
    """What can be seen of a frame that is kept."""

    state: State
    peer: Peer | None
    pixels: bool
    attempt: int
    reason: str | None


def look(retention: Retention) -> Seen | None:
    entry = retention.entries.get(FRAME_ID)
    if entry is None:
        return None
    reason = entry.reason if entry.state in (State.GONE, State.REPORTED) else None
    return Seen(entry.state, entry.peer, entry.frame is not None, entry.attempt, reason)


def brought_to(state: State, *, budget_ms: float | None) -> Retention:
    """A retention with one frame in this state; its worker, if it has one, is A."""
    retention = Retention(EXACT)
    retention.keep(a_frame(0, budget_ms=budget_ms))
    if state in (State.GONE, State.REPORTED):
        retention.drop_oldest()
    join(retention, A, credit=0 if state is State.WAITING else 1)
    if state in (State.SENT, State.JUDGED):
        assert sent(retention) == [(A, 0, 1)]
    if state is State.JUDGED:
        retention.done(A, stored=[], judged=[FRAME_ID])
    if state is State.REPORTED:
        assert gone(retention) == [(A, 0, "lost")]
    return retention


def time_passes(retention: Retention, now: float) -> None:
    retention.grant(A, Credit(total=0), now=now)
    retention.tick(now)


def a_worker_is_free(retention: Retention) -> None:
    retention.grant(A, Credit(total=9), now=1.0)
    sent(retention, now=1.0)
    gone(retention, now=1.0)


def only_a_worker_for_small_frames_is_there(retention: Retention) -> None:
    join(
        retention, A if look(retention) == Seen(State.WAITING, None, True, 1, None) else B, credit=9, max_frame_bytes=1
    )
    sent(retention)


CAUSES: dict[Event, Callable[[Retention], object]] = {
    Event.DUE: a_worker_is_free,
    Event.JUDGED: lambda retention: retention.done(A, stored=[], judged=[FRAME_ID]),
    Event.STORED: lambda retention: retention.done(A, stored=[FRAME_ID], judged=[]),
    Event.BUSY: lambda retention: retention.busy(A, FRAME_ID),
    Event.BAD: lambda retention: retention.bad(A, 1),
    Event.HELD: lambda retention: join(retention, B, credit=0, name=A.decode(), held=[FRAME_ID]),
    Event.DROPPED: lambda retention: retention.lose(A),
    Event.OVERDUE: lambda retention: time_passes(retention, EXACT.ack_timeout_s + 0.1),
    Event.EXPIRED: lambda retention: time_passes(retention, 1.1),
    Event.UNFIT: only_a_worker_for_small_frames_is_there,
    Event.SQUEEZED: lambda retention: retention.drop_oldest(),
    Event.ABANDONED: lambda retention: retention.give_up_waiting(),
}


def expected(act: Act, before: Seen, event: Event) -> Seen | None:
    match act:
        case Act.STAY:
            return before
        case Act.SEND:
            return replace(before, state=State.SENT, peer=A)
        case Act.SPARE_PIXELS:
            return replace(before, state=State.JUDGED)
        case Act.FORGET:
            return None
        case Act.FOLLOW:
            return replace(before, peer=B)
        case Act.TAKE_BACK:
            return replace(before, state=State.WAITING, peer=None, attempt=2)
        case Act.GIVE_UP:
            return Seen(State.GONE, None, False, 1, REASONS[event])
        case Act.DROP_PIXELS:
            return replace(before, pixels=False)
        case Act.REPORT:
            return replace(before, state=State.REPORTED, peer=A)
        case Act.REPORT_AGAIN:
            return replace(before, state=State.GONE, peer=None)


@pytest.mark.parametrize(("state", "event"), list(itertools.product(State, Event)), ids=lambda part: part.name)
def test_what_happens_to_a_frame_is_what_the_table_says(state: State, event: Event) -> None:
    retention = brought_to(state, budget_ms=1000 if event is Event.EXPIRED else None)
    before = look(retention)
    assert before is not None
    assert before.state is state
    CAUSES[event](retention)
    assert look(retention) == expected(FRAMES[state, event], before, event)


def test_every_state_and_event_of_a_frame_has_its_answer() -> None:
    assert FRAMES.keys() == set(itertools.product(State, Event))
    assert {event for (_, event), act in FRAMES.items() if act is Act.GIVE_UP} == REASONS.keys()
    assert set(FRAMES.values()) == set(Act), "an act that is never taken"


def test_a_judged_frame_whose_pixels_had_to_go_is_the_fault_of_its_dead_worker() -> None:
    retention = brought_to(State.JUDGED, budget_ms=None)
    for seq in range(1, EXACT.frames + 1):
        retention.keep(a_frame(seq))
    assert look(retention) == Seen(State.JUDGED, A, False, 1, None)
    retention.lose(A)
    assert look(retention) == Seen(State.GONE, None, False, 1, "worker_error")


def test_a_frame_whose_pixels_had_to_go_is_lost_when_it_is_taken_back() -> None:
    retention = brought_to(State.SENT, budget_ms=None)
    retention.drop_oldest()
    retention.lose(A)
    assert look(retention) == Seen(State.GONE, None, False, 1, "lost")


# -- a peer ----------------------------------------------------------------------------------------------------------


class Stage:
    """A dispatcher without its thread: each turn is taken by the test, over sockets that deliver at once."""

    def __init__(self) -> None:
        self.context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        work, live = (self.context.socket(kind) for kind in (zmq.ROUTER, zmq.PUB))
        work.setsockopt(zmq.ROUTER_MANDATORY, 1)
        work.bind("inproc://work")
        self.dispatcher = Dispatcher("cam1", Limits(), "block", work=work, live=live, bell=Bell())
        self.retention = self.dispatcher.retention
        self.retention.keep(a_frame(0))
        self.dealer = self.context.socket(zmq.DEALER)
        self.dealer.setsockopt(zmq.ROUTING_ID, A)
        self.dealer.connect("inproc://work")

    def hear(self, parts: list[bytes]) -> list[Message | FrameHeader]:
        """What comes back when this peer says so."""
        self.dealer.send_multipart(parts)
        self.dispatcher.turn()
        self.dispatcher.send_due()
        answers: list[Message | FrameHeader] = []
        while self.dealer.poll(0):
            kind, header, payload = self.dealer.recv_multipart()
            frame = kind == FRAME
            answers.append(FrameHeader.from_bytes(header) if frame else decode([kind, header, payload], FROM_PUBLISHER))
        return answers

    def close(self) -> None:
        self.context.destroy(linger=0)


@pytest.fixture
def stage() -> Iterator[Stage]:
    made = Stage()
    yield made
    made.close()


def brought(stage: Stage, standing: Standing) -> None:
    """This peer stands so; if it is known, it has frame 0 in hand."""
    if standing is not Standing.UNKNOWN:
        stage.hear(encode(a_hello("w1")))
        assert isinstance(stage.hear(encode(Credit(total=1)))[0], FrameHeader)
    if standing is Standing.LEAVING:
        stage.hear(encode(Bye()))
    assert stage.retention.standing(A) is standing


def superseded(stage: Stage) -> list[bytes]:
    for incarnation in ("older", "newer"):
        stage.retention.hello(b"another-" + incarnation.encode(), a_hello("twin", incarnation=incarnation), 1e9)
    return encode(a_hello("twin", incarnation="older"))


def one_too_many(stage: Stage) -> list[bytes]:
    for number in range(MAX_WORKERS - len(stage.retention.workers)):
        stage.retention.hello(b"crowd-%d" % number, a_hello(f"crowd-{number}"), 1e9)
    return encode(a_hello("w1"))


SAID: dict[Heard, Callable[[Stage], list[bytes]]] = {
    Heard.HELLO: lambda stage: encode(a_hello("w1")),
    Heard.HELLO_ELSEWHERE: lambda stage: encode(a_hello("w1", camera="cam2")),
    Heard.HELLO_SUPERSEDED: superseded,
    Heard.HELLO_TOO_MANY: one_too_many,
    Heard.CREDIT: lambda stage: encode(Credit(total=5)),
    Heard.PING: lambda stage: encode(Ping(mono_us=77, total=5)),
    Heard.DONE: lambda stage: encode(Done(stored=(FRAME_ID,), total=5)),
    Heard.BUSY: lambda stage: encode(Busy(id=FRAME_ID, why="no memory")),
    Heard.BAD: lambda stage: encode(Bad(n=1)),
    Heard.BYE: lambda stage: encode(Bye()),
    Heard.GARBAGE: lambda stage: [b"1C", b'{"total": -1}', b""],
    Heard.OTHER_VERSION: lambda stage: [b"2C", b"{}", b""],
}
IN_HAND = "with the worker that was sent it"
WAITS = "with nobody"


def frame_is(stage: Stage) -> str:
    entry = stage.retention.entries.get(FRAME_ID)
    if entry is None:
        return "forgotten"
    if entry.state is State.GONE or entry.state is State.REPORTED:
        return entry.reason
    return (
        IN_HAND if entry.state is State.SENT and entry.attempt == 1 else WAITS if entry.peer is None else "sent again"
    )


@pytest.mark.parametrize(("standing", "heard"), list(itertools.product(Standing, Heard)), ids=lambda part: part.name)
def test_what_a_peer_is_answered_is_what_the_table_says(stage: Stage, standing: Standing, heard: Heard) -> None:
    brought(stage, standing)
    known = standing is not Standing.UNKNOWN
    parts = SAID[heard](stage)
    refused_before = stage.dispatcher.messages_refused
    answers = stage.hear(parts)
    after = stage.retention.standing(A)
    refused = stage.dispatcher.messages_refused - refused_before
    credit = stage.retention.workers[A].credit if after is not Standing.UNKNOWN else None
    unchanged = (after, frame_is(stage)) == (standing, IN_HAND if known else WAITS)
    match PEERS[standing, heard]:
        case Answer.GREET:
            assert (after, credit, answers, frame_is(stage)) == (Standing.PRESENT, 0, [], WAITS)
        case Answer.REFUSE:
            assert isinstance(answers[0], Refused)
            assert (len(answers), refused, unchanged) == (1, 1, True)
        case Answer.ASK:
            assert (answers, unchanged) == ([Who()], True)
        case Answer.CREDIT:
            assert (answers, credit, unchanged) == ([], 5, True)
        case Answer.PONG:
            assert isinstance(answers[0], Pong)
            assert (len(answers), answers[0].ping_mono_us, credit, unchanged) == (1, 77, 5, True)
        case Answer.DONE:
            assert (answers, credit, after, frame_is(stage)) == ([], 5, standing, "forgotten")
        case Answer.BUSY:
            assert (answers, after, frame_is(stage)) == ([], standing, WAITS)
        case Answer.BAD:
            assert (after, frame_is(stage)) == (standing, "bad_frame")
        case Answer.LET_GO:
            assert (answers, after, frame_is(stage)) == ([], Standing.LEAVING, IN_HAND)
        case Answer.COUNT:
            assert (answers, refused, unchanged) == ([], 1, True)


def test_every_standing_and_message_of_a_peer_has_its_answer() -> None:
    assert PEERS.keys() == set(itertools.product(Standing, Heard))
    assert set(PEERS.values()) == set(Answer), "an answer that is never given"
    for message in FROM_WORKER:
        assert any(heard.name.split("_")[0] == message.__name__.upper() for heard in Heard), f"{message} has no row"


def test_a_hello_of_a_peer_that_is_known_is_heard_however_many_are_here(stage: Stage) -> None:
    brought(stage, Standing.PRESENT)
    stage.hear(one_too_many(stage))
    assert stage.retention.standing(A) is Standing.PRESENT
    assert len(stage.retention.workers) == MAX_WORKERS


@pytest.mark.parametrize("parts", [[], [b""], [b"1"], [b"1H"], [b"\xff\xff", b"", b""]], ids=str)
def test_a_message_without_its_parts_is_a_message_of_no_protocol(parts: list[bytes]) -> None:
    with pytest.raises(ProtocolError):
        decode(parts, FROM_WORKER)


def test_the_smallest_hello_another_program_may_send_is_heard(stage: Stage) -> None:
    fields: dict[str, Any] = {"name": "w", "incarnation": "1", "camera": "cam1", "recipes": [], "max_frame_bytes": 0}
    stage.hear([Hello.kind, json.dumps({**fields, "longest_batch_ms": 0}).encode(), b""])
    assert stage.retention.standing(A) is Standing.PRESENT
