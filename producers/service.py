"""What a daemon tells systemd: that it is ready, that its loop turns, that it stops.

The protocol is sd_notify(3): datagrams to the socket that `NOTIFY_SOCKET` names. Where there is none, nothing is said.
"""

import os
import socket
import time
from collections.abc import Mapping

import structlog

log = structlog.get_logger("service")

BEATS_A_WATCHDOG = 4  # one may be lost, and one late
STARTING_BEAT_S = 5.0
STARTING_PATIENCE_S = 60.0


class ServiceManager:
    """The service manager that started this process, if one did. Any thread.

    Args:
        environment: where `NOTIFY_SOCKET`, `WATCHDOG_USEC` and `WATCHDOG_PID` stand; by default this process's.
    """

    def __init__(self, environment: Mapping[str, str] = os.environ) -> None:
        address = environment.get("NOTIFY_SOCKET", "")
        self._address = "\0" + address[1:] if address.startswith("@") else address  # Linux's abstract names
        self._watchdog_s = _watchdog_s(environment)
        self._due = 0.0
        self._ready = self._told_trouble = False
        self._status = ""

    @property
    def present(self) -> bool:
        """Whether there is one."""
        return bool(self._address)

    @property
    def told_ready(self) -> bool:
        """Whether it has been told that this daemon is ready."""
        return self._ready

    def ready(self) -> None:
        """The daemon does its work from here on."""
        self._ready = self._ready or self._tell("READY=1")

    def stopping(self) -> None:
        """The daemon finishes what is in hand, and leaves."""
        self._tell("STOPPING=1")

    def status(self, text: str) -> None:
        """One line for people: `systemctl status` shows it."""
        if text != self._status and self._tell(f"STATUS={text}"):
            self._status = text

    def beat(self) -> None:
        """The loop that does the work has turned; nobody else may say so. As often as you like: few are passed on.

        A daemon that is not ready yet asks for more time as well: it may wait long for others, but must not hang.
        """
        now = time.monotonic()
        if not self.present or now < self._due:
            return
        words = ["WATCHDOG=1"] if self._watchdog_s else []
        if not self._ready:
            words.append(f"EXTEND_TIMEOUT_USEC={STARTING_PATIENCE_S * 1e6:.0f}")
        self._due = now + min(self._watchdog_s / BEATS_A_WATCHDOG or STARTING_BEAT_S, STARTING_BEAT_S)
        if words:
            self._tell("\n".join(words))

    def _tell(self, words: str) -> bool:
        """Says it. Returns False if it could not be said, for nobody is there or their queue is full."""
        if not self.present:
            return False
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as datagrams:  # a few a second at most
                datagrams.setblocking(False)  # a service manager that is slow to read must not hold up the work
                datagrams.sendto(words.encode(), self._address)
        except OSError as error:  # the work goes on: who waits for a word that never comes has a time limit
            say = log.debug if self._told_trouble else log.warning
            self._told_trouble = True
            say("the service manager can't be told", words=words, error=str(error))
            return False
        return True


def _watchdog_s(environment: Mapping[str, str]) -> float:
    """Seconds within which a beat is expected; 0: none is, or of another process."""
    meant = environment.get("WATCHDOG_PID", str(os.getpid())) == str(os.getpid())
    usec = environment.get("WATCHDOG_USEC", "")
    return int(usec) / 1e6 if meant and usec.isdecimal() else 0.0
