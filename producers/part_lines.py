"""Announcements of parts, a line each, from a barcode reader or a PLC: over TCP, or on a serial port."""

import os
import re
import select
import socket
import sys
import threading
import time
from abc import ABC, abstractmethod
from contextlib import suppress
from queue import Full, Queue
from types import ModuleType

import structlog

from producers.announced import Announcement, announcement
from producers.errors import SettingsError

log = structlog.get_logger("camera")

WAITING_AT_MOST = 4096  # announcements that nobody took yet; then whoever sends them has to wait
LONGEST_LINE = 512  # bytes
CONNECT_S, TICK_S, PAUSE_S = 5.0, 0.1, 0.5
_ENDS = re.compile(rb"[\r\n\x00\x02\x03]+")  # readers frame what they read in one of these ways


class PartLines(ABC):
    """A thread that hears lines, dialling again whenever the other end is gone; a line's time is when its end came.

    Args:
        label: of the other end, for logs.
    """

    def __init__(self, label: str) -> None:
        self.label = label
        self._heard: Queue[Announcement] = Queue(WAITING_AT_MOST)
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, name="parts", daemon=True)

    def open(self) -> None:
        """Begins to listen."""
        self._thread.start()

    def take(self) -> list[Announcement]:
        """What was announced since, in its order."""
        return [self._heard.get_nowait() for _ in range(self._heard.qsize())]  # nobody else takes any

    def close(self) -> None:
        """Ends listening."""
        self._closing.set()
        if self._thread.is_alive():
            self._thread.join()

    @abstractmethod
    def _dial(self) -> None:
        """Connects. Raises `OSError`."""

    @abstractmethod
    def _receive(self) -> bytes | None:
        """What came within a tick, None if nothing. Raises `OSError` if the other end is gone."""

    @abstractmethod
    def _hang_up(self) -> None:
        """Frees the connection, if there is one."""

    def _run(self) -> None:
        is_known_lost = False
        while not self._closing.is_set():
            try:
                self._dial()
                log.info("parts are announced", by=self.label)
                is_known_lost = False
                self._listen()
            except (OSError, UnicodeError) as error:  # the latter of a name that can be none: tcp://plc..local
                if not is_known_lost:
                    log.warning("nobody announces parts, dialling again", by=self.label, error=str(error))
                is_known_lost = True
                self._closing.wait(PAUSE_S)
            finally:
                self._hang_up()

    def _listen(self) -> None:
        rest = b""
        while not self._closing.is_set():
            data = self._receive()
            if data is None:
                continue
            *lines, rest = _ENDS.split(rest + data)
            now = time.monotonic()
            for line in lines:
                self._note(line, now)
            rest = rest[: LONGEST_LINE + 1]  # enough to tell, once its end comes, that it is too long

    def _note(self, line: bytes, now: float) -> None:
        if not line.strip():
            return
        heard = announcement(line.decode("utf-8", "replace"), now) if len(line) <= LONGEST_LINE else None
        if heard is None:
            log.warning("a line that announces no part", by=self.label, line=ascii(line[:80]))
            return
        while not self._closing.is_set():
            with suppress(Full):
                self._heard.put(heard, timeout=TICK_S)
                return


class TcpLines(PartLines):
    """Lines of a reader or PLC that waits for connections.

    Args:
        host: of it.
        port: likewise.
    """

    def __init__(self, host: str, port: int) -> None:
        super().__init__(f"tcp://{host}:{port}")
        self._address = (host, port)
        self._socket: socket.socket | None = None

    def _dial(self) -> None:
        self._socket = socket.create_connection(self._address, CONNECT_S)
        self._socket.settimeout(TICK_S)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for name, seconds in (("TCP_KEEPIDLE", 5), ("TCP_KEEPINTVL", 2), ("TCP_KEEPCNT", 3)):
            if hasattr(socket, name):
                self._socket.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), seconds)

    def _receive(self) -> bytes | None:
        assert self._socket is not None  # noqa: S101 - dialled first
        try:
            data = self._socket.recv(4096)
        except TimeoutError:
            return None
        if not data:
            raise ConnectionError("the other end has hung up")
        return data

    def _hang_up(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None


class SerialLines(PartLines):
    """Lines on a serial port, 8 bits, no parity.

    Args:
        device: `/dev/ttyUSB0` for example.
        baud: bits a second.

    Raises:
        SettingsError: no such speed, or serial ports can't be read here.
    """

    def __init__(self, device: str, baud: int) -> None:
        super().__init__(f"serial:{device}")
        self._device, self._port = device, -1
        self._termios = _termios()
        speed = getattr(self._termios, f"B{baud}", None)
        if speed is None:
            raise SettingsError(f"{baud} is no speed of a serial port: 9600 or 115200, for example")
        self._speed: int = speed

    def _dial(self) -> None:
        self._port = os.open(self._device, os.O_RDONLY | os.O_NOCTTY | os.O_NONBLOCK)
        termios = self._termios
        try:
            kept = termios.tcgetattr(self._port)
            flags = termios.CS8 | termios.CREAD | termios.CLOCAL
            raw = [0, 0, flags, 0, self._speed, self._speed, kept[6]]
            termios.tcsetattr(self._port, termios.TCSANOW, raw)
        except termios.error as error:
            raise OSError(f"{self._device} is no serial port: {error}") from error

    def _receive(self) -> bytes | None:
        if not select.select([self._port], [], [], TICK_S)[0]:
            return None
        data = os.read(self._port, 4096)
        if not data:
            raise ConnectionError("the port is gone")
        return data

    def _hang_up(self) -> None:
        if self._port >= 0:
            os.close(self._port)
            self._port = -1


def part_lines(text: str) -> PartLines:
    """Where parts are announced: `tcp://HOST:PORT`, or `serial:DEVICE`, `serial:DEVICE@BAUD`.

    Raises:
        SettingsError: it is neither.
    """
    if address := re.fullmatch(r"tcp://(\[[0-9A-Fa-f:.]+\]|[^:\[\]/\s]+):(\d{1,5})", text):
        if 0 < int(address[2]) < 65_536:
            return TcpLines(address[1].strip("[]"), int(address[2]))
    elif port := re.fullmatch(r"serial:([^@\s]+)(?:@(\d+))?", text):
        return SerialLines(port[1], int(port[2] or 9600))
    raise SettingsError(f"{text} announces no parts: expected counter, tcp://HOST:PORT or serial:/dev/ttyUSB0@9600")


def _termios() -> ModuleType:
    if sys.platform == "win32":
        raise SettingsError("serial ports can't be read on Windows: let the reader send its lines over TCP")
    import termios

    return termios
