"""A thread that empties a driver's queue and keeps the newest picture alone: no frame is older than it seems."""

import threading
from collections.abc import Callable

import structlog

from producers.errors import SourceError
from producers.snapshot import Snapshot

log = structlog.get_logger("camera")

FAREWELL_S = 2.0  # for a driver to end what it is at


class NewestPicture:
    """Reads from a driver as fast as it delivers; whoever asks gets the latest picture, once.

    One thread asks; another, this object's own, reads and in the end releases the driver, which nobody else may touch.

    Args:
        read: the next picture; waits for it. Raises `SourceError` when there are no more.
        release: frees the driver.

    Attributes:
        skipped: pictures that nobody asked for before the next one came.
    """

    def __init__(self, read: Callable[[], Snapshot], release: Callable[[], None]) -> None:
        self.skipped = 0
        self._read, self._release = read, release
        self._changed = threading.Condition()
        self._picture: Snapshot | None = None
        self._error: Exception | None = None
        self._closing = False
        self._thread = threading.Thread(target=self._drain, name="driver", daemon=True)
        self._thread.start()

    def grab(self, timeout_s: float) -> Snapshot | None:
        """The newest picture that nobody had yet; None if none comes within the time.

        Raises:
            SourceError: the driver has no more, and the last one was handed out.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._picture is not None or self._error is not None, timeout_s)
            picture, self._picture = self._picture, None
            if picture is None and self._error is not None:
                raise self._error
            return picture

    def close(self) -> None:
        """Ends the thread. A driver that hangs keeps it: it is left behind, and said."""
        self._closing = True
        self._thread.join(FAREWELL_S)
        if self._thread.is_alive():
            log.warning("the driver does not answer, its thread is left behind")

    def _drain(self) -> None:
        try:
            while not self._closing:
                self._keep(self._read())
        except Exception as error:  # whatever it is, whoever asks is told
            self._end(error)
        finally:
            self._release()

    def _keep(self, picture: Snapshot) -> None:
        with self._changed:
            self.skipped += self._picture is not None
            self._picture = picture
            self._changed.notify_all()

    def _end(self, error: Exception) -> None:
        known = error if isinstance(error, SourceError) else SourceError(f"the driver failed: {error}")
        with self._changed:
            self._error = known
            self._changed.notify_all()
