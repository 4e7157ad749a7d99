"""Every fault that a test can bring about in a real Redis: whatever it was, each verdict is there once, in order."""

import os
import signal
import socket
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
import redis
from structlog.testing import capture_logs

from tests.conftest import RedisServer, start_redis, stop_redis
from tests.worker.processes import eventually, stored_verdicts
from tests.worker.sinks import Stored, command, put, sink_at, writing
from worker.demo.processes import free_ports
from worker.line import LineKeys

DURABLE = ("--appendonly", "yes", "--appendfsync", "always")
LOGIN = "//w:secret@"


@pytest.fixture
def durable_redis(tmp_path: Path) -> Iterator[RedisServer]:
    """A Redis that keeps what it answered for, with a user `w` that may do everything."""
    server = start_redis(tmp_path, *DURABLE)
    command(server.url, "ACL", "SETUSER", "w", "on", ">secret", "~*", "&*", "+@all")
    yield server
    stop_redis(server)


def client_of(server: RedisServer) -> "redis.Redis":
    return redis.Redis.from_url(server.url)


@contextmanager
def killed(server: RedisServer, line: str) -> Iterator[None]:
    stop_redis(server)
    yield
    server.process = start_redis(server.folder, *DURABLE, port=server.port).process
    command(server.url, "ACL", "SETUSER", "w", "on", ">secret", "~*", "&*", "+@all")


@contextmanager
def stopped(server: RedisServer, line: str) -> Iterator[None]:
    os.kill(server.process.pid, signal.SIGSTOP)
    yield
    os.kill(server.process.pid, signal.SIGCONT)


@contextmanager
def paused(server: RedisServer, line: str) -> Iterator[None]:
    command(server.url, "CLIENT", "PAUSE", 600_000, "WRITE")
    yield
    command(server.url, "CLIENT", "UNPAUSE")


def configured(option: str, wrong: str, right: str) -> Callable[[RedisServer, str], AbstractContextManager[None]]:
    @contextmanager
    def broken(server: RedisServer, line: str) -> Iterator[None]:
        client_of(server).config_set(option, wrong)
        yield
        client_of(server).config_set(option, right)

    return broken


@contextmanager
def replica(server: RedisServer, line: str) -> Iterator[None]:
    command(server.url, "REPLICAOF", "127.0.0.1", free_ports(1)[0])
    yield
    command(server.url, "REPLICAOF", "NO", "ONE")


@contextmanager
def stale_replica(server: RedisServer, line: str) -> Iterator[None]:
    client_of(server).config_set("replica-serve-stale-data", "no")
    with replica(server, line):
        yield


@contextmanager
def wrong_type(server: RedisServer, line: str) -> Iterator[None]:
    client, key = client_of(server), LineKeys(line).results
    client.rename(key, key + ":kept")
    client.set(key, "not a stream")
    yield
    client.rename(key + ":kept", key)


def user_is(*rules: str) -> Callable[[RedisServer, str], AbstractContextManager[None]]:
    @contextmanager
    def broken(server: RedisServer, line: str) -> Iterator[None]:
        command(server.url, "ACL", "SETUSER", "w", *rules)
        command(server.url, "CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
        yield
        command(server.url, "ACL", "SETUSER", "w", "resetpass", ">secret", "~*", "+@all")

    return broken


@contextmanager
def busy(server: RedisServer, line: str) -> Iterator[None]:
    client_of(server).config_set("lua-time-limit", "10")
    other = client_of(server)

    def hog() -> None:
        with suppress(redis.RedisError):  # it is killed in the end, or Redis is
            other.eval("while true do end", 0)

    thread = threading.Thread(target=hog)
    thread.start()
    assert eventually(lambda: is_busy(server))
    yield
    client_of(server).script_kill()
    thread.join()


def is_busy(server: RedisServer) -> bool:
    try:
        client_of(server).ping()
    except redis.ResponseError as error:
        return "BUSY" in str(error)
    return False


@contextmanager
def crowded(server: RedisServer, line: str) -> Iterator[None]:
    client = client_of(server)
    client.config_set("maxclients", 1)
    client.client_kill_filter(_type="normal", skipme=True)
    yield
    client.config_set("maxclients", 100)


@contextmanager
def disk_gone(server: RedisServer, line: str) -> Iterator[None]:
    """Redis can't save, because a folder has the file's name."""
    client, dump = client_of(server), server.folder / "dump.rdb"
    client.config_set("save", "3600 1000000")
    dump.mkdir()
    client.bgsave()
    assert eventually(lambda: client.info("persistence")["rdb_last_bgsave_status"] == "err")
    yield
    dump.rmdir()
    assert eventually(lambda: saved(client))


def saved(client: "redis.Redis") -> bool:
    if not client.info("persistence")["rdb_bgsave_in_progress"]:
        client.bgsave()
    return bool(client.info("persistence")["rdb_last_bgsave_status"] == "ok")


@pytest.mark.parametrize(
    ("fault", "level", "broken"),
    [
        ("unreachable", "warning", killed),
        ("timeout", "warning", stopped),
        ("timeout", "warning", paused),
        ("memory", "error", configured("maxmemory", "1", "0")),
        ("readonly", "warning", replica),
        ("master_down", "warning", stale_replica),
        ("replicas", "warning", configured("min-replicas-to-write", "1", "0")),
        ("results_key", "error", wrong_type),
        ("permission", "error", user_is("-evalsha")),
        ("permission", "error", user_is("-setbit")),
        ("permission", "error", user_is("resetkeys")),
        ("login", "error", user_is("resetpass", ">another")),
        ("busy", "warning", busy),
        ("clients", "error", crowded),
        ("disk", "error", disk_gone),
    ],
    ids=lambda value: value if isinstance(value, str) else getattr(value, "__name__", "broken"),
)
def test_verdicts_wait_while_redis_takes_none_and_are_then_stored_once_and_in_order(
    durable_redis: RedisServer,
    line: str,
    fault: str,
    level: str,
    broken: Callable[[RedisServer, str], AbstractContextManager[None]],
) -> None:
    stored = Stored()
    url = durable_redis.url.replace("//", LOGIN)
    with capture_logs() as logs, writing(sink_at(url, line), stored) as writer:
        put(writer, *range(10))
        assert stored.wait_for(10)
        with broken(durable_redis, line):
            put(writer, *range(10, 200))
            assert eventually(lambda: fault in said(logs))
            assert stored.seqs == list(range(10))
        assert stored.wait_for(200)
        assert eventually(lambda: "Redis takes verdicts again" in [entry["event"] for entry in logs])
    assert stored.seqs == list(range(200))
    assert [read.tag.seq for read in stored_verdicts(durable_redis.url, line)] == list(range(200))
    assert {entry["log_level"] for entry in logs if entry.get("fault") == fault} == {level}
    assert len(said(logs)) == len(set(said(logs)))  # each fault is said once, however often it was tried


def said(logs: Sequence[Mapping[str, Any]]) -> list[str]:
    """The faults that the writer named for the whole line, in order."""
    return [entry["fault"] for entry in logs if "takes no verdicts" in entry["event"]]


def test_verdicts_that_were_being_stored_when_redis_was_killed_stand_once_and_in_order(
    durable_redis: RedisServer, line: str
) -> None:
    stored = Stored()
    with writing(sink_at(durable_redis.url, line), stored, limit=10_000) as writer:
        for start in range(0, 6000, 2000):
            put(writer, *range(start, start + 2000))
            assert stored.wait_for(start + 200)
            with killed(durable_redis, line):
                assert len(stored.frames) < start + 2000  # it was killed in the middle
            assert stored.wait_for(start + 2000)
    assert [read.tag.seq for read in stored_verdicts(durable_redis.url, line)] == list(range(6000))


class LossyProxy:
    """Stands between a client and a Redis, and swallows the answer to a script, ending the connection."""

    def __init__(self, port: int) -> None:
        self.lose = threading.Event()
        self.lost = 0
        self._target = port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:  # closed: the test is over
                return
            server = socket.create_connection(("127.0.0.1", self._target))
            script = threading.Event()
            threading.Thread(target=self._ask, args=(client, server, script), daemon=True).start()
            threading.Thread(target=self._answer, args=(client, server, script), daemon=True).start()

    def _ask(self, client: socket.socket, server: socket.socket, script: threading.Event) -> None:
        with suppress(OSError):  # the other direction has ended the connection
            while request := client.recv(1 << 20):
                if self.lose.is_set() and b"EVALSHA" in request:
                    script.set()
                server.sendall(request)
        with suppress(OSError):
            server.shutdown(socket.SHUT_RDWR)

    def _answer(self, client: socket.socket, server: socket.socket, script: threading.Event) -> None:
        with client, server:
            while answer := server.recv(1 << 20):
                if script.is_set():
                    self.lose.clear()
                    self.lost += 1
                    client.shutdown(socket.SHUT_RDWR)
                    return
                client.sendall(answer)

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()


def test_verdicts_whose_answer_was_lost_after_the_script_ran_stand_once(own_redis: RedisServer, line: str) -> None:
    proxy, stored = LossyProxy(own_redis.port), Stored()
    try:
        with writing(sink_at(f"redis://127.0.0.1:{proxy.port}/0", line), stored) as writer:
            put(writer, *range(10))
            assert stored.wait_for(10)
            proxy.lose.set()
            put(writer, *range(10, 30))
            assert stored.wait_for(30)
            assert proxy.lost == 1
            assert writer.counts["duplicate"] >= 1
    finally:
        proxy.close()
    assert [read.tag.seq for read in stored_verdicts(own_redis.url, line)] == list(range(30))
