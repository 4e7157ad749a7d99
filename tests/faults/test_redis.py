"""Redis dies, forgets, sleeps, fills up, turns read-only or answers nobody: verdicts wait, and each is written once."""

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import redis

pytest.importorskip("torch")

from tests.conftest import RedisServer, start_redis, stop_redis
from tests.faults.conftest import PATIENT_S, OpenLine
from tests.faults.harness import (
    FRAMES,
    PATIENCE_S,
    ROUNDS,
    FaultLine,
    expect_one_verdict_each,
)
from tests.faults.proxy import Proxy
from tests.producers.scripted_worker import wait_until
from worker.demo.processes import free_ports
from worker.line import LineKeys, connect

DURABLE = ("--appendonly", "yes", "--appendfsync", "always")


@contextmanager
def client_of(server: RedisServer) -> Iterator["redis.Redis"]:
    client = connect(server.url, timeout_s=5)
    yield client
    client.close()


@contextmanager
def waiting_for_redis(line: FaultLine) -> Iterator[None]:
    """Frames that are published within are all judged at the end, and none is stored: Redis is away."""
    before = line.publisher.counts()
    yield
    judged = before["judged"] + FRAMES
    wait_until(lambda: line.publisher.counts()["judged"] == judged, what="judged frames", patience_s=PATIENCE_S)
    assert line.publisher.counts()["stored"] == before["stored"]


@pytest.fixture
def own_line(open_line: OpenLine, own_redis: RedisServer) -> FaultLine:
    """A line whose Redis a test may ill-treat; its worker runs and has stored verdicts."""
    line = open_line(redis=own_redis.url, heartbeat_s=PATIENT_S)
    line.worker()
    line.publish()
    line.drain()
    return line


def test_no_verdict_is_missing_after_redis_was_killed_that_writes_through(open_line: OpenLine, tmp_path: Path) -> None:
    server = start_redis(tmp_path, *DURABLE)
    try:
        line = open_line(redis=server.url, heartbeat_s=PATIENT_S)
        line.worker()
        for _ in range(ROUNDS):
            before = len(line.expected)
            line.publish()
            line.wait_for_verdicts(before + 1)
            stop_redis(server)
            line.publish()
            server = start_redis(tmp_path, *DURABLE, port=server.port)
            line.drain()
        expect_one_verdict_each(line)
    finally:
        stop_redis(server)


def test_what_redis_forgot_is_counted_and_what_was_open_has_its_verdict(
    own_line: FaultLine, own_redis: RedisServer
) -> None:
    """A Redis that comes back empty has lost what was DONE, no more; frames after that are judged as ever."""
    line = own_line
    done_before = set(line.expected)
    stop_redis(own_redis)
    with waiting_for_redis(line):
        line.publish()
    own_redis.process = start_redis(own_redis.folder, port=own_redis.port).process
    line.drain()
    counts = line.publisher.counts()
    assert counts["stored"] == len(line.expected)
    for frame in done_before:
        del line.expected[frame]  # forgotten: neither there again nor there twice
    verdicts = expect_one_verdict_each(line)
    assert counts["stored"] - len(verdicts) == len(done_before)


def test_verdicts_wait_for_a_redis_that_is_stopped_for_a_while(open_line: OpenLine, own_redis: RedisServer) -> None:
    """Whether a script that timed out has run or not, nobody knows; storing it again is safe."""
    line = open_line(redis=own_redis.url, heartbeat_s=PATIENT_S)
    with Proxy(own_redis.port) as proxy:
        line.worker(redis=f"redis://127.0.0.1:{proxy.port}/0")
        for _ in range(ROUNDS):
            line.publish()
            line.drain()
            calls = proxy.calls
            os.kill(own_redis.process.pid, signal.SIGSTOP)
            with waiting_for_redis(line):
                line.publish()
            proxy.wait_for_calls(calls + 3)  # three time-outs
            os.kill(own_redis.process.pid, signal.SIGCONT)
            line.drain()
        expect_one_verdict_each(line)


def _fill(client: "redis.Redis") -> None:
    client.config_set("maxmemory", 1)


def _free(client: "redis.Redis") -> None:
    client.config_set("maxmemory", 0)


def _make_replica(client: "redis.Redis") -> None:
    client.replicaof("127.0.0.1", free_ports(1)[0])  # of nobody, read-only all the same


def _make_master(client: "redis.Redis") -> None:
    client.replicaof("NO", "ONE")


REFUSALS = {"full": (_fill, _free), "read-only": (_make_replica, _make_master)}


@pytest.mark.parametrize(("begin", "end"), REFUSALS.values(), ids=REFUSALS)
def test_verdicts_wait_while_redis_refuses_to_write(
    own_line: FaultLine,
    own_redis: RedisServer,
    begin: Callable[[Any], None],
    end: Callable[[Any], None],
) -> None:
    with client_of(own_redis) as client:
        for _ in range(ROUNDS):
            begin(client)
            with waiting_for_redis(own_line):
                own_line.publish()
            end(client)
            own_line.drain()
    expect_one_verdict_each(own_line)


def test_verdicts_wait_until_the_streams_key_is_a_stream_again(own_line: FaultLine, own_redis: RedisServer) -> None:
    key = LineKeys(own_line.line).results
    with client_of(own_redis) as client:
        client.rename(key, "kept")
        client.set(key, "somebody's notes")
        with waiting_for_redis(own_line):
            own_line.publish()
        client.delete(key)
        own_line.drain()
        assert client.xlen("kept") == FRAMES
    for frame in list(own_line.expected)[:FRAMES]:
        del own_line.expected[frame]  # these lie in the stream that was put away
    expect_one_verdict_each(own_line)


def test_an_answer_lost_after_the_script_ran_makes_no_second_verdict(
    open_line: OpenLine, own_redis: RedisServer
) -> None:
    line = open_line(redis=own_redis.url, heartbeat_s=PATIENT_S)
    with Proxy(own_redis.port) as proxy:
        line.worker(redis=f"redis://127.0.0.1:{proxy.port}/0")
        line.publish()
        line.drain()
        for _ in range(ROUNDS):
            before = len(line.expected)
            proxy.swallow_answers()
            line.publish()
            line.wait_for_verdicts(before + 1)  # written, and the worker can't know
            assert line.publisher.counts()["stored"] == before
            proxy.deliver_answers()
            line.drain()
        wait_until(lambda: line.worker_counts("w1")["duplicate"] > 0, what="a duplicate", patience_s=PATIENCE_S)
        expect_one_verdict_each(line)
