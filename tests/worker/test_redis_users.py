"""The shipped ACL file: each role can do its job with it, and nothing else."""

import re
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
import redis

from tests.conftest import RedisServer, stop_redis
from tests.worker.frames import verdict
from tests.worker.processes import eventually
from tests.worker.secured import start_secured
from tests.worker.sinks import Stored, command, now_judged, put, sink_at, writing
from worker.auditor import Auditor
from worker.check import examine
from worker.errors import ResultsUnavailable
from worker.gate.inbox import LeaseHeld
from worker.gate.lease import Lease
from worker.line import LineKeys, ShadowKeys
from worker.reader import ResultReader
from worker.sink import ResultSink

DEPLOY = Path(__file__).parent.parent.parent / "deploy"
SHIPPED = DEPLOY / "redis-users.acl"
ROLES = (
    "sightline-worker",
    "sightline-reader",
    "sightline-group",
    "sightline-audit",
    "sightline-gate",
    "sightline-check",
)
LINE = "line"  # the name in the file


@pytest.fixture
def secured(tmp_path: Path) -> Iterator[RedisServer]:
    """A Redis with the shipped file, each user with a password: `secret`."""
    users = tmp_path / "users.acl"
    users.write_text(SHIPPED.read_text(encoding="utf-8").replace("resetpass", "resetpass >secret"), encoding="utf-8")
    server = start_secured(tmp_path, "--aclfile", str(users))
    yield server
    stop_redis(server)


def url_of(server: RedisServer, user: str) -> str:
    return server.url.replace("//", f"//{user}:secret@")


def ask(server: RedisServer, user: str, *words: str | int) -> Any:
    return command(url_of(server, user), *words)


def test_as_shipped_the_file_is_valid_and_lets_nobody_in(tmp_path: Path) -> None:
    server = start_secured(tmp_path, "--aclfile", str(SHIPPED))
    try:
        for user in ("admin", *ROLES):
            with pytest.raises(redis.AuthenticationError):
                ask(server, user, "PING")
        with pytest.raises(redis.AuthenticationError):
            redis.Redis.from_url(server.url).ping()
    finally:
        stop_redis(server)


def test_a_worker_writes_verdicts_and_its_heartbeat(secured: RedisServer) -> None:
    stored, keys = Stored(), LineKeys(LINE)
    with writing(sink_at(url_of(secured, "sightline-worker"), LINE), stored) as writer:
        put(writer, *range(5))
        assert stored.wait_for(5)
        ask(secured, "admin", "SCRIPT", "FLUSH")
        put(writer, 5)
        assert stored.wait_for(6)
        assert eventually(lambda: bool(ask(secured, "admin", "EXISTS", keys.worker("w1"))))
    assert ask(secured, "admin", "XLEN", keys.results) == 6


def test_a_worker_writes_shadow_verdicts_that_a_reader_follows_and_a_group_for_a_gate_does_not(
    secured: RedisServer,
) -> None:
    options: dict[str, Any] = {"timeout_s": 1.0, "keep_s": 1e6, "max_results": 100, "keys": ShadowKeys}
    sink = ResultSink(url_of(secured, "sightline-worker"), LINE, **options)
    assert sink.store(now_judged(verdict(1))) == ["stored"]
    reader = ResultReader(url_of(secured, "sightline-reader"), LINE, keys=ShadowKeys)
    assert next(reader.follow(start="0")).tag.seq == 1
    group = ResultReader(url_of(secured, "sightline-group"), LINE, keys=ShadowKeys)
    with pytest.raises(ResultsUnavailable, match="permission"):
        next(group.follow_group("plc", "first"))


def test_a_worker_may_wait_for_replicas(secured: RedisServer) -> None:
    with pytest.raises(ResultsUnavailable) as caught:
        sink_at(url_of(secured, "sightline-worker"), LINE, replicas=1).store(now_judged(verdict(1)))
    assert caught.value.fault.name == "unreplicated"  # there is none: it was asked, and not refused


def test_a_reader_follows_from_now_and_from_the_start(secured: RedisServer) -> None:
    sink_at(url_of(secured, "sightline-worker"), LINE).store(now_judged(verdict(1), verdict(2)))
    reader = ResultReader(url_of(secured, "sightline-reader"), LINE)
    assert [read.tag.seq for read in islice(reader.follow(start="0"), 2)] == [1, 2]
    assert list(reader.follow(start="now", until=iter([False, True]).__next__)) == []


def test_a_group_reader_shares_takes_over_and_marks_as_read(secured: RedisServer) -> None:
    sink_at(url_of(secured, "sightline-worker"), LINE).store(now_judged(verdict(1), verdict(2)))
    first, second = (ResultReader(url_of(secured, "sightline-group"), LINE) for _ in range(2))
    assert next(first.follow_group("plc", "first")).tag.seq == 1  # and it dies with it
    taken = second.follow_group("plc", "second", abandoned_after_s=0)
    assert sorted(next(taken).tag.seq for _ in range(2)) == [1, 2]


@pytest.mark.parametrize("user", ["sightline-check", "sightline-worker"])
def test_check_sees_that_redis_answers(secured: RedisServer, user: str) -> None:
    (finding,) = [one for one in examine(None, url_of(secured, user)) if one.ok is not None]
    assert finding.ok
    assert "secret" not in finding.detail


FORBIDDEN = [
    ("FLUSHALL",),
    ("KEYS", "*"),
    ("SCAN", "0"),
    ("CONFIG", "GET", "requirepass"),
    ("CONFIG", "SET", "maxmemory", "1"),
    ("ACL", "LIST"),
    ("ACL", "SETUSER", "sightline-reader", "+@all"),
    ("SHUTDOWN", "NOSAVE"),
    ("REPLICAOF", "NO", "ONE"),
    ("CLIENT", "KILL", "TYPE", "normal"),
    ("SCRIPT", "FLUSH"),
    ("EVAL", "return 1", "0"),
    ("DEL", "{line}:results"),
    ("XDEL", "{line}:results", "0-1"),
    ("XGROUP", "DESTROY", "{line}:results", "plc"),
    ("SET", "{line}:results", "x"),
    ("GET", "{line}:seen:cam1:x:0"),
    ("PUBLISH", "anything", "x"),
]


@pytest.mark.parametrize("command", FORBIDDEN, ids=" ".join)
@pytest.mark.parametrize("user", ROLES)
def test_no_role_may_do_what_it_has_no_need_of(secured_for_all: RedisServer, user: str, command: tuple[str]) -> None:
    with pytest.raises(redis.exceptions.NoPermissionError):
        ask(secured_for_all, user, *command)


@pytest.mark.parametrize("user", ["sightline-reader", "sightline-group", "sightline-audit", "sightline-check"])
@pytest.mark.parametrize(
    "command",
    [
        ("XADD", "{line}:results", "*", "decision", "pass"),
        ("XTRIM", "{line}:results", "MAXLEN", "0"),
        ("SETBIT", "{line}:seen:cam1:x:0", "0", "1"),
        ("HSET", "{line}:worker:w1", "heartbeat_ns", "1"),
        ("SCRIPT", "LOAD", "return 1"),
    ],
    ids=" ".join,
)
def test_none_but_a_worker_writes(secured_for_all: RedisServer, user: str, command: tuple[str]) -> None:
    with pytest.raises(redis.exceptions.NoPermissionError):
        ask(secured_for_all, user, *command)


def test_a_worker_keeps_to_its_own_line(secured_for_all: RedisServer) -> None:
    with pytest.raises(ResultsUnavailable) as caught:
        sink_at(url_of(secured_for_all, "sightline-worker"), "other").store(now_judged(verdict(1)))
    assert caught.value.fault.name == "permission"
    with pytest.raises(ResultsUnavailable, match="permission"):
        next(ResultReader(url_of(secured_for_all, "sightline-reader"), "other").follow(start="0"))


@pytest.fixture(scope="module")
def secured_for_all(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """One such Redis for all tests that only try the doors."""
    folder = tmp_path_factory.mktemp("users")
    users = folder / "users.acl"
    users.write_text(SHIPPED.read_text(encoding="utf-8").replace("resetpass", "resetpass >secret"), encoding="utf-8")
    server = start_secured(folder, "--aclfile", str(users))
    yield server
    stop_redis(server)


@pytest.mark.parametrize(
    "command",
    [
        ("XADD", "{line}:results", "*", "decision", "pass"),
        ("XTRIM", "{line}:results", "MAXLEN", "0"),
        ("EXPIRE", "{line}:results", "1"),
        ("DEL", "{line}:gate:gate"),
        ("SET", "{line}:gate:gate", "x"),
        ("SETNX", "{line}:worker:w1", "x"),
    ],
    ids=" ".join,
)
def test_a_gateway_writes_nothing_but_its_lease(secured_for_all: RedisServer, command: tuple[str]) -> None:
    with pytest.raises(redis.exceptions.NoPermissionError):
        ask(secured_for_all, "sightline-gate", *command)


def test_a_gateway_s_rights_can_t_harm_a_verdict(secured: RedisServer) -> None:
    """What it may do to its lease it may also try on the stream, which is no string."""
    sink_at(url_of(secured, "sightline-worker"), LINE).store(now_judged(verdict(1)))
    for words in (("GETEX", "{line}:results", "PX", "1"), ("GET", "{line}:results")):
        with pytest.raises(redis.exceptions.ResponseError, match="WRONGTYPE"):
            ask(secured, "sightline-gate", *words)
    assert ask(secured, "sightline-gate", "SETNX", "{line}:results", "x") == 0
    assert ask(secured, "admin", "XLEN", "{line}:results") == 1


def test_a_gateway_holds_its_lease_and_reads_verdicts(secured: RedisServer) -> None:
    lease = Lease(url_of(secured, "sightline-gate"), LINE, "gate", "g1", lasts_ms=10_000, timeout_s=5.0)
    assert isinstance(lease.hold(), LeaseHeld)
    ask(secured, "admin", "SCRIPT", "FLUSH")
    assert isinstance(lease.hold(), LeaseHeld)
    lease.release()
    reader = ResultReader(url_of(secured, "sightline-gate"), LINE)
    assert list(reader.follow(start="now", until=iter([False, True]).__next__)) == []


def test_the_page_beside_the_file_says_why_each_command_is_granted() -> None:
    page = (DEPLOY / "redis-users.md").read_text(encoding="utf-8").replace("\\|", "|")
    for rule in SHIPPED.read_text(encoding="utf-8").splitlines():
        if "sightline-" in rule:
            role = rule.split()[1].removeprefix("sightline-")
            for command in re.findall(r"\+(\S+)", rule):
                rows = [row for row in page.splitlines() if f"`{command}`" in row]
                assert any(f"| {role} |" in row or "| all |" in row for row in rows), (role, command)


def test_an_auditor_reads_the_stream_and_what_was_ever_stored(secured: RedisServer) -> None:
    sink_at(url_of(secured, "sightline-worker"), LINE).store(now_judged(verdict(0), verdict(2)))
    found = Auditor(url_of(secured, "sightline-audit"), LINE).audit(since_s=None, window_s=0)
    assert found.alarms == {"missing": 1}
