"""Frames that are given up, many at a time, over real sockets; and those of a publisher before this one."""

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np

from producers.dispatch import GONE_A_MESSAGE, MAX_GONE_BYTES
from producers.frame import FrameTag
from producers.protocol import Gone, encode
from producers.publisher import FramePublisher
from tests.producers.conftest import Dial, Publish
from tests.producers.scripted_worker import ScriptedWorker, wait_until
from tests.producers.test_journal import killed

PICTURE = np.full((4, 6, 3), 7, np.uint8)


def give_up(publisher: FramePublisher, count: int, **what: Any) -> None:
    """Gives frames up while no worker is there, so that they wait together."""
    before = publisher.counts()["captured"]
    for _ in range(count):
        publisher.give_up(what.get("reason", "bad_frame"), part_id=what.get("part_id"))
    wait_until(lambda: publisher.counts()["captured"] == before + count, what="the publisher has the frames")


def messages_for(worker: ScriptedWorker, frames: int) -> list[Gone]:
    """The GONEs with so many frames in all."""
    found: list[Gone] = []
    while sum(len(message.frames) for message in found) < frames:
        found.append(worker.gone())
    return found


def tags_in(messages: list[Gone]) -> list[FrameTag]:
    return [tag for message in messages for tag in message.frames]


def test_many_frames_share_a_message_and_each_is_in_one(publish: Publish, dial: Dial) -> None:
    publisher, worker = publish(), dial()
    give_up(publisher, 1000)
    worker.hello()
    messages = messages_for(worker, 1000)
    assert [tag.seq for tag in tags_in(messages)] == list(range(1000))
    assert [len(message.frames) for message in messages] == [GONE_A_MESSAGE] * 3 + [1000 - 3 * GONE_A_MESSAGE]
    worker.stored(*(tag.id for tag in tags_in(messages)))
    assert publisher.drain(10) == 0


def test_frames_that_ended_differently_do_not_share_a_message(publish: Publish, dial: Dial) -> None:
    publisher, worker = publish(), dial()
    for reason in ("bad_frame", "lost", "bad_frame"):
        give_up(publisher, 1, reason=reason)
    worker.hello()
    messages = messages_for(worker, 3)
    assert sorted((message.reason, [tag.seq for tag in message.frames]) for message in messages) == [
        ("bad_frame", [0, 2]),
        ("lost", [1]),
    ]


def test_no_message_is_larger_than_the_socket_of_any_worker_takes(publish: Publish, dial: Dial) -> None:
    """Not even with the longest names; a socket that meets a larger one is deaf for ever after."""
    publisher, worker = publish(), dial(max_frame_bytes=1)
    give_up(publisher, 300, part_id="\U0001f600" * 256)
    worker.hello()
    messages = messages_for(worker, 300)
    sizes = [len(encode(message)[2]) for message in messages]
    assert max(sizes) <= MAX_GONE_BYTES < 65_536
    assert sum(sizes) > 10 * MAX_GONE_BYTES
    assert sorted(tag.seq for tag in tags_in(messages)) == list(range(300))


def test_what_a_worker_took_to_its_grave_another_writes(publish: Publish, dial: Dial) -> None:
    publisher, first = publish(heartbeat_s=0.3), dial()
    give_up(publisher, 600)
    first.hello()
    messages_for(first, 600)
    first.leave()
    second = dial(name="w2")
    second.hello()
    assert sorted(tag.seq for tag in tags_in(messages_for(second, 600))) == list(range(600))


def test_frames_of_a_killed_predecessor_are_told_in_one_message_and_drained_like_our_own(
    publish: Publish, dial: Dial, tmp_path: Path
) -> None:
    old = killed(tmp_path, given_out=200)
    publisher, worker = publish(state=tmp_path), dial()
    publisher.publish(PICTURE)
    assert publisher.counts()["open"] >= 201
    worker.hello(credit=1)
    by_kind = [worker.receive(), worker.receive()]
    gone = next(arrival for arrival in by_kind if isinstance(arrival, Gone))
    header = next(arrival[0] for arrival in by_kind if isinstance(arrival, tuple))
    assert gone.reason == "lost"
    assert Counter(tag.session for tag in gone.frames) == {old: 200}
    worker.stored(header.id, *(tag.id for tag in gone.frames))
    assert publisher.drain(10) == 0
    publisher.close()
    assert list(tmp_path.glob("*.journal")) == []
