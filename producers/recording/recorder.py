"""Takes frames from whoever has them, and never makes anybody wait: a thread of its own writes them.

A disk that is full, slow or gone stops the recording, never the line: frames are dropped and counted, and it is tried
again.
"""

import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from types import TracebackType

import structlog

from producers.frame import Frame, FrameHeader, FrameTag, Payload
from producers.recording.message import Topic
from producers.recording.rotation import Rotation
from producers.recording.settings import RecordingSettings

log = structlog.get_logger("recording")


@dataclass(frozen=True)
class Recordable:
    """A frame as it travelled.

    Attributes:
        header: parsed.
        text: the same, as it travelled.
        payload: as it travelled; it must not change any more.
    """

    header: FrameHeader
    text: bytes
    payload: Payload

    @property
    def size(self) -> int:
        """Bytes."""
        return len(self.text) + len(self.payload)


@dataclass(frozen=True)
class Note:
    """What is known of a frame beside its pixels.

    Attributes:
        camera: of the frame.
        topic: what kind of note this is.
        text: JSON.
        time_ns: UTC since the epoch.
        seq: of the frame.
    """

    camera: str
    topic: Topic
    text: bytes
    time_ns: int
    seq: int

    @property
    def size(self) -> int:
        """Bytes."""
        return len(self.text)


class Recorder:
    """Records what it is offered. A context manager: leaving it writes what waits, and ends the file.

    Args:
        settings: of the recording.
        clock: monotonic, seconds.

    Raises:
        SettingsError: nothing can be recorded there.
    """

    def __init__(self, settings: RecordingSettings, *, clock: Callable[[], float] = time.monotonic) -> None:
        self.settings = settings
        self._rotation = Rotation(settings, clock=clock)
        self._clock = clock
        self._changed = threading.Condition()
        self._queue: deque[Recordable | Note | Frame] = deque()
        self._held_bytes = 0  # not written yet
        self._closing = False
        self._counts = {"recorded": 0, "dropped": 0, "failures": 0}
        self._retry_at = 0.0
        self._standing = self._overrun = False  # whether it was said that nothing is written, that the disk is slow
        self._thread = threading.Thread(target=self._run, name="recorder", daemon=True)

    def __enter__(self) -> "Recorder":
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._changed:
            self._closing = True
            self._changed.notify()
        self._thread.join()

    def offer(self, item: Recordable | Note | Frame) -> None:
        """Takes a frame or a note; if too much waits already, it is dropped and counted. Any thread; never waits."""
        size = _size(item)
        with self._changed:
            dropped = self._held_bytes + size > self.settings.queue_bytes and self._held_bytes > 0
            if dropped:
                self._counts["dropped"] += 1
            else:
                self._queue.append(item)
                self._held_bytes += size
                self._changed.notify()
        if dropped and not self._overrun:
            self._overrun = True
            log.warning("the disk can't keep up: frames are left out of the recording", out=str(self.settings.out))

    def published(self, item: Frame | tuple[FrameTag, str]) -> None:
        """Takes what a publisher took: a frame, or the tag of one that it gives up, and why."""
        if isinstance(item, Frame):
            self.offer(item)
            return
        tag, reason = item
        text = f'{{"reason": "{reason}", "frame": {tag.model_dump_json(exclude_none=True)}}}'
        self.offer(Note(tag.camera, Topic.GONE, text.encode(), tag.captured_ns, tag.seq))

    def counts(self) -> dict[str, int]:
        """So far: messages `recorded` and `dropped`, and `failures` of the disk. Any thread."""
        return dict(self._counts)

    # -- the thread --------------------------------------------------------------------------------------------------

    def _run(self) -> None:
        over = False
        while not over:
            items, over = self._wait()
            for item in items:
                self._guarded(partial(self._write, item), losing=1)
                self._count(freed_bytes=_size(item))
                self._settle_if_due()
            self._settle_if_due()
        self._guarded(self._rotation.close, losing=0)
        self._rotation.let_go()

    def _wait(self) -> tuple[list[Recordable | Note | Frame], bool]:
        """What has come, within the window; and whether nothing more will."""
        with self._changed:
            if not self._queue and not self._closing:
                self._changed.wait(self._rotation.due_in_s())
            items = list(self._queue)
            self._queue.clear()
            return items, self._closing

    def _write(self, item: Recordable | Note | Frame) -> None:
        file = self._rotation.current()
        if isinstance(item, Note):
            file.add(item.camera, item.topic, item.text, time_ns=item.time_ns, seq=item.seq)
            return
        if isinstance(item, Frame):  # as it was captured: sent at once, for the first time
            header = item.stamped(now=item.captured_mono, attempt=1)
            item = Recordable(header, header.to_bytes(), item.payload)
        file.add_frame(item.header, item.text, item.payload)

    def _settle_if_due(self) -> None:
        if self._rotation.due_in_s() <= 0:
            self._guarded(self._settle, losing=0)

    def _settle(self) -> None:
        self._rotation.flush()
        self._overrun = False
        if self._standing and self._rotation.file is not None:
            self._standing = False
            log.info("recording goes on", out=str(self.settings.out))

    def _guarded(self, act: Callable[[], None], *, losing: int) -> None:
        """Does something that the disk may refuse; while it has refused, nothing is tried until it is time again."""
        if self._retry_at > self._clock():
            self._count(dropped=losing)
            return
        try:
            act()
        except Exception as error:  # whatever it is: a thread that ended would record nothing more, in silence
            self._stop(error, losing)
            return
        self._count(recorded=losing)

    def _count(self, *, recorded: int = 0, dropped: int = 0, failures: int = 0, freed_bytes: int = 0) -> None:
        with self._changed:
            self._counts["recorded"] += recorded
            self._counts["dropped"] += dropped
            self._counts["failures"] += failures
            self._held_bytes -= freed_bytes

    def _stop(self, error: Exception, losing: int) -> None:
        lost = 0
        try:
            lost = self._rotation.give_up()
        except Exception as worse:
            log.warning("a recording could not be cut to what is whole", error=str(worse))
        self._count(recorded=-lost, dropped=lost + losing, failures=1)
        self._retry_at = self._clock() + self.settings.retry_s
        if not self._standing:
            self._standing = True
            why = "the disk refuses" if isinstance(error, OSError) else "something can't be written"
            log.error(
                f"recording stops, the line goes on: {why}; tried again later",
                out=str(self.settings.out),
                error=(error.strerror or str(error)) if isinstance(error, OSError) else repr(error),
                retry_s=self.settings.retry_s,
            )


def _size(item: Recordable | Note | Frame) -> int:
    """Bytes that it keeps in memory, about."""
    return len(item.payload) if isinstance(item, Frame) else item.size
