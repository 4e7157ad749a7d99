"""The shipped redis.conf, in a Redis that is started with it."""

import re
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import redis

from tests.conftest import RedisServer, stop_redis
from tests.deploy.tools import DEPLOY, shipped
from tests.worker.frames import verdict
from tests.worker.sinks import command, now_judged, sink_at
from worker.demo.processes import free_ports, redis_server
from worker.errors import ResultsUnavailable
from worker.line import LineKeys

LINE = "line"  # the name in the ACL file
CONF = DEPLOY / "redis.conf"

Start = Callable[..., RedisServer]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Starts Redis with the shipped file, and the shipped ACL file with `secret` for all; only its places differ."""
    users = tmp_path / "users.acl"
    users.write_text(shipped("redis-users.acl").replace("resetpass", "resetpass >secret"), encoding="utf-8")
    conf = tmp_path / "redis.conf"
    conf.write_text(moved(shipped("redis.conf"), users=users), encoding="utf-8")
    running: list[RedisServer] = []

    def start_with(*options: str) -> RedisServer:
        (port,) = free_ports(1)
        with (tmp_path / "redis.log").open("ab") as log:
            process = subprocess.Popen(
                [redis_server(), str(conf), "--port", str(port), *options], stdout=log, stderr=log
            )
        running.append(RedisServer(process, port, tmp_path))
        await_answer(running[-1])
        return running[-1]

    yield start_with
    for server in running:
        stop_redis(server)


def moved(conf: str, *, users: Path) -> str:
    """The same file, with what it keeps beside the ACL file."""
    places = {"dir /var/lib/redis": f"dir {users.parent}", "aclfile /etc/redis/users.acl": f"aclfile {users}"}
    for place, here in places.items():
        assert conf.count(f"\n{place}\n") == 1
        conf = conf.replace(place, here)
    return conf


def await_answer(server: RedisServer) -> None:
    ends = time.monotonic() + 30
    while True:
        try:
            command(as_user(server, "admin"), "PING")
            return
        except (redis.ConnectionError, redis.exceptions.BusyLoadingError):
            assert server.process.poll() is None, (server.folder / "redis.log").read_text(encoding="utf-8")
            assert time.monotonic() < ends
            time.sleep(0.02)


def as_user(server: RedisServer, user: str) -> str:
    return server.url.replace("//", f"//{user}:secret@")


def setting(server: RedisServer, name: str) -> str:
    found = command(as_user(server, "admin"), "CONFIG", "GET", name)
    texts = found.items() if isinstance(found, dict) else [tuple(found)]
    return {bytes(key).decode(): bytes(value).decode() for key, value in texts}[name]


def test_redis_starts_with_it_keeps_to_loopback_and_lets_in_none_but_its_users(start: Start) -> None:
    server = start()
    assert setting(server, "bind") == "127.0.0.1"
    with pytest.raises(redis.AuthenticationError):
        redis.Redis.from_url(server.url).ping()
    assert sink_at(as_user(server, "sightline-worker"), LINE).store(now_judged(verdict(1))) == ["stored"]


def test_what_was_acknowledged_is_there_after_a_crash(start: Start) -> None:
    """Redis 7.0 reads its append-only file as the user `default`, and skips what that one may not do."""
    server = start()
    assert setting(server, "appendfsync") == "always"
    sink = sink_at(as_user(server, "sightline-worker"), LINE)
    for seq in range(50):
        assert sink.store(now_judged(verdict(seq))) == ["stored"]
    assert sink.store(now_judged(verdict(50), verdict(51))) == ["stored"] * 2  # a transaction in the append-only file
    stop_redis(server)  # it is killed: it saves nothing on its way out
    again = start()
    assert command(as_user(again, "admin"), "XLEN", LineKeys(LINE).results) == 52
    assert sink_at(as_user(again, "sightline-worker"), LINE).store(now_judged(verdict(7))) == ["duplicate"]


def test_when_it_is_full_it_refuses_and_forgets_nothing(start: Start) -> None:
    server = start("--maxmemory", "3mb")
    sink, stored = sink_at(as_user(server, "sightline-worker"), LINE), 0
    with pytest.raises(ResultsUnavailable) as caught:  # noqa: PT012 - it is full after a while
        while stored < 100_000:
            words = sink.store(now_judged(*(verdict(seq) for seq in range(stored, stored + 50))))
            stored += words.count("stored")
            if any("OOM" in word for word in words):
                raise ResultsUnavailable(words[-1])
    assert "OOM" in str(caught.value) or "maxmemory" in str(caught.value)
    assert stored > 0
    assert command(as_user(server, "admin"), "XLEN", LineKeys(LINE).results) == stored


def test_the_lines_for_tls_are_directives_that_redis_knows() -> None:
    """They are comments: nobody notices a slip of the pen until a plant turns them on."""
    offered = dict(re.findall(r"^#   (\S+) (\S+)$", CONF.read_text(encoding="utf-8"), re.MULTILINE))
    assert {"port", "tls-port", "tls-cert-file", "tls-key-file", "tls-ca-cert-file"} <= offered.keys()
    options = [word for key, value in offered.items() if key != "port" for word in (f"--{key}", value)]
    done = subprocess.run([redis_server(), *options], capture_output=True, text=True, timeout=30, check=False)
    said = done.stdout + done.stderr
    if "Bad directive" in said and "tls-port" in said:
        pytest.skip(f"{redis_server()} is built without TLS")
    assert "Bad directive" not in said, said
    assert "/etc/redis/tls" in said, "it gets as far as the certificates, which are not here"
