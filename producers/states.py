"""Every state, all that can happen in it, and what is done then. DESIGN: "From camera to worker".

Three tables, and the code follows them: `FRAMES` is looked up by `producers.retention` for each frame that is kept,
`PEERS` by `producers.dispatch` for each message that reaches a publisher, `LINKS` by `worker.link` for all that
reaches a worker. A state without a column is an error at import, an event without a row one in the tests.
"""

from collections.abc import Mapping
from enum import Enum
from typing import TypeVar

from producers.protocol import GoneReason


class Word(Enum):
    """Members are looked up in a table several times a frame: they hash as the single objects that they are."""

    __hash__ = object.__hash__


_S = TypeVar("_S", bound=Enum)
_E = TypeVar("_E", bound=Enum)
_A = TypeVar("_A", bound=Enum)


def _table(states: type[_S], rows: Mapping[_E, tuple[_A, ...]]) -> dict[tuple[_S, _E], _A]:
    return {(state, event): act for event, row in rows.items() for state, act in zip(states, row, strict=True)}


# -- a frame beside the camera ---------------------------------------------------------------------------------------


class State(Word):
    """Where a frame is that is kept. Once its verdict is stored it is forgotten."""

    WAITING = "waits for a worker"
    SENT = "a worker has its pixels"
    JUDGED = "a worker has its verdict, which waits for Redis; its pixels go when others need the room"
    GONE = "given up, only the header is kept; no worker is asked for its verdict yet"
    REPORTED = "given up, and a worker is asked to write its verdict"


class Event(Word):
    """What can happen to a frame. What a worker says of one counts only if that worker has it."""

    DUE = "a worker is chosen for it"
    JUDGED = "DONE, judged"
    STORED = "DONE, stored"
    BUSY = "BUSY"
    BAD = "BAD"
    HELD = "its worker says HELLO again and lists it as held"
    DROPPED = "its worker is dead, or says HELLO again and does not list it"
    OVERDUE = "its worker has said nothing of it for the ack timeout"
    EXPIRED = "its budget is over"
    UNFIT = "it is larger than what any worker that knows its recipe takes"
    SQUEEZED = "retention is full and it has the oldest pixels"
    ABANDONED = "nobody will come for what no worker has"


class Act(Word):
    """What is done with a frame."""

    STAY = "nothing"
    SEND = "FRAME; it is SENT"
    SPARE_PIXELS = "its pixels may go; it is JUDGED"
    FORGET = "it is forgotten: its verdict is stored"
    FOLLOW = "it stays with its worker, at that one's new address"
    TAKE_BACK = "it is WAITING, one attempt more; after the last, or without pixels, GONE as worker_error or lost"
    GIVE_UP = "its pixels go; it is GONE, for the reason in REASONS"
    DROP_PIXELS = "its pixels go; its worker has them, so it keeps its chance"
    REPORT = "GONE; it is REPORTED"
    REPORT_AGAIN = "it is GONE, for another worker to be asked"


def _frames() -> dict[tuple[State, Event], Act]:
    stay, give_up, back, again = Act.STAY, Act.GIVE_UP, Act.TAKE_BACK, Act.REPORT_AGAIN
    forget, follow, spare = Act.FORGET, Act.FOLLOW, Act.SPARE_PIXELS
    # fmt: off
    return _table(State, {
        #                 WAITING   SENT             JUDGED   GONE        REPORTED
        Event.DUE:       (Act.SEND, stay,            stay,    Act.REPORT, stay),
        Event.JUDGED:    (stay,     spare,           stay,    stay,       stay),
        Event.STORED:    (stay,     forget,          forget,  stay,       forget),
        Event.BUSY:      (stay,     back,            stay,    stay,       stay),
        Event.BAD:       (stay,     give_up,         stay,    stay,       stay),
        Event.HELD:      (stay,     follow,          follow,  stay,       follow),
        Event.DROPPED:   (stay,     back,            back,    stay,       again),
        Event.OVERDUE:   (stay,     back,            stay,    stay,       again),
        Event.EXPIRED:   (give_up,  stay,            stay,    stay,       stay),
        Event.UNFIT:     (give_up,  stay,            stay,    stay,       stay),
        Event.SQUEEZED:  (give_up,  Act.DROP_PIXELS, stay,    stay,       stay),
        Event.ABANDONED: (give_up,  stay,            stay,    stay,       stay),
    })
    # fmt: on


FRAMES = _frames()

REASONS: dict[Event, GoneReason] = {
    Event.BAD: "bad_frame",
    Event.EXPIRED: "expired",
    Event.UNFIT: "bad_frame",
    Event.SQUEEZED: "lost",
    Event.ABANDONED: "lost",
}
"""Why a frame is given up; `no_recipe` instead of `expired` and `lost` where no worker knows its recipe."""


# -- a worker, as its publisher sees it ------------------------------------------------------------------------------


class Standing(Word):
    """What a publisher knows of a peer."""

    UNKNOWN = "never greeted, or believed dead"
    PRESENT = "has said HELLO and pings"
    LEAVING = "has said BYE: it keeps what it has and gets nothing more"


class Heard(Word):
    """What a peer can send a publisher."""

    HELLO = "HELLO for this camera"
    HELLO_ELSEWHERE = "HELLO for another camera"
    HELLO_SUPERSEDED = "HELLO of a worker whose name a later start has taken"
    HELLO_TOO_MANY = "HELLO of one worker more than a publisher knows at most"
    CREDIT = "CREDIT"
    PING = "PING"
    DONE = "DONE"
    BUSY = "BUSY"
    BAD = "BAD"
    BYE = "BYE"
    GARBAGE = "no message of this protocol"
    OTHER_VERSION = "a message of another version of this protocol"


class Answer(Word):
    """What a publisher does about it."""

    GREET = "it is PRESENT, without credit; its frames are HELD or DROPPED"
    REFUSE = "REFUSED, with the reason"
    ASK = "WHO"
    CREDIT = "it lives, and may be sent frames up to this total"
    PONG = "likewise; PONG"
    DONE = "its frames are JUDGED or STORED; if it grants any, likewise"
    BUSY = "its frame is BUSY"
    BAD = "its n-th frame since HELLO is BAD"
    LET_GO = "it is LEAVING"
    COUNT = "counted as refused, no answer"


def _peers() -> dict[tuple[Standing, Heard], Answer]:
    ask = Answer.ASK
    # fmt: off
    return _table(Standing, {
        #                       UNKNOWN        PRESENT        LEAVING
        Heard.HELLO:            (Answer.GREET,  Answer.GREET,  Answer.GREET),
        Heard.HELLO_ELSEWHERE:  (Answer.REFUSE, Answer.REFUSE, Answer.REFUSE),
        Heard.HELLO_SUPERSEDED: (Answer.REFUSE, Answer.REFUSE, Answer.REFUSE),
        Heard.HELLO_TOO_MANY:   (Answer.COUNT,  Answer.GREET,  Answer.GREET),
        Heard.CREDIT:           (ask,           Answer.CREDIT, Answer.CREDIT),
        Heard.PING:             (ask,           Answer.PONG,   Answer.PONG),
        Heard.DONE:             (ask,           Answer.DONE,   Answer.DONE),
        Heard.BUSY:             (ask,           Answer.BUSY,   Answer.BUSY),
        Heard.BAD:              (ask,           Answer.BAD,    Answer.BAD),
        Heard.BYE:              (ask,           Answer.LET_GO, Answer.LET_GO),
        Heard.GARBAGE:          (Answer.COUNT,  Answer.COUNT,  Answer.COUNT),
        Heard.OTHER_VERSION:    (Answer.REFUSE, Answer.REFUSE, Answer.REFUSE),
    })
    # fmt: on


PEERS = _peers()


# -- a publisher, as its worker sees it ------------------------------------------------------------------------------


class Tie(Word):
    """How a worker stands with a publisher that it dials."""

    DIALLING = "no HELLO is out: the publisher isn't there yet, asked WHO, or is to learn of other recipes"
    GREETING = "HELLO is out, no PONG has come back"
    GREETED = "the publisher knows this worker"
    LEAVING = "HELLO and BYE are out: no credit any more"
    REFUSED = "the publisher wants none of this worker: it is not asked again"


class Arrival(Word):
    """What can come from a publisher, or fail to."""

    FRAME = "FRAME, within all bounds"
    FRAME_AGAIN = "FRAME that is held already"
    FRAME_BAD = "FRAME that can't be read, or claims what it may not"
    FRAME_UNASKED = "FRAME beyond the credit that was granted"
    GONE = "GONE, for each frame that is not held already"
    GONE_BAD = "GONE, for each frame that claims what it may not or finds no room"
    PONG = "PONG"
    WHO = "WHO"
    REFUSED = "REFUSED"
    GARBAGE = "no message of this protocol and version"
    SILENCE = "three PINGs without a PONG"
    SHUT_OUT = "nothing could be sent for three seconds: nobody is there, or lets this worker in"


class Step(Word):
    """What a worker does about it."""

    STAY = "nothing"
    TAKE = "it is held, and handed on"
    BAD = "counted; BAD n: the publisher ends it as bad_frame"
    HAND_BACK = "counted; BUSY: somebody else has room"
    COUNT = "counted as refused, no answer; the publisher asks again after its ack timeout"
    SET_CLOCK = "the publisher's clock is known; while GREETING: it is GREETED"
    GREET = "it is DIALLING: HELLO goes out next"
    STOP = "it is REFUSED"
    REDIAL = "the socket is closed and a new one DIALLING: this one may be deaf for ever"


def _links() -> dict[tuple[Tie, Arrival], Step]:
    stay, take, bad, back, count = Step.STAY, Step.TAKE, Step.BAD, Step.HAND_BACK, Step.COUNT
    clock, stop, greet, redial = Step.SET_CLOCK, Step.STOP, Step.GREET, Step.REDIAL
    # fmt: off
    return _table(Tie, {
        #                       DIALLING GREETING GREETED LEAVING REFUSED
        Arrival.FRAME:         (take,    take,    take,   take,   take),
        Arrival.FRAME_AGAIN:   (stay,    stay,    stay,   stay,   stay),
        Arrival.FRAME_BAD:     (bad,     bad,     bad,    bad,    bad),
        Arrival.FRAME_UNASKED: (back,    back,    back,   back,   back),
        Arrival.GONE:          (take,    take,    take,   take,   take),
        Arrival.GONE_BAD:      (count,   count,   count,  count,  count),
        Arrival.PONG:          (stay,    clock,   clock,  clock,  stay),
        Arrival.WHO:           (stay,    stay,    greet,  greet,  stay),  # while GREETING: asked before HELLO came
        Arrival.REFUSED:       (stop,    stop,    stop,   stop,   stay),
        Arrival.GARBAGE:       (count,   count,   count,  count,  count),
        Arrival.SILENCE:       (stay,    redial,  redial, redial, stay),
        Arrival.SHUT_OUT:      (redial,  redial,  redial, redial, stay),
    })
    # fmt: on


LINKS = _links()
