"""The reader: every verdict, once with a group, from the start or from now, on a real Redis."""

import threading
import time
from collections.abc import Iterator
from itertools import islice

import pytest
import redis

from tests.worker.frames import verdict
from worker.errors import ResultsUnavailable
from worker.line import LineKeys
from worker.notice import Notice, NoticeKind
from worker.reader import ResultReader
from worker.sink import Judged, ResultSink
from worker.verdict import Verdict


class Writer:
    """Stores verdicts by their seq."""

    def __init__(self, url: str, line: str) -> None:
        self.url, self.line = url, line
        self._sink = ResultSink(url, line, timeout_s=1.0, keep_s=1e6, max_results=10_000)

    def store(self, *seqs: int) -> None:
        assert set(self._sink.store([Judged(verdict(seq), time.monotonic()) for seq in seqs])) == {"stored"}


@pytest.fixture
def written(redis_url: str, line: str) -> Writer:
    return Writer(redis_url, line)


def seqs(verdicts: Iterator[Verdict], count: int) -> list[int]:
    return [found.tag.seq for found in islice(verdicts, count)]


def once() -> "Iterator[bool]":
    yield False
    while True:
        yield True


def for_one_turn() -> "object":
    turns = once()
    return lambda: next(turns)


def test_from_zero_a_reader_sees_everything_there_is(written: Writer) -> None:
    written.store(*range(250))
    assert seqs(ResultReader(written.url, written.line).follow(start="0"), 250) == list(range(250))


def test_from_now_a_reader_sees_only_what_comes(written: Writer) -> None:
    written.store(0, 1)
    reader = ResultReader(written.url, written.line)
    verdicts = reader.follow(start="now")
    later = threading.Timer(0.3, written.store, (2, 3))
    later.start()
    assert seqs(verdicts, 2) == [2, 3]
    later.join()


def test_from_now_on_an_empty_line_misses_nothing(written: Writer) -> None:
    """`$` with a BLOCK would skip what is stored between two calls."""
    found: list[int] = []
    started = threading.Event()

    def read() -> None:
        verdicts = ResultReader(written.url, written.line).follow(start="now", until=lambda: started.set() or False)  # type: ignore[func-returns-value]
        found.extend(seqs(verdicts, 20))

    thread = threading.Thread(target=read)
    thread.start()
    assert started.wait(5)
    for seq in range(20):
        written.store(seq)
    thread.join(10)
    assert found == list(range(20))


def test_from_an_entry_a_reader_resumes_after_it(written: Writer) -> None:
    written.store(0, 1, 2)
    reader = ResultReader(written.url, written.line)
    first = next(iter(reader.follow(start="0")))
    assert seqs(reader.follow(start=first.entry), 2) == [1, 2]


def test_a_reader_ends_when_told(written: Writer) -> None:
    reader = ResultReader(written.url, written.line)
    assert list(reader.follow(start="0", until=lambda: True)) == []


def read_group(written: Writer, consumer: str, count: int, found: list[int]) -> None:
    """What `sightline subscribe --group plc --count N` does."""
    mine: list[int] = []
    reader = ResultReader(written.url, written.line)
    for stored in reader.follow_group("plc", consumer, until=lambda: len(mine) == count):
        mine.append(stored.tag.seq)  # noqa: PERF401 - the reader asks how many there are
    found += mine


def test_a_group_started_before_during_and_after_sees_every_verdict_once(written: Writer) -> None:
    found: list[int] = []
    before = threading.Thread(target=read_group, args=(written, "before", 30, found))
    before.start()
    written.store(*range(20))
    written.store(*range(20, 40))
    before.join(10)
    assert not before.is_alive()
    read_group(written, "during", 5, found)
    written.store(*range(40, 50))
    read_group(written, "after", 15, found)
    assert found == list(range(50))


def test_two_consumers_share_the_verdicts(written: Writer) -> None:
    written.store(*range(60))
    one: list[int] = []
    two: list[int] = []
    threads = [
        threading.Thread(target=read_group, args=(written, "one", 30, one)),
        threading.Thread(target=read_group, args=(written, "two", 30, two)),
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert sorted(one + two) == list(range(60))


def test_a_consumer_that_died_gets_again_what_it_did_not_finish(written: Writer) -> None:
    written.store(0, 1, 2)
    verdicts = ResultReader(written.url, written.line).follow_group("plc", "reader")
    assert seqs(verdicts, 2) == [0, 1]  # 1 was handed out and never finished
    again = ResultReader(written.url, written.line).follow_group("plc", "reader")
    assert seqs(again, 2) == [1, 2]


def test_what_a_dead_consumer_did_not_finish_goes_to_another(written: Writer) -> None:
    written.store(0, 1)
    dead = ResultReader(written.url, written.line).follow_group("plc", "dead")
    assert seqs(dead, 1) == [0]
    heir = ResultReader(written.url, written.line).follow_group("plc", "heir", abandoned_after_s=0.2)
    assert seqs(heir, 2) == [1, 0]


def test_an_entry_that_is_no_verdict_is_told_and_skipped(written: Writer) -> None:
    written.store(0)
    redis.Redis.from_url(written.url).xadd(LineKeys(written.line).results, {"hello": "world"})
    written.store(1)
    told: list[Notice] = []
    reader = ResultReader(written.url, written.line, say=told.append)
    assert seqs(reader.follow(start="0"), 2) == [0, 1]
    assert [notice.kind for notice in told] == [NoticeKind.UNREADABLE]


def test_a_redis_that_is_not_there_is_one_clear_error(line: str) -> None:
    with pytest.raises(ResultsUnavailable, match=r"127\.0\.0\.1:1"):
        next(iter(ResultReader("redis://127.0.0.1:1/0", line, patience_s=0).follow()))


@pytest.mark.parametrize("url", ["localhost", "http://127.0.0.1", "redis://127.0.0.1:port"])
def test_a_url_that_is_none_is_one_clear_error(url: str, line: str) -> None:
    with pytest.raises(ResultsUnavailable):
        ResultReader(url, line)
