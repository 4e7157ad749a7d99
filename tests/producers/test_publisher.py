"""`producers.publisher` over real sockets: what a worker is sent, and what becomes of a frame by what it answers."""

import threading
import time
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from producers.dispatch import QUIET_S
from producers.errors import BadFrame
from producers.frame import decode
from producers.protocol import Hello, Refused, Who
from producers.publisher import FramePublisher, PublisherSettings
from tests.producers.conftest import Dial, Publish
from tests.producers.scripted_worker import wait_until

PICTURE = np.arange(4 * 6 * 3, dtype=np.uint8).reshape(4, 6, 3)


def publish_some(publisher: FramePublisher, count: int) -> list[str]:
    """Publishes frames, waits until the publisher's thread has them, returns their ids."""
    before = publisher.counts()["captured"]
    names = [str(publisher.publish(PICTURE)) for _ in range(count)]
    wait_until(lambda: publisher.counts()["captured"] == before + count, what="the publisher has the frames")
    return names


def wait_open(publisher: FramePublisher, count: int) -> None:
    wait_until(lambda: publisher.counts()["open"] == count, what=f"{count} frames are open")


def ids_of(arrivals: list[Any]) -> list[str]:
    """Of the frames among them."""
    return [str(arrival[0].id) for arrival in arrivals if isinstance(arrival, tuple)]


# -- a frame on its way ----------------------------------------------------------------------------------------------


def test_a_worker_with_credit_is_sent_the_frame_as_it_was_published(publish: Publish, dial: Dial) -> None:
    publisher, worker = publish(budget_ms=60_000, simulated=False), dial()
    worker.hello(credit=1)
    before_us = time.monotonic() * 1e6
    name = publisher.publish(PICTURE, part_id="A-1042", trigger=7, view="top", meta={"shift": "early"})
    header, payload = worker.frame()
    assert header.id == name
    assert (header.camera, header.session, header.seq) == ("cam1", publisher.session, 0)
    assert (header.recipe, header.part_id, header.trigger, header.view) == ("part", "A-1042", 7, "top")
    assert (header.budget_ms, header.simulated, header.attempt, header.meta) == (60_000, False, 1, {"shift": "early"})
    assert (header.encoding, header.shape, header.dtype, header.color) == ("raw", (4, 6, 3), "uint8", "bgr")
    assert before_us - 1 <= header.sent_mono_us <= time.monotonic() * 1e6
    assert 0 <= header.age_us <= header.sent_mono_us - before_us + 1000
    assert abs(header.captured_ns - time.time_ns()) < 60e9
    assert np.array_equal(decode(header, payload), PICTURE[:, :, ::-1])


def test_seq_counts_captured_frames_without_gaps(publish: Publish, dial: Dial) -> None:
    publisher, worker = publish(), dial()
    worker.hello(credit=9)
    publisher.publish(PICTURE)
    with pytest.raises(BadFrame):
        publisher.publish(np.zeros((4, 4, 5), np.uint8))
    publisher.give_up("bad_frame", part_id="torn")
    publisher.publish(PICTURE)
    arrivals = [worker.receive() for _ in range(3)]
    seqs = [arrival[0].seq for arrival in arrivals if isinstance(arrival, tuple)]
    tags = [tag for arrival in arrivals if not isinstance(arrival, tuple) for tag in arrival.model_dump()["frames"]]
    assert sorted([*seqs, *(tag["seq"] for tag in tags)]) == [0, 1, 2]
    assert [(tag["seq"], tag["part_id"]) for tag in tags] == [(1, "torn")]


@pytest.mark.parametrize(
    "fields", [{"part_id": "x" * 257}, {"trigger": -1}, {"view": "x" * 65}, {"part_id": "\ud800"}], ids=ascii
)
def test_what_no_header_can_carry_is_a_bad_frame_and_none_is_captured(publish: Publish, fields: dict[str, Any]) -> None:
    publisher = publish()
    with pytest.raises(BadFrame):
        publisher.publish(PICTURE, **fields)
    assert publisher.publish(PICTURE).seq == 0


# -- credit ----------------------------------------------------------------------------------------------------------


def test_nothing_is_sent_without_credit(publish: Publish, dial: Dial) -> None:
    publisher, worker = publish(), dial()
    worker.hello()
    publish_some(publisher, 2)
    assert worker.settle() == []
    worker.grant(1)
    assert worker.frame()[0].seq == 0
    assert worker.settle() == []


def test_credit_is_a_running_total_that_also_comes_with_ping(publish: Publish, dial: Dial) -> None:
    publisher, worker = publish(), dial()
    worker.hello(credit=2)
    publish_some(publisher, 5)
    assert [worker.frame()[0].seq for _ in range(2)] == [0, 1]
    worker.grant(2)
    assert worker.settle() == []
    worker.total = 4
    assert len(ids_of(worker.settle())) == 2
    assert worker.settle() == []


def test_two_workers_share_the_frames_and_none_gets_more_than_its_credit(publish: Publish, dial: Dial) -> None:
    publisher, first, second = publish(), dial(), dial(name="w2")
    names = publish_some(publisher, 5)
    first.hello(credit=3)
    second.hello(credit=2)
    got = [str(first.frame()[0].id) for _ in range(3)], [str(second.frame()[0].id) for _ in range(2)]
    assert sorted(got[0] + got[1]) == sorted(names)
    assert first.settle() == second.settle() == []


# -- answers ---------------------------------------------------------------------------------------------------------


def test_stored_releases_the_frame(publish: Publish, dial: Dial) -> None:
    publisher, worker = publish(), dial()
    worker.hello(credit=2)
    names = publish_some(publisher, 2)
    worker.frame()
    worker.stored(names[0])
    wait_open(publisher, 1)
    worker.stored(names[0], names[1])
    wait_open(publisher, 0)
    assert publisher.counts()["stored"] == 2
    assert publisher.drain(0.1) == 0


def test_done_from_a_worker_that_was_not_sent_the_frame_changes_nothing(publish: Publish, dial: Dial) -> None:
    publisher, worker, stranger = publish(), dial(), dial(name="stranger")
    worker.hello(credit=1)
    (name,) = publish_some(publisher, 1)
    worker.frame()
    stranger.hello()
    other_session = name.replace(publisher.session, "0f8fad5b-d9cb-469f-a165-70867728950e")
    stranger.stored(name, other_session, "nonsense")
    stranger.judged(name)
    stranger.busy(name)
    stranger.bad(1)
    worker.stored(other_session)
    stranger.settle()
    worker.settle()
    assert publisher.counts()["open"] == 1
    assert publisher.counts()["judged"] == publisher.counts()["resent"] == publisher.counts()["gone"] == 0
    worker.stored(name)
    wait_open(publisher, 0)


def test_judged_makes_room_and_keeps_the_header(publish: Publish, dial: Dial) -> None:
    publisher, worker = publish(retain_frames=1, heartbeat_s=0.5), dial()
    worker.hello(credit=1)
    (name,) = publish_some(publisher, 1)
    worker.frame()
    worker.judged(name)
    worker.settle()
    assert publisher.counts()["judged"] == publisher.counts()["open"] == 1
    publisher.publish(PICTURE)  # there is room again
    worker.leave()
    successor = dial(name="w2")
    successor.hello()
    gone = successor.gone()
    assert gone.reason == "worker_error"
    assert [str(tag.id) for tag in gone.frames] == [name]


def test_a_silent_workers_frames_go_to_another(publish: Publish, dial: Dial) -> None:
    publisher, silent, other = publish(heartbeat_s=0.5), dial(), dial(name="w2")
    silent.hello(credit=1)
    (name,) = publish_some(publisher, 1)
    assert silent.frame()[0].attempt == 1
    other.hello(credit=1)
    header, _ = other.frame()
    assert (str(header.id), header.attempt) == (name, 2)
    other.stored(name)
    wait_open(publisher, 0)
    assert publisher.counts()["resent"] == 1


def test_a_frame_that_kills_its_workers_in_turn_ends_as_worker_error(publish: Publish, dial: Dial) -> None:
    publisher = publish(heartbeat_s=0.3, max_attempts=2)
    (name,) = publish_some(publisher, 1)
    for attempt in (1, 2):
        victim = dial(name=f"victim-{attempt}")
        victim.hello(credit=1)
        assert victim.frame()[0].attempt == attempt
        victim.leave()
    last = dial(name="last")
    last.hello(credit=1)
    gone = last.gone()
    assert (gone.reason, [str(tag.id) for tag in gone.frames]) == ("worker_error", [name])
    assert gone.frames[0].attempt == 2
    last.stored(name)
    wait_open(publisher, 0)


def test_busy_hands_the_frame_to_somebody_else(publish: Publish, dial: Dial) -> None:
    publisher, busy, other = publish(), dial(), dial(name="w2")
    busy.hello(credit=9)
    (name,) = publish_some(publisher, 1)
    busy.frame()
    other.hello(credit=1)
    other.settle()
    busy.busy(name)
    assert other.frame()[0].attempt == 2
    assert busy.settle() == []


def test_bad_ends_the_nth_frame_since_hello_as_bad_frame(publish: Publish, dial: Dial) -> None:
    publisher, worker = publish(), dial()
    worker.hello(credit=3)
    names = publish_some(publisher, 3)
    for _ in range(3):
        worker.frame()
    worker.bad(2)
    gone = worker.gone()
    assert (gone.reason, [str(tag.id) for tag in gone.frames]) == ("bad_frame", [names[1]])
    worker.stored(*names)
    wait_open(publisher, 0)


def test_a_worker_that_said_bye_gets_no_more_frames(publish: Publish, dial: Dial) -> None:
    publisher, worker = publish(), dial()
    worker.hello(credit=5)
    (name,) = publish_some(publisher, 1)
    worker.frame()
    worker.bye()
    worker.settle()
    publish_some(publisher, 1)
    assert worker.settle() == []
    worker.stored(name)
    wait_open(publisher, 1)


# -- greetings -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("what", ["ping", "credit", "done"])
def test_a_peer_that_did_not_say_hello_is_asked_who_it_is(publish: Publish, dial: Dial, what: str) -> None:
    publish()
    worker = dial()
    if what == "credit":
        worker.grant(1)
    elif what == "done":
        worker.stored("cam1/x/0")
    assert worker.receive() == Who()
    worker.hello()
    worker.settle()


def test_pong_echoes_the_pings_time_beside_the_publishers_clock(publish: Publish, dial: Dial) -> None:
    publish()
    worker = dial()
    worker.hello()
    before = time.monotonic() * 1e6
    pong = worker.pong(mono_us=123_456)
    assert pong.ping_mono_us == 123_456
    assert before - 1 <= pong.mono_us <= time.monotonic() * 1e6


def test_another_protocol_version_is_refused(publish: Publish, dial: Dial) -> None:
    publish()
    worker = dial()
    worker.send(b"2H", b"\x00", b"", b"what version 2 may look like")
    refused = worker.receive(pinging=False)
    assert isinstance(refused, Refused)
    assert "version 1" in refused.why


def test_a_worker_for_another_camera_is_refused(publish: Publish, dial: Dial) -> None:
    publisher, worker = publish(), dial(camera="cam2")
    worker.hello(credit=1)
    publish_some(publisher, 1)
    refused = worker.receive(pinging=False)
    assert isinstance(refused, Refused)
    assert "cam1" in refused.why
    assert publisher.counts()["workers"] == 0


def test_a_worker_that_dials_again_keeps_what_it_lists_as_held(publish: Publish, dial: Dial) -> None:
    publisher, before, after = publish(), dial(), dial()
    before.hello(credit=2)
    names = publish_some(publisher, 2)
    before.frame()
    before.frame()
    after.hello(held=(names[0],))
    assert after.settle() == []
    assert publisher.counts()["resent"] == 1
    after.stored(names[0])
    wait_open(publisher, 1)
    after.grant(1)
    header, _ = after.frame()
    assert (str(header.id), header.attempt) == (names[1], 2)


def test_two_workers_that_share_a_name_by_mistake_do_not_condemn_every_frame(publish: Publish, dial: Dial) -> None:
    """Each HELLO of one ends the other, which says HELLO again: a slip in a file must not reject a plant's parts."""
    publisher, twins = publish(), [dial(incarnation="of A"), dial(incarnation="of B")]
    publish_some(publisher, 1)
    held: list[set[str]] = [set(), set()]
    for turn in range(8):
        which = turn % 2
        twins[which].hello(credit=1, held=tuple(held[which]))
        held[which].update(ids_of(twins[which].settle()))
    assert publisher.counts()["gone"] == 0


def test_a_flood_of_hello_costs_no_memory_and_no_service(publish: Publish, dial: Dial) -> None:
    publisher, worker, flooder = publish(), dial(), dial(name="flooder")
    for _ in range(2000):
        flooder.say(Hello(**hello_fields("flooder")))
    worker.hello(credit=1)
    publisher.publish(PICTURE)
    worker.frame()
    flooder.settle()
    assert publisher.counts()["workers"] == 2


def hello_fields(name: str) -> dict[str, Any]:
    return {
        "name": name,
        "incarnation": "first",
        "camera": "cam1",
        "recipes": (),
        "max_frame_bytes": 0,
        "longest_batch_ms": 0.0,
    }


# -- frames that end without pixels ----------------------------------------------------------------------------------


def test_a_frame_larger_than_its_worker_takes_ends_as_bad_frame(publish: Publish, dial: Dial) -> None:
    publisher, worker = publish(), dial(max_frame_bytes=PICTURE.nbytes - 1)
    worker.hello(credit=1)
    (name,) = publish_some(publisher, 1)
    gone = worker.gone()
    assert (gone.reason, [str(tag.id) for tag in gone.frames]) == ("bad_frame", [name])


def test_a_frame_as_large_as_its_worker_takes_is_sent(publish: Publish, dial: Dial) -> None:
    publisher, worker = publish(), dial(max_frame_bytes=PICTURE.nbytes)
    worker.hello(credit=1)
    publish_some(publisher, 1)
    assert worker.frame()[0].seq == 0


def test_a_frame_whose_recipe_nobody_offers_ends_with_its_budget(publish: Publish, dial: Dial) -> None:
    publisher, worker = publish(budget_ms=200), dial(recipes=("lid",))
    worker.hello(credit=9)
    worker.settle()
    captured = time.monotonic()
    publisher.publish(PICTURE)
    gone = worker.gone()
    assert gone.reason == "no_recipe"
    assert time.monotonic() - captured >= 0.2


def test_a_frame_that_nobody_takes_in_time_ends_as_expired(publish: Publish, dial: Dial) -> None:
    publisher, worker = publish(budget_ms=100), dial()
    worker.hello()
    publisher.publish(PICTURE)
    assert worker.gone().reason == "expired"


def test_an_idle_publisher_turns_a_few_times_a_second(publisher_settings: PublisherSettings, dial: Dial) -> None:
    """A camera's processor is for the camera."""
    turns: list[float] = []
    with FramePublisher(publisher_settings, each_turn=lambda: turns.append(time.monotonic())) as publisher:
        dial().hello()
        publisher.publish(PICTURE)  # waits for credit
        time.sleep(0.5)
        before = len(turns)
        time.sleep(1)
        assert 1 < len(turns) - before < 10


def test_a_given_up_frame_is_told_again_until_its_verdict_is_stored(publish: Publish, dial: Dial) -> None:
    publisher, worker = publish(ack_timeout_s=0.2), dial()
    worker.hello()
    publisher.give_up("bad_frame", part_id="torn")
    first, second = worker.gone(), worker.gone()
    assert first == second
    worker.stored(first.frames[0].id)
    wait_open(publisher, 0)


def test_a_publisher_that_was_drained_can_go_on(publish: Publish, dial: Dial) -> None:
    publisher = publish()
    publisher.publish(PICTURE)
    assert publisher.drain(0.3) == 1
    assert publisher.counts()["gone"] == 1
    worker = dial()
    worker.hello(credit=9)
    worker.stored(worker.gone().frames[0].id)
    wait_open(publisher, 0)
    worker.total = 0
    worker.hello()  # without credit the next frame has to wait; it must not be given up
    publish_some(publisher, 1)
    time.sleep(3 * QUIET_S)
    assert publisher.counts()["gone"] == 1


def test_drain_gives_up_what_nobody_takes(publish: Publish, dial: Dial) -> None:
    publisher = publish()
    publish_some(publisher, 2)
    started = time.monotonic()
    assert publisher.drain(0.4) == 2
    assert 0.4 <= time.monotonic() - started < 5
    late = dial()
    late.hello()
    gone = late.gone()
    assert (gone.reason, [tag.seq for tag in gone.frames]) == ("lost", [0, 1])
    late.stored(*(tag.id for tag in gone.frames))
    assert publisher.drain(10.0) == 0


def test_drain_waits_for_a_slow_worker_as_long_as_it_gets_on(publish: Publish, dial: Dial) -> None:
    """Eight frames at a sixth of the timeout each: more than the timeout in all, and not one is given up."""
    publisher, worker = publish(), dial()
    worker.hello(credit=1)
    names = publish_some(publisher, 8)
    left: list[int] = []
    drain = threading.Thread(target=lambda: left.append(publisher.drain(1.5)))
    drain.start()
    for credit, name in enumerate(names, start=2):
        worker.frame()
        time.sleep(0.25)
        worker.stored(name)
        worker.grant(credit)
    drain.join(10)
    assert left == [0]
    assert publisher.counts()["gone"] == 0


def test_counts_say_what_became_of_the_frames(publish: Publish, dial: Dial) -> None:
    publisher, worker = publish(), dial()
    worker.hello(credit=2)
    names = publish_some(publisher, 2)
    worker.frame()
    worker.frame()
    worker.stored(names[0])
    worker.judged(names[1])
    worker.settle()
    captured = {"captured": 2, "inherited": 0, "stored": 1, "judged": 1, "resent": 0, "gone": 0}
    assert publisher.counts() == {**captured, "open": 1, "workers": 1}


def test_limits_are_those_of_the_settings(publish: Publish) -> None:
    limits = publish(retain_frames=3, heartbeat_s=0.5, max_attempts=2).settings.limits()
    assert limits == replace(limits, frames=3, heartbeat_s=0.5, max_attempts=2)
