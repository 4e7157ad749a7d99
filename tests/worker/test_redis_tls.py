"""Redis over TLS: certificates are checked, and what is wrong with one is said."""

import json
import shutil
import subprocess
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import pytest

from tests.conftest import RedisServer, stop_redis
from tests.worker.frames import verdict
from tests.worker.processes import sightline
from tests.worker.secured import start_secured
from tests.worker.sinks import Stored, now_judged, put, sink_at, writing
from worker.demo.processes import redis_server
from worker.errors import ResultsUnavailable
from worker.line import connect
from worker.reader import ResultReader


def openssl(*arguments: str, folder: Path) -> None:
    subprocess.run(["openssl", *arguments], cwd=folder, check=True, capture_output=True)


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An authority, `ca`, with a server and a client that it vouches for, and `stranger`, which knows neither."""
    if not shutil.which("openssl"):
        pytest.skip("no openssl on PATH")
    folder = tmp_path_factory.mktemp("certificates")
    for authority in ("ca", "stranger"):
        new = ("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", f"/CN={authority}")
        openssl(*new, "-keyout", f"{authority}.key", "-out", f"{authority}.crt", folder=folder)
    (folder / "names").write_text("subjectAltName=IP:127.0.0.1\n", encoding="utf-8")
    for name in ("server", "client"):
        ask = ("req", "-newkey", "rsa:2048", "-nodes", "-subj", f"/CN={name}")
        openssl(*ask, "-keyout", f"{name}.key", "-out", f"{name}.csr", folder=folder)
        sign = ("x509", "-req", "-CA", "ca.crt", "-CAkey", "ca.key", "-CAcreateserial", "-days", "2")
        openssl(*sign, "-extfile", "names", "-in", f"{name}.csr", "-out", f"{name}.crt", folder=folder)
    return folder


@pytest.fixture(scope="module")
def tls_redis(certificates: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """A Redis that speaks TLS alone, and asks clients for a certificate."""
    folder = tmp_path_factory.mktemp("tls")
    without = [redis_server(), "--port", "0", "--tls-port", "1"]  # and no certificate: it ends at once either way
    said = subprocess.run(without, capture_output=True, text=True, timeout=30, check=False, cwd=folder)
    if "Bad directive" in said.stdout + said.stderr:
        pytest.skip(f"{redis_server()} is built without TLS: put one with TLS on PATH (apt install redis-server)")
    files = [f"--tls-{what}-file" for what in ("cert", "key", "ca-cert")]
    names = ["server.crt", "server.key", "ca.crt"]
    options = [word for pair in zip(files, names, strict=True) for word in (pair[0], str(certificates / pair[1]))]
    server = start_secured(folder, *options, tls=query(certificates))
    yield server
    stop_redis(server)


def query(certificates: Path, *, authority: str = "ca", client: bool = True) -> str:
    own = f"&ssl_certfile={certificates}/client.crt&ssl_keyfile={certificates}/client.key" if client else ""
    return f"ssl_ca_certs={certificates}/{authority}.crt{own}"


def url_of(server: RedisServer, tls: str) -> str:
    return f"rediss://127.0.0.1:{server.port}/0?{tls}"


def test_verdicts_are_written_and_read_over_tls(tls_redis: RedisServer, certificates: Path, line: str) -> None:
    url, stored = url_of(tls_redis, query(certificates)), Stored()
    with writing(sink_at(url, line), stored) as writer:
        put(writer, *range(100))
        assert stored.wait_for(100)
    assert [read.tag.seq for read in islice(ResultReader(url, line).follow(start="0"), 100)] == list(range(100))


def test_the_commands_speak_tls(tls_redis: RedisServer, certificates: Path, line: str) -> None:
    url = url_of(tls_redis, query(certificates))
    sink_at(url, line).store(now_judged(verdict(7)))
    read = sightline("subscribe", "--redis", url, "--line", line, "--from", "0", "--count", "1", "--json")
    assert json.loads(read.stdout)["seq"] == 7
    checked = sightline("check", "--redis", url)
    assert f"rediss://127.0.0.1:{tls_redis.port}/0 answers" in checked.stdout.replace("\n", " ")


@pytest.mark.parametrize(
    ("authority", "client", "host", "fault"),
    [
        ("stranger", True, "127.0.0.1", "tls"),  # the server's certificate is not trusted
        ("ca", True, "localhost", "tls"),  # it is another host's
        ("ca", False, "127.0.0.1", "tls"),  # the client has none to show
    ],
)
def test_a_certificate_that_is_not_right_is_said_and_nothing_is_sent(
    tls_redis: RedisServer, certificates: Path, line: str, authority: str, client: bool, host: str, fault: str
) -> None:
    url = url_of(tls_redis, query(certificates, authority=authority, client=client)).replace("127.0.0.1", host)
    with pytest.raises(ResultsUnavailable) as caught:
        sink_at(url, line, clock=False).store(now_judged(verdict(1)))
    assert caught.value.fault.name == fault
    assert "ssl_ca_certs" not in str(caught.value)


def test_tls_to_a_redis_without_tls_is_said(own_redis: RedisServer, line: str) -> None:
    with pytest.raises(ResultsUnavailable) as caught:
        sink_at(own_redis.url.replace("redis://", "rediss://"), line, clock=False).store(now_judged(verdict(1)))
    assert caught.value.fault.name in {"tls", "timeout"}  # Redis may wait for the end of a line that never comes


@pytest.mark.parametrize(
    "bad",
    [
        "rediss://h/0?ssl_ca_cert=ca.crt",
        "rediss://h/0?ssl_ca_certs=/nowhere/ca.crt",
        "redis://h/0?ssl_ca_certs=ca.crt",
        "http://h",
    ],
)
def test_a_url_that_can_not_be_used_is_refused_before_anything_connects(bad: str) -> None:
    with pytest.raises(ResultsUnavailable, match="is not a Redis URL"):
        connect(bad, timeout_s=1.0)
