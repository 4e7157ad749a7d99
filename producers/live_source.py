"""A real camera or stream as a source: opened anew whenever it is lost, each gap said and counted."""

import time
from collections.abc import Callable, Generator, Iterator, Mapping
from typing import Protocol

import structlog

from producers.attribution import Attribution, Unattributed
from producers.errors import SettingsError, SourceError
from producers.settings import Policy
from producers.snapshot import Snapshot
from producers.sources import NAP_S

log = structlog.get_logger("camera")

PATIENCE_S = 10.0  # for a first picture; a camera that was there once is waited for without end
LAST_CALL_S = 1.0  # at the end, for pictures that were taken already
SHORTEST_PAUSE_S, LONGEST_PAUSE_S = 0.25, 2.0  # between two tries to open it


class Device(Protocol):
    """A camera or stream that is open. One thread."""

    @property
    def skipped(self) -> int:
        """Pictures that it let go because nobody asked in time."""

    def grab(self, timeout_s: float) -> Snapshot | None:
        """The next picture, or the place of one that is incomplete; None if none comes within the time.

        Raises:
            SourceError: it is lost.
        """

    def close(self) -> None:
        """Frees it."""


class LiveSource:
    """Yields a device's pictures until it is to stop, whatever becomes of the device.

    Args:
        label: for logs, without secrets.
        open_device: opens it. Raises `SourceError` if it is not there, `SettingsError` if that will not change.
        silence_s: without a picture for this long it is taken for lost; None: silence is no fault.
        attribution: says which part a picture shows.
        patience_s: to wait for the first picture.
        clock: monotonic seconds.
        sleep: waits that many seconds.
    """

    total = None
    policy: Policy = "drop_oldest"
    simulated = False

    def __init__(
        self,
        label: str,
        open_device: Callable[[], Device],
        *,
        silence_s: float | None,
        attribution: Attribution | None = None,
        patience_s: float = PATIENCE_S,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self.label = label
        self._open_device, self._silence_s, self._patience_s = open_device, silence_s, patience_s
        self._attribution = attribution or Unattributed()
        self._clock, self._sleep = clock, sleep
        self._device: Device | None = None
        self._began: float | None = None  # when the first picture was first waited for; None: there was one
        self._heard = self._next_try = 0.0
        self._pause_s = SHORTEST_PAUSE_S
        self._lost_since: float | None = None
        self._outages = self._skipped = self._incomplete = 0
        self._outage_s = 0.0

    def captures(self, *, stopping: Callable[[], bool]) -> Generator[Snapshot, None, None]:
        """Yields pictures, and the places of those that are missing; at the end those that it took already, too.

        Raises:
            SourceError: there was no first picture within the patience.
            SettingsError: it never was what the settings say.
        """
        self._began = self._heard = self._clock()
        try:
            self._attribution.open()
            while not stopping():
                picture = self._next()
                if picture is None:
                    yield from self._attribution.overdue(self._clock())
                else:
                    yield from self._attribution.attribute(picture)
                    self._heard = self._clock()  # silence begins when whoever takes pictures is back for more
            for picture in self._last_call():
                yield from self._attribution.attribute(picture)
            yield from self._attribution.left()
        finally:
            self._hang_up()
            self._attribution.close()

    def load(self) -> Mapping[str, float]:
        """What it counted so far. Any thread."""
        lost_since, device = self._lost_since, self._device
        lasting = 0.0 if lost_since is None else self._clock() - lost_since
        return {
            "source_up": float(device is not None and lost_since is None and self._began is None),
            "source_outages": self._outages,
            "source_outage_seconds": self._outage_s + lasting,
            "source_skipped": self._skipped + (0 if device is None else device.skipped),
            "source_incomplete": self._incomplete,
            **self._attribution.load(),
        }

    def _next(self) -> Snapshot | None:
        """The next picture; None if there is none just now."""
        if self._device is None and self._clock() < self._next_try:
            self._sleep(NAP_S)
            return None
        try:
            if self._device is None:
                self._device = self._open_device()
                self._heard = self._clock()
                if self._silence_s is None:  # that it is open is all there is to know of it
                    self._found()
            picture = self._device.grab(NAP_S)
            if picture is None and self._silence_s is not None and self._clock() - self._heard > self._silence_s:
                raise SourceError(f"{self.label}: no picture for {self._silence_s:g} s")
        except (SourceError, SettingsError) as error:
            if self._began is not None and isinstance(error, SettingsError):
                raise
            self._lose(error)
            return None
        if picture is not None:
            self._incomplete += picture.image is None
            self._found()
        return picture

    def _last_call(self) -> Iterator[Snapshot]:
        """What lies in the device: the parts went by. A camera that runs on must not keep us."""
        ends = self._clock() + LAST_CALL_S
        try:
            while self._device is not None and self._clock() < ends and (picture := self._device.grab(0)) is not None:
                self._incomplete += picture.image is None
                yield picture
        except (SourceError, SettingsError) as error:
            log.warning("source is lost, it was to end anyway", source=self.label, error=str(error))

    def _found(self) -> None:
        self._began, self._pause_s = None, SHORTEST_PAUSE_S
        if self._lost_since is not None:
            gap_s = self._clock() - self._lost_since
            self._outage_s, self._lost_since = self._outage_s + gap_s, None
            log.info("source is back", source=self.label, gap_s=round(gap_s, 1))

    def _lose(self, error: SourceError | SettingsError) -> None:
        """It is tried again after a pause, which gets longer."""
        self._hang_up()
        now = self._clock()
        if self._began is not None:
            if now - self._began >= self._patience_s:
                raise error
            log.warning("source is not there yet, it is tried again", source=self.label, error=str(error))
        elif self._lost_since is None:
            self._outages += 1
            self._lost_since = now if self._silence_s is None else self._heard
            self._attribution.lost()
            log.warning("source is lost, it is tried until it is back", source=self.label, error=str(error))
        self._next_try = now + self._pause_s
        self._pause_s = min(2 * self._pause_s, LONGEST_PAUSE_S)

    def _hang_up(self) -> None:
        if self._device is not None:
            self._device.close()
            self._skipped, self._device = self._skipped + self._device.skipped, None
