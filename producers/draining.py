"""Threads that empty a driver's queue at once: a picture's age counts from its arrival, however busy we are."""

import threading
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Iterable

import structlog

from producers.errors import SourceError
from producers.snapshot import Snapshot, missing

log = structlog.get_logger("camera")

FAREWELL_S = 2.0  # for a driver to end what it is at
ROOM = 32  # pictures that are kept where each one counts


class DrainingThread(ABC):
    """Reads from a driver as fast as it delivers, and keeps what may be asked for.

    One thread asks; another, this object's own, reads and in the end releases the driver, which nobody else may touch.

    Args:
        read: waits a while for the next pictures. Raises `SourceError` when there are no more.
        release: frees the driver.

    Attributes:
        skipped: pictures that nobody will ever ask for.
    """

    def __init__(self, read: Callable[[], Iterable[Snapshot]], release: Callable[[], None]) -> None:
        self.skipped = 0
        self._read, self._release = read, release
        self._changed = threading.Condition()
        self._pictures: deque[Snapshot] = deque()
        self._error: Exception | None = None
        self._closing = False
        self._thread = threading.Thread(target=self._drain, name="driver", daemon=True)
        self._thread.start()

    def grab(self, timeout_s: float) -> Snapshot | None:
        """The next picture that nobody had yet; None if none comes within the time.

        Raises:
            SourceError: the driver has no more, and the last one was handed out.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._pictures or self._error is not None, timeout_s)
            if self._pictures:
                return self._pictures.popleft()
            if self._error is not None:
                raise self._error
            return None

    def close(self) -> None:
        """Ends the thread. A driver that hangs keeps it: it is left behind, and said."""
        self._closing = True
        self._thread.join(FAREWELL_S)
        if self._thread.is_alive():
            log.warning("the driver does not answer, its thread is left behind")

    @abstractmethod
    def _keep(self, picture: Snapshot) -> None:
        """Puts a picture where it is asked for. Under the lock."""

    def _drain(self) -> None:
        try:
            while not self._closing:
                for picture in self._read():
                    with self._changed:
                        self._keep(picture)
                        self._changed.notify_all()
        except Exception as error:  # whatever it is, whoever asks is told
            self._end(error)
        finally:
            self._release()

    def _end(self, error: Exception) -> None:
        known = error if isinstance(error, SourceError) else SourceError(f"the driver failed: {error}")
        with self._changed:
            self._error = known
            self._changed.notify_all()


class NewestPicture(DrainingThread):
    """Keeps the newest picture alone: for cameras that run by themselves, where any picture will do if it is fresh."""

    def _keep(self, picture: Snapshot) -> None:
        self.skipped += len(self._pictures)
        self._pictures.clear()
        self._pictures.append(picture)


class EveryPicture(DrainingThread):
    """Keeps each picture's place, and its pixels while there is room: for cameras whose every picture is a part's."""

    def _keep(self, picture: Snapshot) -> None:
        if len(self._pictures) >= ROOM:
            picture = missing("there was no room for the picture", captured=picture.captured, part=picture.part)
        self._pictures.append(picture)
