"""A TCP proxy that misbehaves when told to: it stalls, delays, closes one half, cuts, or swallows answers."""

import socket
import struct
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from types import TracebackType

from tests.producers.scripted_worker import wait_until

CHUNK = 65_536
_RESET = struct.pack("ii", 1, 0)  # SO_LINGER: a close that sends RST


class Proxy:
    """Forwards connections on loopback to a port of this machine. A context manager; any thread may command it.

    Args:
        port: that it forwards to. It need not listen yet: a caller that comes too early is turned away.
    """

    def __init__(self, port: int) -> None:
        self.target = port
        self.delay_s = 0.0  # for each chunk, either way
        self.calls = 0  # connections so far
        self._flowing = threading.Event()
        self._flowing.set()
        self._open = True
        self._closed = self._swallowing = False
        self._pairs: list[tuple[socket.socket, socket.socket]] = []
        self._lock = threading.Lock()
        self._threads: list[threading.Thread] = []
        self._door = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._door.getsockname()[1]
        self._start(self._accept)

    def __enter__(self) -> "Proxy":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._closed = True
        self.resume()
        with suppress(OSError):
            self._door.shutdown(socket.SHUT_RDWR)  # wakes `accept`
        self._door.close()
        self._drop_all()
        for thread in self._threads:
            thread.join()

    def wait_for_calls(self, calls: int) -> None:
        """Until it has been dialled so often, in all."""
        wait_until(lambda: self.calls >= calls, what=f"{calls} connections", patience_s=90)

    def stall(self) -> None:
        """Passes nothing on, and closes nothing: a cable that is pulled looks like this."""
        self._flowing.clear()

    def resume(self) -> None:
        """Ends `stall`; what waited goes on."""
        self._flowing.set()

    def half_close(self, *, towards_target: bool) -> None:
        """Ends one direction of every connection there is; the other one still passes."""
        with self._lock:
            for caller, target in self._pairs:
                with suppress(OSError):
                    (target if towards_target else caller).shutdown(socket.SHUT_WR)

    def cut(self) -> None:
        """Resets every connection and turns callers away, until `restore`."""
        self._open = False
        self._drop_all()

    def restore(self) -> None:
        """Ends `cut`."""
        self._open = True

    def swallow_answers(self) -> None:
        """From now on requests reach the target and its answers reach nobody, until `deliver_answers`."""
        self._swallowing = True

    def deliver_answers(self) -> None:
        """Ends `swallow_answers`. Connections that miss an answer are reset."""
        self._drop_all()
        self._swallowing = False

    def _accept(self) -> None:
        while not self._closed:
            try:
                caller, _ = self._door.accept()
            except OSError:
                return  # the door is closed
            self._serve(caller)

    def _serve(self, caller: socket.socket) -> None:
        try:
            if not self._open:
                raise ConnectionRefusedError
            target = socket.create_connection(("127.0.0.1", self.target), timeout=5)
        except OSError:
            _reset(caller)
            return
        target.settimeout(None)
        pair = (caller, target)
        with self._lock:
            self._pairs.append(pair)
            self.calls += 1
        self._start(lambda: self._pump(pair, caller, target, answers=False))
        self._start(lambda: self._pump(pair, target, caller, answers=True))

    def _pump(
        self, pair: tuple[socket.socket, socket.socket], source: socket.socket, sink: socket.socket, *, answers: bool
    ) -> None:
        try:
            while chunk := source.recv(CHUNK):
                self._flowing.wait()
                if self.delay_s:
                    time.sleep(self.delay_s)
                if answers and self._swallowing:
                    continue
                sink.sendall(chunk)
        except OSError:
            self._drop(pair)  # one end is gone: so is the other
            return
        self._drop(pair)

    def _drop_all(self) -> None:
        with self._lock:
            pairs = list(self._pairs)
        for pair in pairs:
            self._drop(pair)

    def _drop(self, pair: tuple[socket.socket, socket.socket]) -> None:
        with self._lock:
            if pair in self._pairs:
                self._pairs.remove(pair)
        for end in pair:
            _reset(end)

    def _start(self, work: Callable[[], None]) -> None:
        thread = threading.Thread(target=work, name="proxy", daemon=True)
        self._threads.append(thread)
        thread.start()


def _reset(end: socket.socket) -> None:
    with suppress(OSError):
        end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        end.shutdown(socket.SHUT_RDWR)  # wakes the thread that reads from it
    end.close()
