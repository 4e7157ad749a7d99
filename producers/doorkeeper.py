"""The doorkeeper: answers libzmq's question, at every handshake, whether a key may come in (RFC 27, ZAP).

Two doors with a list of their own each: `work` for workers, `live` for viewers. A list is a folder that is read anew
at every handshake: those who are added may come in, those who are taken out are refused when they next dial. A
connection that stands is not cut.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import structlog
import zmq
from zmq.auth.thread import ThreadAuthenticator

from producers.errors import SettingsError
from producers.keys import KeyPair, listed, read_pair, read_public

log = structlog.get_logger("doorkeeper")

Door = Literal["work", "live"]
MAX_SAID = 1000  # strangers may draw new keys without end: the log must not grow with them


@dataclass(frozen=True)
class DoorKeys:
    """What a publisher needs to lock its doors.

    Attributes:
        pair: its own.
        lists: of public keys, a folder a door.
    """

    pair: KeyPair
    lists: dict[str, Path]

    @classmethod
    def read(cls, key: Path | None, *, workers: Path | None, viewers: Path | None) -> "DoorKeys | None":
        """Reads what is configured; None if nothing is. A list that isn't named lies beside the key.

        Args:
            key: file of the publisher's own pair.
            workers: folder of those who may work; by default `workers`.
            viewers: folder of those who may watch; by default `viewers`.

        Raises:
            SettingsError: half of it is missing, can't be read, or is malformed.
        """
        if key is None:
            if workers or viewers:
                raise SettingsError(
                    f"{workers or viewers} lists keys, but the camera has none of its own: name its key"
                )
            return None
        pair = read_pair(key)
        lists = {"work": workers or key.parent / "workers", "live": viewers or key.parent / "viewers"}
        for door, folder in lists.items():
            if not [read_public(file) for file in listed(folder)]:
                log.warning("nobody is listed, so nobody is let in for now", door=door, list=str(folder))
        return cls(pair, lists)


class Doorkeeper:
    """Guards a publisher's sockets. Opened, guarded and closed by one thread; it answers in a thread of pyzmq's.

    Args:
        context: of the sockets. The doorkeeper answers from here on: libzmq without one admits any key.
        keys: the publisher's own, and the lists.
    """

    def __init__(self, context: "zmq.Context[Any]", keys: DoorKeys) -> None:
        self.keys = keys
        self.refused = 0
        self._said: set[tuple[str, ...]] = set()
        self._authenticator = ThreadAuthenticator(context)
        for door in keys.lists:
            self._authenticator.configure_curve_callback(door, self)
        self._authenticator.start()

    def guard(self, socket: "zmq.Socket[Any]", door: Door) -> None:
        """Locks a socket that is not bound yet."""
        socket.curve_server = True
        socket.curve_secretkey = self.keys.pair.secret.get_secret_value().encode()
        socket.zap_domain = door.encode()
        socket.setsockopt(zmq.ZAP_ENFORCE_DOMAIN, 1)  # without an answer nobody comes in

    def callback(self, door: str, key: bytes) -> bool:
        """Whether this key may come in. pyzmq calls it; an error here would end its thread and lock everybody out."""
        who = self._who(door, key.decode())
        if who is None:
            self.refused += 1
            self._say("key refused: it is not on the list", door, list=str(self.keys.lists[door]), key=key.decode())
            return False
        self._said.clear()  # what is refused after this is news again
        log.info("key let in", door=door, who=who)
        return True

    def _who(self, door: str, key: str) -> str | None:
        """The name that a key is listed by. A file that can't be read lets nobody in, and stops nobody else."""
        try:
            files = listed(self.keys.lists[door])
        except SettingsError as error:
            self._say("list can't be read, nobody is let in", door, error=str(error))
            return None
        for file in files:
            try:
                if read_public(file) == key:
                    return file.stem
            except SettingsError as error:
                self._say("listed key can't be read", door, error=str(error))
        return None

    def _say(self, event: str, door: str, **what: str) -> None:
        """Warns of one thing once, until somebody comes in."""
        said = (event, door, *what.values())
        if said not in self._said and len(self._said) < MAX_SAID:
            self._said.add(said)
            log.warning(event, door=door, **what)

    def close(self) -> None:
        """Ends the thread. The sockets are closed before."""
        self._authenticator.stop()
