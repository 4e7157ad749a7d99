"""Which file is written next, and which is removed: by size, by time, and within a limit of the disk."""

import re
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import structlog
from filelock import FileLock, Timeout

from producers.errors import SettingsError
from producers.recording.file import RecordingFile
from producers.recording.settings import SUFFIX, RecordingSettings

log = structlog.get_logger("recording")


class Rotation:
    """The files of one recording. One thread; methods may raise `OSError`, after which `give_up` goes on.

    Attributes:
        file: the one being written; None before the first message and after `give_up`.

    Args:
        settings: of the recording.
        clock: monotonic, seconds.
        now_ns: UTC since the epoch, for names.

    Raises:
        SettingsError: the folder can't be made, the file is there already, or somebody else records under this name.
    """

    def __init__(
        self,
        settings: RecordingSettings,
        *,
        clock: Callable[[], float] = time.monotonic,
        now_ns: Callable[[], int] = time.time_ns,
    ) -> None:
        self.settings = settings
        self.file: RecordingFile | None = None
        self._clock, self._now_ns = clock, now_ns
        self._began = self._flushed = 0.0
        self._synced = 0  # messages of the file that are on the disk
        folder = settings.out.parent if settings.single else settings.out
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise SettingsError(f"no recording can be kept in {folder}: {error.strerror}") from error
        if settings.single and settings.disk_bytes is not None:
            raise SettingsError(f"{settings.out} is one file, a limit of the disk is for many: give a folder instead")
        if settings.single and settings.out.exists():
            raise SettingsError(
                f"{settings.out} is there already, and no recording is overwritten: choose another name"
            )
        self._lock = None if settings.single else _lock(folder, settings.name)

    def current(self) -> RecordingFile:
        """The file for the next message: the same as before, or a new one."""
        if self.file is not None and not self.settings.single and self._is_full(self.file):
            self.close()
        if self.file is None:
            self._make_room()
            settings = self.settings
            self.file = RecordingFile(self._path(), chunk_bytes=settings.chunk_bytes, compression=settings.compression)
            self._began = self._flushed = self._clock()
            self._synced = 0
        return self.file

    def due_in_s(self) -> float:
        """Seconds until what has been added must be on the disk; without anything to write, the whole window."""
        if self.file is None or self.file.messages == self._synced:
            return self.settings.window_s
        return max(0.0, self._flushed + self.settings.window_s - self._clock())

    def flush(self) -> None:
        """Puts what has been added on the disk, and removes what the limit has no room for."""
        if self.file is not None and self.file.messages > self._synced:
            self.file.flush()
            self._flushed, self._synced = self._clock(), self.file.messages
            self._make_room()

    def close(self) -> None:
        """Ends the file, if there is one."""
        if self.file is not None:
            self.file.close()
            self.file = None

    def let_go(self) -> None:
        """Leaves the name to others. Nothing is written after that."""
        if self._lock is not None:
            self._lock.release()

    def give_up(self) -> int:
        """After an error: leaves the file as far as it is whole. Returns how many messages are lost."""
        file, self.file = self.file, None
        return file.abandon() if file is not None else 0

    def _is_full(self, file: RecordingFile) -> bool:
        too_old = self._clock() - self._began >= self.settings.file_s
        return bool(file.messages) and (file.size_bytes >= self.settings.most_file_bytes or too_old)

    def _path(self) -> Path:
        """A name that is not taken; in a folder names sort by time."""
        settings, milliseconds, count = self.settings, self._now_ns() // 1_000_000, 1
        path = settings.out if settings.single else self._named(milliseconds)
        while path.exists():
            count += 1
            single = settings.out.with_name(f"{settings.out.stem}-{count}{SUFFIX}")
            path = single if settings.single else self._named(milliseconds + count)
        return path

    def _named(self, milliseconds: int) -> Path:
        moment = datetime.fromtimestamp(milliseconds // 1000, UTC)
        name = f"{self.settings.name}_{moment:%Y%m%dT%H%M%S}-{milliseconds % 1000:03d}{SUFFIX}"
        return self.settings.out / name

    def _make_room(self) -> None:
        settings = self.settings
        if settings.disk_bytes is None or settings.single:
            return
        current = self.file.path if self.file is not None else None
        mine = re.compile(rf"{re.escape(settings.name)}_\d{{8}}T\d{{6}}-\d{{3}}{re.escape(SUFFIX)}")
        found = sorted(path for path in settings.out.iterdir() if mine.fullmatch(path.name))
        sizes = {path: path.stat().st_size for path in found}
        for path in found:
            if sum(sizes.values()) <= settings.disk_bytes:
                return
            if path != current:
                path.unlink()
                del sizes[path]
                log.info("the oldest recording is removed: the disk's limit is reached", file=str(path))


def _lock(folder: Path, name: str) -> FileLock:
    """Two that recorded under one name would remove each other's files."""
    lock = FileLock(folder / f".{name}.lock", timeout=0, thread_local=False)
    try:
        lock.acquire()
    except Timeout as error:
        raise SettingsError(f"{folder} has a recorder named {name} already: choose another name or folder") from error
    except OSError as error:
        raise SettingsError(f"no recording can be kept in {folder}: {error.strerror or error}") from error
    return lock
