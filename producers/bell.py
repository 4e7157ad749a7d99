"""A bell: any thread rings it, and wakes the one that polls for it among ZeroMQ sockets.

Linux's eventfd(2), elsewhere a pair of sockets. A ZeroMQ socket does as well, but each ringing thread would need one of
its own, and to wake a thread with it costs two to three times as much (measured).
"""

import os
import socket
import sys
import threading


class Bell:
    """Any thread may ring; one polls `fd` for input and then hears it out."""

    def __init__(self) -> None:
        self._lock = threading.Lock()  # nobody rings at a number that is another file's by now
        self._open = True
        if sys.platform == "linux":
            self.fd = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        else:
            self._near, self._far = socket.socketpair()
            for end in (self._near, self._far):
                end.setblocking(False)
            self.fd = self._far.fileno()

    def ring(self) -> None:
        """Wakes whoever polls. Does nothing once it is closed."""
        with self._lock:
            if not self._open:
                return
            try:
                if sys.platform == "linux":
                    os.eventfd_write(self.fd, 1)
                else:
                    self._near.send(b"\0")
            except BlockingIOError:
                return  # it has rung often enough

    def hear(self) -> None:
        """However often it rang, once is heard. Returns at once if it did not ring."""
        try:
            if sys.platform == "linux":
                os.eventfd_read(self.fd)
            else:
                self._far.recv(65_536)
        except BlockingIOError:
            return

    def close(self) -> None:
        """A second call does nothing. Whoever polls has ended by then."""
        with self._lock:
            if not self._open:
                return
            self._open = False
            if sys.platform == "linux":
                os.close(self.fd)
            else:
                self._near.close()
                self._far.close()
