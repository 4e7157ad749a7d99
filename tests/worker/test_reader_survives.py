"""Readers outlive what Redis does, say what happened, and hand out each frame once. Each test: blocking and asyncio."""

import os
import signal
import threading
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import pytest

from producers.errors import SettingsError
from tests.conftest import RedisServer, start_redis, stop_redis
from tests.worker.processes import eventually
from tests.worker.readers import Readers, Stream, readers
from worker.errors import ResultsUnavailable
from worker.notice import NoticeKind
from worker.verdict import Decision, Verdict

__all__ = ["readers"]


def seqs(verdicts: Iterator[Verdict], count: int) -> list[int]:
    return [found.tag.seq for found in islice(verdicts, count)]


@pytest.fixture
def stream(redis_url: str, line: str) -> Stream:
    return Stream(redis_url, line)


def after_a_rest(verdicts: Iterator[Verdict], stream: Stream, seq: int) -> int:
    """The next verdict, before which the reader has found nothing for a while and looked how the stream is."""
    later = threading.Timer(0.8, stream.add, (seq,))
    later.start()
    found = next(verdicts)
    later.join()
    return found.tag.seq


DURABLE = ("--appendonly", "yes", "--appendfsync", "always")


@pytest.fixture
def durable(tmp_path: Path, readers: Readers) -> Iterator[RedisServer]:
    """A Redis that a restart costs nothing; the readers read from it."""
    server = start_redis(tmp_path, *DURABLE)
    readers.url = server.url
    yield server
    stop_redis(server)


# -- what is asked for -----------------------------------------------------------------------------------------------


def test_filters_leave_out_other_cameras_and_decisions(readers: Readers, stream: Stream) -> None:
    stream.add(0, 1, camera="cam1")
    stream.add(2, 3, camera="cam2", passed=False)
    stream.add(4, camera="cam2")
    assert seqs(readers.follow(start="0", cameras=["cam2"]), 3) == [2, 3, 4]
    assert seqs(readers.follow(start="0", decision=Decision.PASS), 3) == [0, 1, 4]
    assert seqs(readers.follow(start="0", cameras={"cam2"}, decision=Decision.FAIL), 2) == [2, 3]


def test_what_a_group_filters_out_is_acknowledged_too(readers: Readers, stream: Stream) -> None:
    stream.add(0, 1, camera="cam1")
    stream.add(2, camera="cam2")
    verdicts = readers.follow_group("g", "c", cameras=["cam2"], until=iter([False] * 4 + [True]).__next__)
    assert [found.tag.seq for found in verdicts] == [2]
    assert stream.pending("g") == 0


@pytest.mark.parametrize("start", ["later", "-1", "1-x", "9" * 50, "٣-0"])
def test_a_start_that_is_no_place_is_refused_before_redis_is_asked(readers: Readers, start: str) -> None:
    readers.url = "redis://127.0.0.1:1/0"
    with pytest.raises(SettingsError, match="place to begin"):
        next(readers.follow(start=start))


# -- Redis goes and comes back ---------------------------------------------------------------------------------------


def test_a_reader_waits_for_a_redis_that_restarts_and_misses_nothing(
    readers: Readers, durable: RedisServer, tmp_path: Path, line: str
) -> None:
    stream = Stream(durable.url, line)
    stream.add(0, 1)
    verdicts = readers.follow(start="0")
    assert seqs(verdicts, 2) == [0, 1]
    stop_redis(durable)
    servers: list[RedisServer] = []

    def come_back() -> None:
        servers.append(start_redis(tmp_path, *DURABLE, port=durable.port))
        stream.add(2, 3)

    back = threading.Timer(0.3, come_back)
    back.start()
    try:
        assert seqs(verdicts, 2) == [2, 3]
    finally:
        back.join()
        stop_redis(servers[0])
    assert readers.kinds() == [NoticeKind.AWAY, NoticeKind.BACK]


def test_a_reader_that_may_not_wait_for_ever_ends_after_its_patience(readers: Readers, durable: RedisServer) -> None:
    verdicts = readers.follow(start="0", patience_s=0.3, until=lambda: False)
    stop_redis(durable)
    with pytest.raises(ResultsUnavailable, match=str(durable.port)):
        next(verdicts)
    assert readers.kinds() == [NoticeKind.AWAY]


def test_a_reader_that_waits_for_redis_still_ends_when_told(readers: Readers) -> None:
    readers.url = "redis://127.0.0.1:1/0"
    assert list(readers.follow(until=iter([False, False, True]).__next__)) == []


def test_a_verdict_whose_acknowledgement_was_lost_is_acknowledged_again_and_not_handed_out_again(
    readers: Readers, durable: RedisServer, tmp_path: Path, line: str
) -> None:
    stream = Stream(durable.url, line)
    stream.add(0, 1)
    verdicts = readers.follow_group("g", "c")
    assert seqs(verdicts, 1) == [0]
    stop_redis(durable)
    again = start_redis(tmp_path, *DURABLE, port=durable.port)
    try:
        (second,) = islice(verdicts, 1)
        assert (second.tag.seq, second.redelivered) == (1, False)
        assert stream.pending("g") == 1
    finally:
        stop_redis(again)


def test_a_paused_redis_delays_a_group_and_repeats_nothing(own_redis: RedisServer, line: str) -> None:
    """The reader gives its command up after a while; what Redis then still hands to it must not get lost."""
    readers, stream = Readers(own_redis.url, line, twin=False), Stream(own_redis.url, line)
    stream.add(0, 1, 2)
    verdicts = readers.follow_group("g", "c")
    assert seqs(verdicts, 1) == [0]
    os.kill(own_redis.process.pid, signal.SIGSTOP)
    wakes = threading.Timer(5.2, lambda: os.kill(own_redis.process.pid, signal.SIGCONT))
    wakes.start()
    assert seqs(verdicts, 2) == [1, 2]
    wakes.join()


# -- the stream is another one ---------------------------------------------------------------------------------------


def test_a_stream_that_begins_anew_with_lower_ids_is_read_from_its_start(readers: Readers, stream: Stream) -> None:
    stream.add(0, 1, ms=2_000_000)
    verdicts = readers.follow(start="0")
    assert seqs(verdicts, 2) == [0, 1]
    stream.ask("DEL", stream.key)
    stream.add(1, 2, 3, ms=1_000)  # the clock was set back; 1 was written again
    assert seqs(verdicts, 2) == [2, 3]
    assert readers.kinds() == [NoticeKind.RESET]
    stream.add(4)
    assert seqs(verdicts, 1) == [4]
    assert [notice.count for notice in readers.of(NoticeKind.REPEATED)] == [1]


def test_a_stream_that_is_emptied_while_nothing_comes_is_followed_anew(readers: Readers, stream: Stream) -> None:
    stream.add(0, ms=5_000)
    turns = iter([False, False, False, False, True])
    verdicts = readers.follow(start="0", until=turns.__next__)
    assert seqs(verdicts, 1) == [0]
    stream.ask("DEL", stream.key)
    assert list(verdicts) == []  # it looks, and finds nothing
    assert readers.kinds() == [NoticeKind.RESET]


def test_after_a_stream_lost_its_end_a_reader_from_now_gets_no_backlog(readers: Readers, stream: Stream) -> None:
    """A failover to a replica that lags: what was there before the reader began was never its own."""
    stream.add(0, 1, 2, ms=1_000)
    before = stream.ask("DUMP", stream.key)
    verdicts = readers.follow(start="now", until=iter([False] * 50).__next__)
    later = threading.Timer(0.1, lambda: stream.add(3, 4, ms=2_000))
    later.start()
    assert seqs(verdicts, 2) == [3, 4]
    later.join()
    stream.ask("RESTORE", stream.key, 0, before, "REPLACE")
    stream.add(3, 5, ms=1_500)  # 3 is stored anew by the worker
    assert seqs(verdicts, 1) == [5]
    (notice,) = readers.of(NoticeKind.RESET)
    assert "where it began" in notice.text


def test_another_stream_whose_ids_are_higher_already_is_noticed_where_redis_counts(
    readers: Readers, stream: Stream
) -> None:
    stream.add(0, 1, 2, ms=1_000)
    verdicts = readers.follow(start="0")
    assert seqs(verdicts, 3) == [0, 1, 2]
    stream.ask("DEL", stream.key)
    stream.add(3, ms=9_000)
    assert seqs(verdicts, 1) == [3]
    expected = [NoticeKind.RESET] if stream.counts_all else []
    assert after_a_rest(verdicts, stream, 4) == 4
    assert [kind for kind in readers.kinds() if kind is NoticeKind.RESET] == expected


def test_a_second_verdict_of_a_frame_is_left_out_and_the_first_stands(readers: Readers, stream: Stream) -> None:
    stream.add(0, passed=False)
    stream.add(0, passed=True)
    stream.add(1)
    first, second = islice(readers.follow(start="0"), 2)
    assert (first.tag.seq, first.passed, second.tag.seq) == (0, False, 1)


def test_a_group_that_is_gone_is_made_anew_and_nothing_is_handed_out_twice(readers: Readers, stream: Stream) -> None:
    stream.add(0, 1)
    verdicts = readers.follow_group("g", "c")
    assert seqs(verdicts, 1) == [0]
    stream.ask("XGROUP", "DESTROY", stream.key, "g")
    assert seqs(verdicts, 1) == [1]
    stream.ask("DEL", stream.key)
    stream.add(2, ms=1_000)
    assert seqs(verdicts, 1) == [2]
    assert readers.kinds().count(NoticeKind.GROUP_GONE) == 2


def test_a_group_that_goes_while_a_reader_waits_for_it_is_made_anew(readers: Readers, stream: Stream) -> None:
    verdicts = readers.follow_group("g", "c")
    flush = threading.Timer(0.2, lambda: (stream.ask("DEL", stream.key), stream.add(7)))
    flush.start()
    assert seqs(verdicts, 1) == [7]
    flush.join()


# -- trimming --------------------------------------------------------------------------------------------------------


def test_a_slow_reader_says_how_many_were_trimmed_before_it_came(readers: Readers, stream: Stream) -> None:
    stream.add(0)
    verdicts = readers.follow(start="0")
    assert seqs(verdicts, 1) == [0]
    stream.add(*range(1, 31))
    assert stream.ask("XTRIM", stream.key, "MAXLEN", 10) == 21
    assert seqs(verdicts, 10) == list(range(21, 31))
    assert after_a_rest(verdicts, stream, 31) == 31
    told = readers.of(NoticeKind.TRIMMED)
    if stream.counts_all:
        assert [notice.count for notice in told] == [20]
    else:  # seen when it looks before it reads on, and never with a number
        assert all(notice.count is None for notice in told)


def test_from_an_id_that_is_trimmed_a_reader_says_that_something_is_or_may_be_gone(
    readers: Readers, stream: Stream
) -> None:
    (first, *_) = stream.add(*range(10))
    stream.ask("XTRIM", stream.key, "MAXLEN", 3)
    assert seqs(readers.follow(start=first), 3) == [7, 8, 9]
    (notice,) = readers.told
    assert (notice.kind, notice.count) == (NoticeKind.TRIMMED, None)
    assert "may have been trimmed" in notice.text


def test_a_reader_at_the_end_of_a_stream_that_is_trimmed_whole_has_lost_nothing(
    readers: Readers, stream: Stream
) -> None:
    stream.add(*range(5))
    turns = iter([False] * 9)
    verdicts = readers.follow(start="0", until=turns.__next__)
    assert seqs(verdicts, 5) == list(range(5))
    stream.ask("XTRIM", stream.key, "MAXLEN", 0)
    assert after_a_rest(verdicts, stream, 5) == 5
    assert readers.told == []


def test_a_group_says_what_was_trimmed_before_it_came(readers: Readers, stream: Stream) -> None:
    stream.add(0)
    assert seqs(readers.follow_group("g", "c"), 1) == [0]
    stream.add(*range(1, 11))
    stream.ask("XACK", stream.key, "g", stream.ask("XREVRANGE", stream.key, "+", "-")[-1][0])
    stream.ask("XTRIM", stream.key, "MAXLEN", 4)
    assert seqs(readers.follow_group("g", "c"), 4) == [7, 8, 9, 10]
    (notice,) = readers.told
    assert notice.kind is NoticeKind.TRIMMED
    assert notice.count == (6 if stream.counts_all else None)


@pytest.mark.parametrize("heir", ["c", "other"])
def test_a_pending_entry_that_is_trimmed_is_said_and_stands_in_nobodys_way(
    readers: Readers, stream: Stream, heir: str
) -> None:
    stream.add(0, 1)
    assert seqs(readers.follow_group("g", "c"), 1) == [0]
    stream.ask("XTRIM", stream.key, "MAXLEN", 1)
    handled: list[int] = []
    over = lambda: handled == [1] and stream.pending("g") == 0  # noqa: E731
    for found in readers.follow_group("g", heir, abandoned_after_s=0, until=over):
        handled.append(found.tag.seq)  # noqa: PERF401 - the reader asks how many there are
    certain = [notice.count for notice in readers.told if "may have" not in notice.text]
    assert certain == [1]


# -- who has handled what --------------------------------------------------------------------------------------------


def test_only_what_a_dead_reader_had_in_hand_is_marked_redelivered(readers: Readers, stream: Stream) -> None:
    stream.add(0, 1, 2)
    assert seqs(readers.follow_group("g", "c"), 2) == [0, 1]  # 1 is handled, and its reader dies
    again = list(islice(readers.follow_group("g", "c"), 2))
    assert [(found.tag.seq, found.redelivered) for found in again] == [(1, True), (2, False)]
    taken = next(readers.follow_group("g", "other", abandoned_after_s=0))
    assert (taken.tag.seq, taken.redelivered) == (2, True)
    assert taken.to_json()["redelivered"] is True


def test_abandoned_verdicts_are_taken_over_on_a_line_that_never_rests(readers: Readers, stream: Stream) -> None:
    stream.add(0)
    assert seqs(readers.follow_group("g", "dead"), 1) == [0]
    verdicts = readers.follow_group("g", "heir", abandoned_after_s=0)
    seq = 1

    def comes() -> bool:
        nonlocal seq
        stream.add(seq)
        seq += 1
        return next(verdicts).redelivered

    assert eventually(comes)
