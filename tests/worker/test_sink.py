"""The sink: one verdict a frame, whatever is sent again, on a real Redis."""

import time
from pathlib import Path
from typing import Any

import pytest
import redis

from tests.conftest import RedisServer, start_redis, stop_redis
from tests.worker.frames import verdict
from tests.worker.processes import eventually, stored_verdicts
from tests.worker.sinks import command, now_judged, sink_at
from worker.errors import ResultsUnavailable
from worker.faults import fault_of
from worker.line import LineKeys
from worker.sink import ResultSink


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
    assert word.startswith("error: results: WRONGTYPE")
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


@pytest.mark.parametrize("denied", ["getbit", "setbit", "expire", "xadd"])
def test_a_user_who_lacks_a_command_of_the_script_leaves_neither_an_entry_nor_a_bit(
    own_redis: RedisServer, line: str, denied: str
) -> None:
    client = redis.Redis.from_url(own_redis.url)
    command(own_redis.url, "ACL", "SETUSER", "half", "on", ">secret", "~*", "+@all", f"-{denied}")
    half = sink_at(own_redis.url.replace("//", "//half:secret@"), line)
    for _ in range(3):
        words = half.store(now_judged(verdict(1), verdict(2)))
        assert [fault_of(word).name for word in words] == ["permission", "permission"]
    assert client.xlen(LineKeys(line).results) == 0
    assert sink_at(own_redis.url, line).store(now_judged(verdict(1), verdict(2))) == ["stored", "stored"]


def test_a_full_memory_leaves_neither_an_entry_nor_a_bit(own_redis: RedisServer, line: str) -> None:
    client, sink = redis.Redis.from_url(own_redis.url), sink_at(own_redis.url, line)
    client.config_set("maxmemory", "1")
    assert [fault_of(word).name for word in sink.store(now_judged(verdict(1)))] == ["memory"]
    client.config_set("maxmemory", "0")
    assert client.xlen(LineKeys(line).results) == 0
    assert sink.store(now_judged(verdict(1))) == ["stored"]


def test_a_script_that_redis_forgot_is_loaded_again(own_redis: RedisServer, line: str) -> None:
    sink = sink_at(own_redis.url, line)
    sink.store(now_judged(verdict(1)))
    redis.Redis.from_url(own_redis.url).script_flush()
    assert sink.store(now_judged(verdict(2))) == ["stored"]


def test_with_replica_durability_a_verdict_counts_once_a_replica_has_it(
    own_redis: RedisServer, line: str, tmp_path: Path
) -> None:
    sink = sink_at(own_redis.url, line, replicas=1)
    with pytest.raises(ResultsUnavailable) as caught:
        sink.store(now_judged(verdict(1)))
    assert caught.value.fault.name == "unreplicated"
    (tmp_path / "replica").mkdir()
    replica = start_redis(tmp_path / "replica", "--replicaof", "127.0.0.1", str(own_redis.port))
    try:
        assert eventually(lambda: _linked(replica))
        assert sink.store(now_judged(verdict(1), verdict(2))) == ["duplicate", "stored"]
        assert [read.tag.seq for read in stored_verdicts(replica.url, line)] == [1, 2]
    finally:
        stop_redis(replica)


def _linked(replica: RedisServer) -> bool:
    info: Any = redis.Redis.from_url(replica.url).info("replication")
    return bool(info["master_link_status"] == "up")
