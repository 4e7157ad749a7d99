"""`producers.protocol`: every message onto the wire and back, and nothing else off it."""

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from producers.errors import ProtocolError
from producers.frame import FrameTag
from producers.protocol import (
    FROM_PUBLISHER,
    FROM_WORKER,
    MAX_CONTROL_BYTES,
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

SESSION = "0f8fad5b-d9cb-469f-a165-70867728950e"
FUZZ = settings(max_examples=120, deadline=None)
KINDS = [message.kind for message in (*FROM_WORKER, *FROM_PUBLISHER)]

counts = st.integers(0, 2**53)
frame_ids = st.lists(st.text(max_size=128), max_size=5).map(tuple)
tags = st.builds(
    FrameTag,
    camera=st.just("cam1"),
    session=st.just(SESSION),
    seq=counts,
    captured_ns=st.integers(0, 2**63 - 1),
    budget_ms=st.none() | st.floats(0.1, 1e6),
    part_id=st.none() | st.text(max_size=20),
    simulated=st.booleans(),
    attempt=st.integers(1, 255),
)
hellos = st.builds(
    Hello,
    name=st.text(min_size=1, max_size=128),
    incarnation=st.text(min_size=1, max_size=64),
    camera=st.just("cam1"),
    recipes=st.just(("part", "lid.v2")),
    max_frame_bytes=counts,
    longest_batch_ms=st.floats(0, 3_600_000),
    held=frame_ids,
)
from_worker: st.SearchStrategy[Message] = st.one_of(
    hellos,
    st.builds(Credit, total=counts),
    st.builds(Ping, mono_us=counts, total=counts, held=counts),
    st.builds(Done, stored=frame_ids, judged=frame_ids),
    st.builds(Busy, id=st.text(max_size=128), why=st.text(max_size=256)),
    st.builds(Bad, n=counts),
    st.just(Bye()),
)
from_publisher: st.SearchStrategy[Message] = st.one_of(
    st.builds(
        Gone,
        reason=st.sampled_from(["expired", "bad_frame", "no_recipe", "worker_error", "lost"]),
        frames=st.lists(tags, max_size=3).map(tuple),
    ),
    st.builds(Pong, ping_mono_us=counts, mono_us=counts),
    st.just(Who()),
    st.builds(Refused, why=st.text(max_size=256)),
)


def hello_with(**changes: Any) -> list[bytes]:
    fields = {
        "name": "w1",
        "incarnation": "first",
        "camera": "cam1",
        "recipes": ["part"],
        "max_frame_bytes": 1,
        "longest_batch_ms": 1.0,
        **changes,
    }
    return [b"1H", json.dumps(fields).encode(), b""]


@FUZZ
@given(message=from_worker)
def test_what_a_worker_says_comes_back_as_it_went(message: Message) -> None:
    assert decode(encode(message), FROM_WORKER) == message


@FUZZ
@given(message=from_publisher)
def test_what_a_publisher_says_comes_back_as_it_went(message: Message) -> None:
    assert decode(encode(message), FROM_PUBLISHER) == message


def test_every_kind_is_the_version_and_a_letter_of_its_own() -> None:
    assert len(set(KINDS)) == len(KINDS)
    assert {kind[:1] for kind in KINDS} == {b"1"}


def test_lists_travel_in_the_payload_and_all_else_in_the_header() -> None:
    kind, header, payload = encode(Done(stored=("a", "b"), judged=(), total=9))
    assert (kind, json.loads(header)) == (b"1D", {"total": 9, "least_ms": 0})
    assert json.loads(payload) == {"stored": ["a", "b"], "judged": []}
    kind, header, payload = encode(Ping(mono_us=1, total=2, held=3, least_ms=4))
    assert (kind, json.loads(header), payload) == (b"1P", {"mono_us": 1, "total": 2, "held": 3, "least_ms": 4}, b"")
    assert encode(Bye()) == [b"1Q", b"{}", b""]


def test_each_side_refuses_what_only_the_other_may_say() -> None:
    with pytest.raises(ProtocolError, match="1W"):
        decode(encode(Who()), FROM_WORKER)
    with pytest.raises(ProtocolError, match="1Q"):
        decode(encode(Bye()), FROM_PUBLISHER)


def test_a_message_of_another_protocol_version_is_refused() -> None:
    with pytest.raises(ProtocolError, match="2Q"):
        decode([b"2Q", b"{}", b""], FROM_WORKER)


@FUZZ
@given(parts=st.lists(st.binary(max_size=50), max_size=5))
def test_random_parts_are_a_protocol_error(parts: list[bytes]) -> None:
    with pytest.raises(ProtocolError):
        decode(parts, FROM_WORKER)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=10),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


@FUZZ
@given(kind=st.sampled_from(KINDS), header=json_values, payload=json_values | st.none())
def test_any_json_is_a_message_or_a_protocol_error(kind: bytes, header: object, payload: object) -> None:
    try:
        parts = [kind, json.dumps(header).encode(), json.dumps(payload).encode()]
        assert isinstance(decode(parts, (*FROM_WORKER, *FROM_PUBLISHER)), Message)
    except ProtocolError as error:
        said = str(error)
    else:
        said = "it was read"
    assert "\n" not in said


@FUZZ
@given(message=from_worker | from_publisher, data=st.data())
def test_a_damaged_message_is_a_message_or_a_protocol_error(message: Message, data: st.DataObject) -> None:
    parts = encode(message)
    for _ in range(data.draw(st.integers(1, 4))):
        which = data.draw(st.integers(1, 2))
        damaged = bytearray(parts[which])
        at = data.draw(st.integers(0, len(damaged)))
        damaged[at : at + data.draw(st.integers(0, 2))] = data.draw(st.binary(max_size=3))
        parts[which] = bytes(damaged)
    try:
        assert isinstance(decode(parts, (*FROM_WORKER, *FROM_PUBLISHER)), Message)
    except ProtocolError as error:
        said = str(error)
    else:
        said = "it was read"
    assert said


@pytest.mark.parametrize(
    "header",
    [
        b"[" * 100_000,
        b"1" * 5000,
        b'{"total": 1e999}',
        b'{"total": NaN}',
        b'{"total": true}',
        b'{"total": "5"}',
        b'{"total": -1}',
        b'{"total": 9007199254740993}',
        b'{"total": 1, "extra": 1}',
        b'{"total": 1, "\\ud800": 1}',
        b'"total"',
        b"null",
        b"\xff\xfe\x00",
        b"",
    ],
    ids=lambda header: repr(header[:24]),
)
def test_a_credit_that_is_none_is_a_protocol_error(header: bytes) -> None:
    with pytest.raises(ProtocolError):
        decode([b"1C", header, b""], FROM_WORKER)


@pytest.mark.parametrize(
    "changes",
    [
        {"longest_batch_ms": float("nan")},
        {"longest_batch_ms": float("inf")},
        {"longest_batch_ms": -1},
        {"name": ""},
        {"name": "\ud800"},
        {"name": "x" * 129},
        {"camera": "../cam"},
        {"recipes": ["../part"]},
        {"recipes": "part"},
        {"max_frame_bytes": -1},
        {"max_frame_bytes": 1.5},
        {"held": ["x" * 129]},
    ],
    ids=str,
)
def test_a_hello_with_a_value_out_of_range_is_a_protocol_error(changes: dict[str, object]) -> None:
    assert isinstance(decode(hello_with(), FROM_WORKER), Hello)
    with pytest.raises(ProtocolError):
        decode(hello_with(**changes), FROM_WORKER)


def test_a_protocol_error_names_the_field_that_is_wrong() -> None:
    with pytest.raises(ProtocolError, match="longest_batch_ms"):
        decode(hello_with(longest_batch_ms=-1), FROM_WORKER)


def test_a_message_above_its_limit_is_refused_before_it_is_parsed() -> None:
    with pytest.raises(ProtocolError, match="MiB at most"):
        decode([b"1D", b"{}", b" " * MAX_CONTROL_BYTES], FROM_WORKER)


@pytest.mark.parametrize(
    "message",
    [
        lambda held: Done(stored=held),
        lambda held: Hello(
            name="w1", incarnation="1", camera="cam1", recipes=(), max_frame_bytes=1, longest_batch_ms=1, held=held
        ),
    ],
    ids=["done", "hello"],
)
def test_a_worker_that_holds_all_the_verdicts_it_may_can_still_say_so(message: Any) -> None:
    """20,000 verdicts may wait for Redis (`hold_verdicts`), and ids are long where cameras are well named.

    A list that the publisher refuses makes the worker seem dead just when Redis is away.
    """
    held = tuple(f"line3-station-12/{SESSION}/{12_000_000 + n}" for n in range(20_000))
    assert decode(encode(message(held)), FROM_WORKER) == message(held)
