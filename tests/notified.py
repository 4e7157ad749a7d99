"""The other end of systemd's notification socket: what a daemon says, as it says it."""

import socket
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


class Listener:
    """A datagram socket like systemd's.

    Args:
        address: a path, or `@NAME` in Linux's abstract namespace.
    """

    def __init__(self, address: str) -> None:
        self.address = address
        self.heard: list[str] = []
        self.times: list[float] = []
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind("\0" + address[1:] if address.startswith("@") else address)

    def wait_for(self, words: str, timeout_s: float = 60) -> None:
        """Listens until something contains these words, said from now on or earlier."""
        ends = time.monotonic() + timeout_s
        while not any(words in said for said in self.heard):
            assert self.listen(ends - time.monotonic()), f"{words} was not said, only {self.heard}"

    def listen(self, timeout_s: float) -> bool:
        """Whether something is said in this time."""
        self.socket.settimeout(max(0.001, timeout_s))
        try:
            self.heard.append(self.socket.recv(4096).decode())
        except TimeoutError:
            return False
        self.times.append(time.monotonic())
        return True

    def drain(self) -> list[str]:
        """All that was said and not heard yet; then nothing has been heard."""
        while self.listen(0):
            continue
        said, self.heard, self.times = self.heard, [], []
        return said


@contextmanager
def listening(folder: Path, *, abstract: bool = False) -> Iterator[Listener]:
    """A socket for the time of a test."""
    listener = Listener(f"@sightline-{uuid.uuid4()}" if abstract else str(folder / "notify"))
    try:
        yield listener
    finally:
        listener.socket.close()
