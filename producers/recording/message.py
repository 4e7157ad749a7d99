"""One message of a recording, and what may be asked of many. Needs no library."""

from collections.abc import Collection
from dataclasses import dataclass
from enum import StrEnum

from producers.frame import FrameHeader, Payload
from producers.recording import foxglove


class Topic(StrEnum):
    """What a message is; its topic is `CAMERA/` and this."""

    FRAME = "frame"
    """A picture in raw pixels."""
    COMPRESSED = "compressed"
    """A picture as a JPEG or PNG file."""
    GONE = "gone"
    """A frame that was captured and has no pixels: JSON, its tag and the reason."""
    VERDICT = "verdict"
    """The verdict of a frame: JSON, as `sightline subscribe --json` prints it."""


_SCHEMAS = {Topic.FRAME: foxglove.RAW, Topic.COMPRESSED: foxglove.COMPRESSED}
PICTURES = frozenset(_SCHEMAS)
EVERYTHING = frozenset(Topic)


@dataclass(frozen=True)
class RecordedMessage:
    """One message of a recording.

    Attributes:
        camera: name.
        topic: what it is.
        time_ns: when its frame was captured, or the verdict was given; UTC since the epoch.
        seq: of the frame, its lowest 32 bits.
        data: as it is stored.
    """

    camera: str
    topic: Topic
    time_ns: int
    seq: int
    data: Payload

    def frame(self) -> tuple[FrameHeader, bytes, bytes]:
        """The frame's header, the same as it travelled, and the payload.

        Raises:
            RecordingError: it is none of ours.
            BadFrame: its header can't be read.
        """
        text, payload = foxglove.from_message(memoryview(self.data), _SCHEMAS[self.topic])
        return FrameHeader.from_bytes(text), text, payload


@dataclass(frozen=True)
class Wanted:
    """What is asked of a recording.

    Attributes:
        topics: only these.
        cameras: only of these; empty: of all.
        since_ns: not before; UTC since the epoch.
        until_ns: before this; None: to the end.
    """

    topics: Collection[Topic] = EVERYTHING
    cameras: Collection[str] = ()
    since_ns: int = 0
    until_ns: int | None = None

    def channel(self, camera: str, topic: Topic) -> bool:
        """Whether anything on a channel is wanted."""
        return topic in self.topics and (not self.cameras or camera in self.cameras)

    def span(self, first_ns: int, last_ns: int) -> bool:
        """Whether anything between two times is wanted."""
        return last_ns >= self.since_ns and (self.until_ns is None or first_ns < self.until_ns)


ALL = Wanted()
