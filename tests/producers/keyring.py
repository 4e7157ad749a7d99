"""Keys for tests: a folder with a camera's pair and its two lists, and sockets that dial with keys or without."""

import io
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import structlog
import zmq
from zmq.utils.monitor import recv_monitor_message

from producers.daemon import configure_logging
from producers.keys import KeyPair, new_pair
from tests.producers.scripted_worker import PATIENCE_S

TURNED_AWAY = (
    zmq.EVENT_HANDSHAKE_FAILED_AUTH
    | zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL
    | zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL
    | zmq.EVENT_DISCONNECTED
)


class Keyring:
    """A folder of keys: the pair of `cam1`, and its lists, empty as yet."""

    def __init__(self, root: Path, folder: str = "keys") -> None:
        self.folder = root / folder
        self.pairs = {"cam1": new_pair(self.folder, "cam1")}
        for door in ("workers", "viewers"):
            (self.folder / door).mkdir()

    @property
    def camera_key(self) -> Path:
        return self.folder / "cam1.key"

    @property
    def server_key(self) -> str:
        return self.pairs["cam1"].public

    @property
    def secrets(self) -> list[str]:
        return [pair.secret.get_secret_value() for pair in self.pairs.values()]

    def pair(self, name: str) -> KeyPair:
        """A pair by name, made if it isn't there."""
        if name not in self.pairs:
            self.pairs[name] = new_pair(self.folder, name)
        return self.pairs[name]

    def admit(self, name: str, *doors: str) -> KeyPair:
        """Puts a key on lists, as an operator would: a copy of the file."""
        pair = self.pair(name)
        for door in doors:
            (self.folder / door / f"{name}.pub").write_bytes((self.folder / f"{name}.pub").read_bytes())
        return pair

    def expel(self, name: str, door: str) -> None:
        (self.folder / door / f"{name}.pub").unlink()


class Caller:
    """A socket that dials, and what libzmq tells of its handshakes."""

    def __init__(self, context: "zmq.Context[Any]", kind: int, endpoint: str, *, key: KeyPair | None, to: str) -> None:
        self.socket = context.socket(kind)
        self.socket.linger = 0
        self._monitor = self.socket.get_monitor_socket(TURNED_AWAY)
        if key is not None:
            key.introduce(self.socket, server_key=to)
        if kind == zmq.SUB:
            self.socket.subscribe(b"")
        self.socket.connect(endpoint)

    def is_turned_away(self, patience_s: float = PATIENCE_S) -> bool:
        """Whether a handshake fails in time."""
        if not self._monitor.poll(int(patience_s * 1000)):
            return False
        recv_monitor_message(self._monitor)
        return True

    def hears(self, wait_s: float = 0.0) -> bool:
        return bool(self.socket.poll(int(wait_s * 1000)))


@contextmanager
def logged(level: str) -> Iterator[Callable[[], str]]:
    """All that is logged meanwhile, as the daemons render it."""
    text = io.StringIO()
    configure_logging(level)
    structlog.configure(logger_factory=structlog.WriteLoggerFactory(file=text))
    try:
        yield text.getvalue
    finally:
        configure_logging("error")


@contextmanager
def calling(kind: int, endpoint: str, *, key: KeyPair | None = None, to: str = "") -> Iterator[Caller]:
    """Dials with a key to the holder of the public key `to`; without one, in plain."""
    context: zmq.Context[Any] = zmq.Context()
    try:
        caller = Caller(context, kind, endpoint, key=key, to=to)
        yield caller
    finally:
        context.destroy(linger=0)
