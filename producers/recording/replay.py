"""A recording as a source of captures: the same bytes, in their original timing."""

import math
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import closing
from dataclasses import dataclass

import structlog

from producers.errors import BadFrame, RecordingError, SettingsError
from producers.frame import FrameHeader, FrameId, PartTag
from producers.publisher import FramePublisher
from producers.recording.folder import Recording
from producers.recording.message import Wanted
from producers.sources import NAP_S

log = structlog.get_logger("replay")

SPIN_S = 0.0005  # a sleep may end so much too late: the rest is waited for awake


@dataclass(frozen=True)
class RecordedCapture:
    """One recorded frame, to be captured again.

    Attributes:
        header: as it was recorded.
        payload: likewise.
        keep_budget: whether its budget holds again.
    """

    header: FrameHeader
    payload: bytes
    keep_budget: bool = False

    @property
    def part(self) -> PartTag:
        """What was known of its part."""
        return PartTag(**self.header.model_dump(include=set(PartTag.model_fields)))

    def publish(self, publisher: FramePublisher) -> FrameId:
        """Publishes it in the publisher's session.

        Raises:
            BadFrame: its header is too large by now.
        """
        return publisher.publish_again(self.header, self.payload, keep_budget=self.keep_budget)


@dataclass(frozen=True)
class Replay:
    """What is replayed, and how.

    Attributes:
        recording: that is replayed.
        wanted: of its frames.
        speed: 1 is the original timing; infinite: as fast as frames are taken.
        loop: start again after the last one, for ever.
        keep_budget: whether frames have the budget that they had.
        chosen: whether a frame is replayed, by its id.
    """

    recording: Recording
    wanted: Wanted
    speed: float = 1.0
    loop: bool = False
    keep_budget: bool = False
    chosen: Callable[[str], bool] = lambda frame: True

    def captures(
        self,
        *,
        stopping: Callable[[], bool] = lambda: False,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> Generator[RecordedCapture, None, None]:
        """The frames, each when it is due. What can't be read is said and left out.

        Args:
            stopping: whether to end.
            clock: monotonic seconds.
            sleep: waits that many seconds.

        Raises:
            RecordingError: there is none.
        """
        while True:
            due, before_ns, count = 0.0, None, 0
            for capture in self.frames():
                gap_ns = 0 if before_ns is None else capture.header.captured_ns - before_ns
                # the first is due when it has been read; a clock that was set back gives no time back
                due = clock() if before_ns is None else due + max(0, gap_ns) / 1e9 / self.speed
                before_ns = capture.header.captured_ns
                wait_until(due, stopping=stopping, clock=clock, sleep=sleep)
                if stopping():
                    return
                count += 1
                yield capture
            if not count:
                raise RecordingError("there is no frame in the recording that was asked for")
            if not self.loop:
                return

    def frames(self) -> Iterator[RecordedCapture]:
        """The frames, without waiting."""
        with closing(self.recording.messages(self.wanted)) as messages:
            for message in messages:
                try:
                    header, _, payload = message.frame()
                except (BadFrame, RecordingError) as error:
                    log.warning("a frame can't be read, it is left out", camera=message.camera, error=str(error))
                    continue
                if header.camera != message.camera:
                    log.warning(
                        "a frame names another camera than its channel, it is left out",
                        camera=message.camera,
                        frame=str(header.id),
                    )
                    continue
                if self.chosen(str(header.id)):
                    yield RecordedCapture(header, payload, self.keep_budget)


def wait_until(
    due: float, *, stopping: Callable[[], bool], clock: Callable[[], float], sleep: Callable[[float], None]
) -> None:
    """Waits until a moment, to a fraction of a millisecond, or until it is to stop."""
    while not stopping() and (left := due - clock()) > 0:
        sleep(min(left - SPIN_S, NAP_S) if left > SPIN_S else 0)


def speed_of(text: str) -> float:
    """A speed as a person wrote it: `1`, `2`, `0.5` or `max`.

    Raises:
        SettingsError: it is none.
    """
    try:
        speed = math.inf if text == "max" else float(text)
    except ValueError:
        speed = 0.0
    if not speed > 0:
        raise SettingsError(f"--speed is a number above 0, or max, not {text[:50]}")
    return speed
