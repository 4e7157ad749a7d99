"""A Redis behind users or TLS, for tests: one that a plain client may not ask whether it is up."""

import subprocess
import time
from pathlib import Path

import redis

from tests.conftest import RedisServer
from worker.demo.processes import free_ports, redis_server


def start_secured(folder: Path, *options: str, tls: str = "") -> RedisServer:
    """Starts a redis-server on loopback and waits until it answers, if only to refuse.

    Args:
        folder: for its files.
        options: of redis-server.
        tls: query of a `rediss://` URL; then it speaks TLS alone.
    """
    (port,) = free_ports(1)
    ports = ["--port", "0", "--tls-port", str(port)] if tls else ["--port", str(port)]
    command = [redis_server(), *ports, "--bind", "127.0.0.1", "--dir", str(folder), "--save", "", *options]
    with (folder / "redis.log").open("ab") as log:
        server = RedisServer(subprocess.Popen(command, stdout=log, stderr=log), port, folder)
    url, ends = f"rediss://127.0.0.1:{port}/0?{tls}" if tls else server.url, time.monotonic() + 30
    while True:
        try:
            redis.Redis.from_url(url).ping()
            return server
        except redis.AuthenticationError:
            return server
        except redis.ConnectionError:
            if time.monotonic() > ends or server.process.poll() is not None:
                server.process.kill()
                raise
            time.sleep(0.02)
