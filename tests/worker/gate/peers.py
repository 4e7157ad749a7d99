"""Modbus peers of the gate as processes of their own: they can be killed, and stopped while their sockets stay open."""

import json
import signal
import subprocess
import sys
from typing import Any, Self

from worker.demo.processes import free_ports


class Peer:
    """A process that answers in JSON, a line each. A context manager.

    Args:
        module: to be run, beside this one.
        arguments: of it.
    """

    def __init__(self, module: str, *arguments: object) -> None:
        command = [sys.executable, "-m", f"tests.worker.gate.{module}", *map(str, arguments)]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert self.answer() == "up"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    def answer(self) -> Any:
        """The next line that it says."""
        assert self.process.stdout
        return json.loads(self.process.stdout.readline())

    def kill(self) -> None:
        """Ends it, without a word to whoever is connected but what its kernel says."""
        self.process.kill()
        self.process.communicate()

    def freeze(self) -> None:
        """Stops it: its sockets stay open, nobody reads them."""
        self.process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Lets it go on."""
        self.process.send_signal(signal.SIGCONT)


class PlcMemory(Peer):
    """`plc_memory`: a PLC that is a server."""

    def __init__(self, port: int | None = None, *, registers: int = 2000, slow_ms: int = 0) -> None:
        self.port = port or free_ports(1)[0]
        super().__init__("plc_memory", self.port, registers, slow_ms)

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    def read(self, at: int, count: int) -> list[int]:
        found: list[int] = self._order("read", at, count)
        return found

    def write(self, at: int, words: list[int]) -> None:
        self._order("write", at, words)

    def writes(self) -> list[tuple[int, int]]:
        """(address, registers) of each write since the last look."""
        return [(at, count) for at, count in self._order("writes")]

    def _order(self, *order: object) -> Any:
        assert self.process.stdin
        self.process.stdin.write(json.dumps(order) + "\n")
        self.process.stdin.flush()
        return self.answer()


class PlcPoller(Peer):
    """`plc_poller`: a PLC that polls."""

    def __init__(self, port: int, seconds: float) -> None:
        super().__init__("plc_poller", port, seconds)
