"""The sink: one verdict a frame, whatever is sent again, on a real Redis."""

import os
import signal
import threading
import time
from collections.abc import Iterator

import pytest
import redis

from producers.frame import FrameId
from tests.conftest import RedisServer, start_redis, stop_redis
from tests.worker.frames import verdict
from tests.worker.processes import stored_verdicts
from worker.errors import ResultsUnavailable
from worker.line import LineKeys
from worker.sink import Judged, ResultSink, ResultWriter
from worker.verdict import Verdict


def sink_at(url: str, line: str, *, keep_s: float = 1e6, max_results: int = 10_000) -> ResultSink:
    sink = ResultSink(url, line, timeout_s=1.0, keep_s=keep_s, max_results=max_results)
    sink.sample_clock()
    return sink


def now_judged(*verdicts: Verdict) -> list[Judged]:
    return [Judged(verdict, time.monotonic()) for verdict in verdicts]


def test_a_verdict_is_stored_with_all_that_was_said(redis_url: str, line: str) -> None:
    original = verdict(1, passed=False, part_id="p")
    assert sink_at(redis_url, line).store(now_judged(original)) == ["stored"]
    (read,) = stored_verdicts(redis_url, line)
    assert read.latency_us["store"] >= 0
    assert read.model_copy(update={"entry": "", "latency_us": original.latency_us}) == original


def test_a_frame_stored_again_is_a_duplicate_and_the_first_verdict_stands(redis_url: str, line: str) -> None:
    sink = sink_at(redis_url, line)
    words = sink.store(now_judged(verdict(1, passed=False), verdict(1), verdict(2)))
    assert words == ["stored", "duplicate", "stored"]
    assert sink.store(now_judged(verdict(2, passed=False))) == ["duplicate"]
    assert [(read.tag.seq, read.passed) for read in stored_verdicts(redis_url, line)] == [(1, False), (2, True)]


def test_an_older_frame_stored_late_is_not_lost(redis_url: str, line: str) -> None:
    sink = sink_at(redis_url, line)
    assert sink.store(now_judged(verdict(70_000), verdict(65_536), verdict(0), verdict(65_535))) == ["stored"] * 4


def test_frames_are_told_apart_by_camera_session_and_seq(redis_url: str, line: str) -> None:
    other = "00000000-0000-0000-0000-000000000008"
    words = sink_at(redis_url, line).store(
        now_judged(verdict(1), verdict(1, camera="cam2"), verdict(1, session=other), verdict(1 + 65_536))
    )
    assert words == ["stored"] * 4


def test_a_pass_after_its_budget_becomes_a_late_fail_by_the_clock_of_redis(redis_url: str, line: str) -> None:
    sink = sink_at(redis_url, line)
    past, future = sink.redis_us(time.monotonic() - 1), sink.redis_us(time.monotonic() + 60)
    words = sink.store(
        now_judged(
            verdict(1, valid_until_us=past),
            verdict(2, valid_until_us=future),
            verdict(3, valid_until_us=past, passed=False),
        )
    )
    assert words == ["late", "stored", "stored"]
    assert [(read.decision, read.reason.word) for read in stored_verdicts(redis_url, line)] == [
        ("fail", "late"),
        ("pass", "ok"),
        ("fail", "defect"),
    ]


def test_the_bits_expire_after_thirty_days(redis_url: str, line: str) -> None:
    sink_at(redis_url, line).store(now_judged(verdict(1)))
    ttl = redis.Redis.from_url(redis_url).ttl(LineKeys(line).seen(verdict(1).tag.id))
    assert 30 * 86_400 - 10 < int(ttl) <= 30 * 86_400


def test_old_entries_are_trimmed(redis_url: str, line: str) -> None:
    sink = sink_at(redis_url, line, max_results=1)
    for start in range(0, 1000, 50):
        sink.store(now_judged(*(verdict(seq) for seq in range(start, start + 50))))
    assert len(stored_verdicts(redis_url, line)) < 500


def test_a_stream_of_a_wrong_type_refuses_and_leaves_no_bit_behind(redis_url: str, line: str) -> None:
    client = redis.Redis.from_url(redis_url)
    client.set(LineKeys(line).results, "not a stream")
    sink = sink_at(redis_url, line)
    (word,) = sink.store(now_judged(verdict(1)))
    assert word.startswith("error: WRONGTYPE")
    client.delete(LineKeys(line).results)
    assert sink.store(now_judged(verdict(1))) == ["stored"]


def test_one_verdict_that_fails_does_not_stop_the_rest(redis_url: str, line: str) -> None:
    client = redis.Redis.from_url(redis_url)
    client.lpush(LineKeys(line).seen(verdict(1, camera="cam2").tag.id), "not a bitmap")
    words = sink_at(redis_url, line).store(now_judged(verdict(0), verdict(1, camera="cam2"), verdict(2)))
    assert (words[0], words[1][:5], words[2]) == ("stored", "error", "stored")


def test_a_redis_that_is_not_there_is_named_without_its_password(line: str) -> None:
    sink = ResultSink("redis://user:secret@127.0.0.1:1/0", line, timeout_s=1.0, keep_s=1, max_results=1)
    with pytest.raises(ResultsUnavailable, match=r"redis://127.0.0.1:1/0") as caught:
        sink.sample_clock()
    assert "secret" not in str(caught.value)


class Stored:
    """Collects what a writer reports."""

    def __init__(self) -> None:
        self.frames: list[FrameId] = []
        self.changed = threading.Condition()

    def __call__(self, frames: list[FrameId]) -> None:
        with self.changed:
            self.frames += frames
            self.changed.notify_all()

    def wait_for(self, count: int, timeout_s: float = 10) -> bool:
        with self.changed:
            return self.changed.wait_for(lambda: len(self.frames) >= count, timeout_s)


@pytest.fixture
def stored() -> Stored:
    return Stored()


@pytest.fixture
def writer(own_redis: RedisServer, line: str, stored: Stored) -> Iterator[ResultWriter]:
    writer = ResultWriter(sink_at(own_redis.url, line), "w1", limit=50, stored=stored)
    writer.start()
    yield writer
    writer.close()


def put(writer: ResultWriter, *seqs: int) -> None:
    for seq in seqs:
        writer.put(verdict(seq), now=time.monotonic())


def test_the_writer_reports_only_what_is_stored(writer: ResultWriter, stored: Stored, own_redis: RedisServer) -> None:
    put(writer, *range(100))
    assert stored.wait_for(100)
    assert [frame.seq for frame in stored.frames] == list(range(100))


def test_a_worker_that_writes_is_online(writer: ResultWriter, own_redis: RedisServer, line: str) -> None:
    client = redis.Redis.from_url(own_redis.url)
    ends = time.monotonic() + 5
    while not client.exists(LineKeys(line).worker("w1")) and time.monotonic() < ends:
        time.sleep(0.01)
    assert 0 < int(client.ttl(LineKeys(line).worker("w1"))) <= 10


def test_verdicts_wait_while_redis_is_stopped_and_are_stored_in_order_when_it_goes_on(
    writer: ResultWriter, stored: Stored, own_redis: RedisServer, line: str
) -> None:
    put(writer, 0)
    assert stored.wait_for(1)
    os.kill(own_redis.process.pid, signal.SIGSTOP)
    put(writer, *range(1, 60))
    assert writer.full
    time.sleep(1.5)  # longer than an answer may take: the script's reply is lost, not the script
    assert [frame.seq for frame in stored.frames] == [0]
    os.kill(own_redis.process.pid, signal.SIGCONT)
    assert stored.wait_for(60)
    assert [read.tag.seq for read in stored_verdicts(own_redis.url, line)] == list(range(60))


def test_verdicts_survive_a_redis_that_is_killed_and_comes_back(
    writer: ResultWriter, stored: Stored, own_redis: RedisServer, line: str
) -> None:
    stop_redis(own_redis)
    put(writer, *range(5))
    time.sleep(0.3)
    assert stored.frames == []
    again = start_redis(own_redis.folder, port=own_redis.port)
    try:
        assert stored.wait_for(5)
        assert [read.tag.seq for read in stored_verdicts(again.url, line)] == list(range(5))
    finally:
        stop_redis(again)


def test_a_full_redis_holds_verdicts_back_until_there_is_room(
    writer: ResultWriter, stored: Stored, own_redis: RedisServer
) -> None:
    client = redis.Redis.from_url(own_redis.url)
    client.config_set("maxmemory", "1")
    put(writer, 0, 1)
    time.sleep(0.5)
    assert stored.frames == []
    client.config_set("maxmemory", "0")
    assert stored.wait_for(2)


def test_draining_says_how_many_are_left(writer: ResultWriter, own_redis: RedisServer) -> None:
    put(writer, 0)
    assert writer.drain(5.0) == 0
    os.kill(own_redis.process.pid, signal.SIGSTOP)
    put(writer, 1, 2)
    assert writer.drain(0.2) == 2
    os.kill(own_redis.process.pid, signal.SIGCONT)
