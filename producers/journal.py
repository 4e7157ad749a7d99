"""The publisher's journal: no frame is silent, not even when the process beside the camera is killed.

A publisher that is killed takes its pixels with it. Its journal says which frames it had given out, so that the next
publisher of this camera ends each unfinished one as `lost`; frames that had their verdict already keep it. What is
written survives SIGKILL; a power cut can take the last moments, because nothing here waits for the disk.
"""

import os
import threading
from collections import defaultdict
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import structlog
from filelock import FileLock, Timeout

from producers.errors import AddressTaken, JournalDamaged, SettingsError
from producers.frame import FrameTag
from producers.record import SUFFIX, Record, SessionFile, read_record
from producers.retention import Retention

log = structlog.get_logger("journal")

LOOK_S = 0.1  # at least; `lowest` is as far behind: that much more is sent again, and dropped as a duplicate
EARLIER_AT_ONCE = 500  # lost frames on their way at a time: a long list must not hold up the frames of today


def default_state() -> Path:
    """Where this user's programs keep what must outlive them.

    Raises:
        SettingsError: this user has no home.
    """
    if os.name == "nt":
        base, home = os.environ.get("LOCALAPPDATA"), "AppData/Local"
    else:
        base, home = os.environ.get("XDG_STATE_HOME"), ".local/state"
    try:
        return (Path(base) if base else Path.home() / home) / "sightline"
    except RuntimeError as error:
        raise SettingsError("there is no home directory to keep the journal in: name a folder with --state") from error


@dataclass
class _Earlier:
    """A session before this one that has unfinished frames; below `handed` they are with retention."""

    path: Path
    record: Record
    handed: int

    @property
    def left(self) -> int:
        """Frames that retention has not been handed yet."""
        return self.record.next_seq - self.handed


class Journal:
    """A camera's sessions on disk: this one, and those before it that have unfinished frames.

    `advance` is for the thread that publishes, `look` for the publisher's own; a lock stands between the two.

    Args:
        folder: for the files; made if it isn't there.
        camera: whose; one publisher a camera and folder.
        session: of this start.
        simulated: whether its frames are anything but a live camera's.

    Raises:
        AddressTaken: the camera has a publisher already.
        SettingsError: no file can be written there.
    """

    def __init__(self, folder: Path, *, camera: str, session: str, simulated: bool) -> None:
        self.failures = 0
        self._writing = threading.Lock()
        self._failing = False
        self._next_look = 0.0
        record = Record(camera, session, lowest=0, next_seq=0, captured_ns=0, simulated=simulated)
        try:
            with ExitStack() as undo:
                folder.mkdir(parents=True, exist_ok=True)
                self._lock = _lock(folder / f"{camera}.lock", camera)
                undo.callback(self._lock.release)
                self._earlier = list(_earlier_sessions(folder, camera))
                self._own = SessionFile(folder, record)
                undo.pop_all()
        except OSError as error:
            raise SettingsError(f"{folder} can't hold the camera's journal: {error.strerror or error}") from error

    @property
    def pending(self) -> int:
        """Frames of earlier sessions that retention has not been handed yet."""
        return sum(session.left for session in tuple(self._earlier))

    def advance(self, next_seq: int, *, captured_ns: int) -> None:
        """Notes that every seq below `next_seq` is given out: before it is. Some microseconds."""
        with self._writing, self._trouble():
            self._own.write(replace(self._own.record, next_seq=next_seq, captured_ns=captured_ns))

    def look(self, retention: Retention, now: float) -> None:
        """Notes what is finished, and hands retention the frames that earlier sessions lost, some at a time.

        Args:
            retention: of the publisher, which has taken this session's frames in order.
            now: monotonic seconds.
        """
        if now < self._next_look:
            return
        self._next_look = now + LOOK_S
        unstored = self._settle(retention)
        room = EARLIER_AT_ONCE - unstored
        for session in self._earlier:
            for seq in range(session.handed, session.handed + min(room, session.left)):
                retention.keep_lost(_tag(session.record, seq))
                session.handed, room = seq + 1, room - 1

    def close(self, retention: Retention | None = None) -> None:
        """Leaves a file for each session that has unfinished frames, and lets the next publisher in.

        Args:
            retention: of the publisher, whose thread has ended; None if it never began.
        """
        if retention is not None:
            self._settle(retention)
        with self._writing, self._trouble():
            self._own.close()
        self._lock.release()

    def _settle(self, retention: Retention) -> int:
        """Notes what is finished of this session, forgets earlier ones that are; how many frames of those are not."""
        unstored: dict[str, list[int]] = defaultdict(list)
        for entry in retention.entries.values():
            unstored[entry.tag.session].append(entry.tag.seq)
        own = unstored.pop(self._own.record.session, [])
        lowest = min(own, default=retention.counts["captured"])
        if lowest > self._own.record.lowest or self._failing:
            with self._writing, self._trouble():
                self._own.write(replace(self._own.record, lowest=lowest))
        for session in list(self._earlier):
            if not session.left and session.record.session not in unstored:
                self._earlier.remove(session)
                with self._trouble():
                    session.path.unlink()
        return sum(map(len, unstored.values()))

    @contextmanager
    def _trouble(self) -> Iterator[None]:
        """A disk that fails stops no line: frames are still judged. It is said once, counted, and tried again."""
        try:
            yield
            self._failing = False
        except OSError as error:
            self.failures += 1
            if not self._failing:
                self._failing = True
                why = error.strerror or str(error)
                log.error("the journal can't be written: frames would be silent if this process were killed", why=why)


def _lock(path: Path, camera: str) -> FileLock:
    lock = FileLock(path, timeout=0, thread_local=False)
    try:
        lock.acquire()
    except Timeout as error:
        raise AddressTaken(f"camera {camera} has a publisher already: it holds {path}") from error
    return lock


def _earlier_sessions(folder: Path, camera: str) -> Iterator[_Earlier]:
    """Those that have unfinished frames, the oldest first. Only under the camera's lock."""
    for path in folder.glob(f"{camera}.*.new"):
        path.unlink()  # its publisher was killed before it gave out a single frame
    paths = folder.glob(f"{camera}.*{SUFFIX}")
    for path in sorted(paths, key=lambda path: path.stat().st_mtime_ns):
        try:
            record = read_record(path)
        except JournalDamaged as error:
            aside = path.rename(path.with_suffix(".damaged"))
            log.error("an earlier session's frames are unknown", camera=camera, why=str(error), set_aside=str(aside))
            continue
        if not record.unfinished:
            path.unlink()
            continue
        told = {"session": record.session, "first": record.lowest, "last": record.next_seq - 1}
        log.warning("an earlier session was cut short, its unfinished frames end as lost", camera=camera, **told)
        yield _Earlier(path, record, handed=record.lowest)


def _tag(record: Record, seq: int) -> FrameTag:
    """What is left of a frame whose publisher was killed: it was captured by then."""
    return FrameTag(
        camera=record.camera,
        session=record.session,
        seq=seq,
        captured_ns=record.captured_ns,
        simulated=record.simulated,
    )
