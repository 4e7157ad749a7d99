"""`producers.states.LINKS`: every cell of the table for a publisher that a worker dials, against what a link does.

Each cell brings a real `Link` with a real socket into the state; the publisher at its other end is the test.
"""

import itertools
import time
from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest
import zmq

from producers.protocol import (
    FRAME,
    FROM_PUBLISHER,
    FROM_WORKER,
    Bad,
    Busy,
    Bye,
    Credit,
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
from tests.producers.scripted_worker import wait_until
from tests.worker.frames import frame, header, tag
from worker.batcher import ReceivedFrame
from worker.link import DEAF_AFTER_PONGS, MESSAGES_A_TURN, SHUT_OUT_S, GoneFrame, Link, LinkSettings
from worker.settings import CameraSettings

PING_S = 1.0
SETTINGS = LinkSettings("w1", "i1", ("part",), max_frame_bytes=1 << 20, longest_batch_ms=1.0, ping_s=PING_S)


def frame_parts(seq: int) -> list[bytes]:
    return [FRAME, header(seq).to_bytes(), frame(seq).payload]


class Dialled:
    """A link, and a ROUTER that it dials; every message is there as soon as it is sent."""

    def __init__(self) -> None:
        self.context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self.router = self.context.socket(zmq.ROUTER)
        self.router.bind("inproc://work")
        camera = CameraSettings(endpoint="inproc://work", recipe="part")
        self.link = Link(self.context, "cam1", camera, SETTINGS, share=1)
        self.now = time.monotonic()
        self.peer = b""

    def keep_up(self, *, leaving: bool = False) -> list[Message]:
        """What the link says of its own accord."""
        self.link.keep_up(self.now, alive=True, paused=False, leaving=leaving)
        return self.said()

    def said(self) -> list[Message]:
        messages = []
        while self.router.poll(0):
            self.peer, *parts = self.router.recv_multipart()
            messages.append(decode(parts, FROM_WORKER))
        return messages

    def hears(self, parts: list[bytes]) -> list[ReceivedFrame | GoneFrame]:
        """What the link hands on when its publisher says so."""
        self.router.send_multipart([self.peer, *parts])
        return list(self.link.receive(self.now))

    def is_silent(self) -> list[ReceivedFrame | GoneFrame]:
        socket = self.link.socket
        for _ in range(DEAF_AFTER_PONGS + 1):
            self.now += PING_S
            if self.link.socket is socket:
                self.link.keep_up(self.now, alive=True, paused=False, leaving=self.link.tie is Tie.LEAVING)
        return []

    def shuts_out(self) -> list[ReceivedFrame | GoneFrame]:
        self.router.close(linger=0)
        wait_until(lambda: not self.link.socket.poll(0, zmq.POLLOUT), what="the socket notices")
        for later in (PING_S, PING_S + SHUT_OUT_S + 0.1):
            self.link.keep_up(time.monotonic() + later, alive=True, paused=False, leaving=self.link.tie is Tie.LEAVING)
        return []

    def close(self) -> None:
        self.context.destroy(linger=0)


@pytest.fixture
def dialled() -> Iterator[Dialled]:
    made = Dialled()
    yield made
    made.close()


def brought(dialled: Dialled, tie: Tie) -> None:
    """The link stands so, and has granted credit for one frame."""
    said = dialled.keep_up()
    assert [type(message) for message in said] == [Hello, Credit, Ping]
    if tie is not Tie.GREETING:
        dialled.hears(encode(Pong(ping_mono_us=1, mono_us=1)))
    if tie is Tie.DIALLING:
        dialled.hears(encode(Who()))
    if tie is Tie.LEAVING:
        assert dialled.keep_up(leaving=True) == [Bye()]
    if tie is Tie.REFUSED:
        dialled.hears(encode(Refused(why="not here")))
    assert dialled.link.tie is tie


def again(dialled: Dialled, parts: list[bytes]) -> list[ReceivedFrame | GoneFrame]:
    assert len(dialled.hears(parts)) == 1
    return dialled.hears(parts)


CAUSES: dict[Arrival, Callable[[Dialled], list[ReceivedFrame | GoneFrame]]] = {
    Arrival.FRAME: lambda dialled: dialled.hears(frame_parts(0)),
    Arrival.FRAME_AGAIN: lambda dialled: again(dialled, frame_parts(0)),
    Arrival.FRAME_BAD: lambda dialled: dialled.hears([FRAME, b'{"camera": "cam1"', b""]),
    Arrival.FRAME_UNASKED: lambda dialled: [dialled.hears(frame_parts(seq)) for seq in (0, 1)][1],
    Arrival.GONE: lambda dialled: dialled.hears(encode(Gone(reason="lost", frames=(tag(0),)))),
    Arrival.GONE_BAD: lambda dialled: dialled.hears(encode(Gone(reason="lost", frames=(tag(0, camera="cam2"),)))),
    Arrival.PONG: lambda dialled: dialled.hears(encode(Pong(ping_mono_us=1, mono_us=1))),
    Arrival.WHO: lambda dialled: dialled.hears(encode(Who())),
    Arrival.REFUSED: lambda dialled: dialled.hears(encode(Refused(why="not here"))),
    Arrival.GARBAGE: lambda dialled: dialled.hears([b"2F", b"{}", b""]),
    Arrival.SILENCE: lambda dialled: dialled.is_silent(),
    Arrival.SHUT_OUT: lambda dialled: dialled.shuts_out(),
}
CELLS = [cell for cell in itertools.product(Tie, Arrival) if cell != (Tie.DIALLING, Arrival.SILENCE)]


@pytest.mark.parametrize(("tie", "arrival"), CELLS, ids=lambda part: part.name)
def test_what_a_link_does_is_what_the_table_says(dialled: Dialled, tie: Tie, arrival: Arrival) -> None:
    brought(dialled, tie)
    socket = dialled.link.socket
    taken = CAUSES[arrival](dialled)
    refused = sum(dialled.link.admission.refusals.values())
    if arrival in (Arrival.SILENCE, Arrival.SHUT_OUT):
        redialled = LINKS[tie, arrival] is Step.REDIAL
        assert (socket.closed, dialled.link.socket is not socket) == (redialled, redialled)
        if arrival is Arrival.SILENCE:  # after SHUT_OUT, HELLO may be out again within the same turn
            assert dialled.link.tie is (Tie.DIALLING if redialled else tie)
        return
    said, after = dialled.said(), dialled.link.tie
    match LINKS[tie, arrival]:
        case Step.STAY:
            assert (taken, said, after, refused) == ([], [], tie, 0)
        case Step.TAKE:
            assert (len(taken), said, after, refused) == (1, [], tie, 0)
            assert len(dialled.link.held) == 1
        case Step.BAD:
            assert (taken, said, after, refused) == ([], [Bad(n=1)], tie, 1)
        case Step.HAND_BACK:
            assert isinstance(said[0], Busy)
            assert (taken, said[0].id, after, refused) == ([], str(tag(1).id), tie, 1)
        case Step.COUNT:
            assert (taken, said, after, refused) == ([], [], tie, 1)
        case Step.SET_CLOCK:
            assert (taken, said, refused) == ([], [], 0)
            assert after is (Tie.GREETED if tie is Tie.GREETING else tie)
        case Step.GREET:
            assert (taken, said, after, refused) == ([], [], Tie.DIALLING, 0)
            leaving = tie is Tie.LEAVING
            answer = [type(message) for message in dialled.keep_up(leaving=leaving)]
            assert answer == ([Hello, Bye, Ping] if leaving else [Hello, Credit, Ping])
        case Step.STOP:
            assert (taken, said, after, refused) == ([], [], Tie.REFUSED, 0)
            dialled.now += 10 * PING_S
            assert dialled.keep_up() == []
        case Step.REDIAL:
            pytest.fail("only silence and a closed door make a link dial again")


def test_a_publisher_that_is_not_there_is_dialled_on_the_same_socket() -> None:
    """The one cell without a publisher: no HELLO can go out, so no PONG is missed."""
    with zmq.Context() as context:
        nobody = CameraSettings(endpoint="tcp://127.0.0.1:9", recipe="part")
        link = Link(context, "cam1", nobody, SETTINGS, share=1)
        socket = link.socket
        for turn in range(10):
            link.keep_up(time.monotonic() + turn * SHUT_OUT_S / 20, alive=True, paused=False)
        assert (link.tie, link.socket) == (Tie.DIALLING, socket)
        assert LINKS[Tie.DIALLING, Arrival.SILENCE] is Step.STAY
        socket.close(linger=0)


def test_every_tie_and_arrival_has_its_answer() -> None:
    assert LINKS.keys() == set(itertools.product(Tie, Arrival))
    assert set(LINKS.values()) == set(Step), "a step that is never taken"
    for message in FROM_PUBLISHER:
        assert Arrival[message.__name__.upper()] in {arrival for _, arrival in LINKS}


def test_several_whos_make_one_hello(dialled: Dialled) -> None:
    """A second HELLO would take back the frames that the first one brought, and cost them an attempt."""
    brought(dialled, Tie.GREETED)
    dialled.hears(encode(Who()))
    assert [type(message) for message in dialled.keep_up()] == [Hello, Credit, Ping]
    dialled.hears(encode(Who()))
    assert len(dialled.hears(frame_parts(0))) == 1
    assert dialled.keep_up() == []
    dialled.hears(encode(Pong(ping_mono_us=1, mono_us=1)))
    dialled.hears(encode(Who()))
    assert [type(message) for message in dialled.keep_up()] == [Hello, Ping]


def test_a_hello_that_was_lost_is_made_good_by_dialling_again(dialled: Dialled) -> None:
    brought(dialled, Tie.GREETING)
    old = dialled.peer
    dialled.hears(encode(Who()))
    dialled.is_silent()
    assert dialled.link.tie is Tie.DIALLING
    dialled.said()
    assert [type(message) for message in dialled.keep_up()] == [Hello, Credit, Ping]
    assert dialled.peer != old


def test_a_worker_whose_work_loop_hangs_asks_for_nothing(dialled: Dialled) -> None:
    brought(dialled, Tie.GREETED)
    dialled.hears(encode(Who()))
    dialled.link.keep_up(dialled.now, alive=False, paused=False)
    assert dialled.said() == []
    assert dialled.keep_up() != []


def test_a_publisher_that_floods_its_socket_gets_no_more_than_its_turn(dialled: Dialled) -> None:
    """The other publishers' turn comes after it, and then its own again: what it sent is not lost."""
    brought(dialled, Tie.GREETED)
    for _ in range(MESSAGES_A_TURN + 10):
        dialled.router.send_multipart([dialled.peer, b"1O", b"{", b""])
    for expected in (MESSAGES_A_TURN, MESSAGES_A_TURN + 10):
        assert list(dialled.link.receive(dialled.now)) == []
        assert dialled.link.admission.refusals["garbage"] == expected


def test_hello_names_the_bytes_that_a_worker_wants_in_flight(dialled: Dialled) -> None:
    hello = dialled.keep_up()[0]
    assert isinstance(hello, Hello)
    assert hello.credit_bytes == SETTINGS.credit_bytes


@pytest.mark.parametrize("mono_us", [0, 2**53])
def test_a_clock_that_makes_no_sense_does_not_make_a_frame_younger(dialled: Dialled, mono_us: int) -> None:
    brought(dialled, Tie.GREETED)
    dialled.hears(encode(Pong(ping_mono_us=2**53, mono_us=mono_us)))  # answered before it was asked
    dialled.hears(encode(Pong(ping_mono_us=int(dialled.now * 1e6), mono_us=mono_us)))
    (taken,) = dialled.hears(frame_parts(0))
    assert isinstance(taken, ReceivedFrame)
    assert taken.wire_us >= taken.header.age_us


@pytest.mark.parametrize("tie", [Tie.GREETING, Tie.GREETED])
def test_other_recipes_are_told_in_another_hello_that_lists_what_is_held(dialled: Dialled, tie: Tie) -> None:
    brought(dialled, tie)
    (taken,) = dialled.hears(frame_parts(0))
    assert isinstance(taken, ReceivedFrame)
    dialled.link.offer(replace(SETTINGS, recipes=("lid", "part")))
    hello, *rest = dialled.keep_up()
    assert isinstance(hello, Hello)
    assert hello.recipes == ("lid", "part")
    assert hello.held == (str(taken.header.id),)
    assert [type(message) for message in rest] == [Ping]  # it has room for one frame, and holds one
    assert dialled.keep_up() == []


@pytest.mark.parametrize("tie", [Tie.LEAVING, Tie.REFUSED])
def test_a_publisher_that_is_left_or_wants_none_of_a_worker_is_told_of_no_recipes(dialled: Dialled, tie: Tie) -> None:
    brought(dialled, tie)
    dialled.link.offer(replace(SETTINGS, recipes=("lid", "part")))
    assert not any(isinstance(message, Hello) for message in dialled.keep_up(leaving=tie is Tie.LEAVING))
    assert dialled.link.tie is tie


def test_a_frame_that_was_on_its_way_while_a_worker_greeted_again_is_taken(dialled: Dialled) -> None:
    """It was asked for: that the publisher sends as many again must not make it one too many."""
    brought(dialled, Tie.GREETED)
    dialled.link.offer(replace(SETTINGS, recipes=("lid", "part")))
    assert [type(message) for message in dialled.keep_up()] == [Hello, Credit, Ping]
    for seq in (0, 1):  # the one that was on its way, and the one that the new credit asks for
        (taken,) = dialled.hears(frame_parts(seq))
        assert isinstance(taken, ReceivedFrame)
    assert dialled.hears(frame_parts(2)) == []
    assert dialled.link.admission.refusals["credit"] == 1
