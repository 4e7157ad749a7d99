"""Files as one recording: those in a folder, or a single one, in the order of time."""

import heapq
import re
from collections.abc import Generator, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from producers.errors import RecordingError, SettingsError
from producers.recording.message import ALL, RecordedMessage, Wanted
from producers.recording.reading import Tell, read_messages
from producers.recording.settings import SUFFIX

UNITS_S = {"s": 1, "m": 60, "h": 3600}


def files_of(place: Path) -> list[Path]:
    """The files of a recording, by name.

    Args:
        place: a file, or a folder of files.

    Raises:
        RecordingError: there are none.
    """
    if place.is_file():
        return [place]
    found = sorted(path for path in place.glob(f"*{SUFFIX}") if path.is_file()) if place.is_dir() else []
    if not found:
        raise RecordingError(f"{place} holds no recording: expected a file NAME{SUFFIX}, or a folder of them")
    return found


class Recording:
    """One recording.

    Attributes:
        files: it lies in.
        start_ns: time of its first message; UTC since the epoch.

    Args:
        place: a file, or a folder of files.
        tell: told of everything that can't be read, a sentence each.

    Raises:
        RecordingError: there is nothing to read.
    """

    def __init__(self, place: Path, *, tell: Tell = lambda text: None) -> None:
        self._tell = tell
        starts = {path: self._first_ns(path, place) for path in files_of(place)}
        known = {path: start for path, start in starts.items() if start is not None}
        if not known:
            raise RecordingError(f"{place} holds no message that can be read")
        self.files = sorted(known, key=lambda path: known[path])
        self.start_ns = min(known.values())
        self._starts = known

    def messages(self, wanted: Wanted = ALL) -> Generator[RecordedMessage, None, None]:
        """What is wanted of all files, merged by time, each opened when its time has come; one gone by then is told."""
        waiting = list(reversed(self.files))
        heads: list[tuple[int, int, RecordedMessage, Iterator[RecordedMessage]]] = []
        opened = 0
        while waiting or heads:
            while waiting and (not heads or self._starts[waiting[-1]] <= heads[0][0]):
                opened += 1
                self._push(heads, opened, read_messages(waiting.pop(), wanted, tell=self._tell))
            if heads:
                _, turn, message, rest = heapq.heappop(heads)
                yield message
                self._push(heads, turn, rest)

    def between(self, wanted: Wanted, since: str | None, until: str | None) -> Wanted:
        """The same, within two moments as a person wrote them.

        Raises:
            SettingsError: one of them can't be read.
        """
        first = wanted.since_ns if since is None else moment_ns(since, start_ns=self.start_ns)
        last = wanted.until_ns if until is None else moment_ns(until, start_ns=self.start_ns)
        return replace(wanted, since_ns=first, until_ns=last)

    def _first_ns(self, path: Path, place: Path) -> int | None:
        """Time of a file's first message; None if it has none, or is one of many and can't be read."""
        try:
            message = next(read_messages(path), None)
        except RecordingError as error:
            if path == place:
                raise
            self._tell(str(error))
            return None
        return None if message is None else message.time_ns

    def _push(
        self,
        heads: list[tuple[int, int, RecordedMessage, Iterator[RecordedMessage]]],
        turn: int,
        rest: Iterator[RecordedMessage],
    ) -> None:
        try:
            message = next(rest, None)
        except RecordingError as error:  # it was there before: somebody has made room, or the disk fails
            self._tell(str(error))
            return
        if message is not None:
            heapq.heappush(heads, (message.time_ns, turn, message, rest))


def moment_ns(text: str, *, start_ns: int) -> int:
    """A moment as people write it: `90s`, `5m` or `2h` from a recording's start, or a date and time, UTC by default.

    Raises:
        SettingsError: it is neither.
    """
    offset = re.fullmatch(r"(\d{1,9}(?:\.\d{1,9})?)([smh])", text)
    if offset:
        return start_ns + int(float(offset[1]) * UNITS_S[offset[2]] * 1e9)
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        known = "write 90s, 5m or 2h from the start, or 2026-05-04T13:30"
        raise SettingsError(f"{text[:50]!r} is no moment: {known}") from error
    return int((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp() * 1e9)
