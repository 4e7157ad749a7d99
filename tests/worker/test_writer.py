"""The writer's thread: order, bounds, and one verdict that can't be written among many that can, on a real Redis."""

import os
import signal
import time
from collections.abc import Iterator

import pytest
import redis
from structlog.testing import capture_logs

from tests.conftest import RedisServer
from tests.worker.frames import verdict
from tests.worker.processes import eventually, stored_verdicts
from tests.worker.sinks import Stored, put, sink_at, writing
from worker.line import LineKeys
from worker.writer import BATCH, ResultWriter


@pytest.fixture
def stored() -> Stored:
    return Stored()


@pytest.fixture
def writer(own_redis: RedisServer, line: str, stored: Stored) -> Iterator[ResultWriter]:
    with writing(sink_at(own_redis.url, line), stored, limit=50) as writer:
        yield writer


def test_the_writer_reports_each_verdict_it_has_stored_in_order(writer: ResultWriter, stored: Stored) -> None:
    put(writer, *range(100))
    assert stored.wait_for(100)
    assert stored.seqs == list(range(100))


def test_a_worker_that_writes_is_online(writer: ResultWriter, own_redis: RedisServer, line: str) -> None:
    client = redis.Redis.from_url(own_redis.url)
    assert eventually(lambda: bool(client.exists(LineKeys(line).worker("w1"))))
    assert 0 < int(client.ttl(LineKeys(line).worker("w1"))) <= 10


def test_draining_says_how_many_are_left(writer: ResultWriter, own_redis: RedisServer) -> None:
    put(writer, 0)
    assert writer.drain(60) == 0
    os.kill(own_redis.process.pid, signal.SIGSTOP)
    put(writer, 1, 2)
    assert writer.drain(0.2) == 2
    os.kill(own_redis.process.pid, signal.SIGCONT)


def test_the_writer_is_full_with_as_many_verdicts_as_may_wait_set_aside_or_not(
    writer: ResultWriter, stored: Stored, own_redis: RedisServer, line: str
) -> None:
    spoil(own_redis, line, "cam2")
    put(writer, *range(49), camera="cam2")
    put(writer, 0)
    assert stored.wait_for(1)
    assert not writer.full
    put(writer, 49, camera="cam2")
    assert writer.full


def spoil(server: RedisServer, line: str, camera: str) -> bytes:
    """Makes the key that remembers a camera's frames a list."""
    key = LineKeys(line).seen(verdict(camera=camera).tag.id)
    redis.Redis.from_url(server.url).lpush(key, "not a bitmap")
    return key.encode()


def test_more_poisoned_verdicts_than_a_batch_holds_stop_nobody_and_are_stored_once_the_key_is_mended(
    own_redis: RedisServer, line: str, stored: Stored
) -> None:
    key, poisoned = spoil(own_redis, line, "cam2"), 3 * BATCH
    with capture_logs() as logs, writing(sink_at(own_redis.url, line), stored) as writer:
        put(writer, *range(poisoned), camera="cam2")
        put(writer, *range(200))
        assert stored.wait_for(200)
        assert stored.seqs == list(range(200))
        assert writer.waiting == poisoned
        redis.Redis.from_url(own_redis.url).delete(key)
        assert stored.wait_for(200 + poisoned)
    read = stored_verdicts(own_redis.url, line)
    assert len(read) == len({one.tag.id for one in read}) == 200 + poisoned
    (said,) = [entry for entry in logs if entry.get("fault") == "seen_key"]
    assert (said["log_level"], said["frame"]) == ("error", str(verdict(camera="cam2").tag.id))
    assert "delete" in said["remedy"]


def test_a_verdict_that_nothing_can_write_is_found_out_and_the_others_go_on_in_order(
    own_redis: RedisServer, line: str, stored: Stored
) -> None:
    """A lone surrogate can't be encoded: the batch fails as a whole, before a byte of it is sent."""
    with capture_logs() as logs, writing(sink_at(own_redis.url, line), stored) as writer:
        put(writer, *range(5))
        writer.put(verdict(5).model_copy(update={"note": "\ud800"}), now=time.monotonic())
        put(writer, *range(6, 300))
        assert stored.wait_for(299)
        assert stored.seqs == [seq for seq in range(300) if seq != 5]
        assert writer.waiting == 1
    assert [entry["frame"] for entry in logs if "frame" in entry] == [str(verdict(5).tag.id)]


def test_a_heartbeat_that_cannot_be_written_holds_no_verdict_up(
    own_redis: RedisServer, line: str, stored: Stored
) -> None:
    redis.Redis.from_url(own_redis.url).set(LineKeys(line).worker("w1"), "not a hash")
    with capture_logs() as logs, writing(sink_at(own_redis.url, line), stored) as writer:
        put(writer, *range(10))
        assert stored.wait_for(10)
        assert eventually(lambda: any("looks offline" in entry["event"] for entry in logs))
        put(writer, *range(10, 20))
        assert stored.wait_for(20)
