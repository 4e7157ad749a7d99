"""What a worker lets in from a publisher. Nothing of a payload is looked at here, and nothing allocated for it.

A hostile peer costs a counter: what is refused has its answer in the table `LINKS` of `producers.states`.
"""

from collections.abc import Sequence, Set
from typing import Any

import structlog

from producers.errors import BadFrame
from producers.frame import FrameHeader, FrameId, FrameTag
from producers.states import Arrival
from worker.sessions import Sessions

log = structlog.get_logger("intake")

REFUSALS = ("unreadable", "camera", "session", "credit", "room", "garbage")
"""Why something is refused: its header can't be read; it names a camera that the endpoint was not configured for; it
claims one session or seq too many; no credit was granted for it; too many frames are held already; it is no message."""


class Admission:
    """What one camera's publisher may send.

    Args:
        camera: its name.
        hold_frames: held of it at most, before frames without pixels find no room.

    Attributes:
        refusals: how often it sent something that was refused, by reason.
    """

    def __init__(self, camera: str, *, hold_frames: int) -> None:
        self.refusals = dict.fromkeys(REFUSALS, 0)
        self._camera, self._hold_frames = camera, hold_frames
        self._sessions = Sessions()

    def frame(
        self, parts: Sequence[Any], *, held: Set[FrameId], asked_for: bool, now: float
    ) -> tuple[Arrival, FrameHeader | None]:
        """What a FRAME is, and its header if that can be read.

        Args:
            parts: as received.
            held: frames in hand.
            asked_for: whether it is within the credit that was granted.
            now: monotonic seconds.
        """
        try:
            header = _header(parts)
        except BadFrame as error:
            self.refuse("unreadable", str(error))
            return Arrival.FRAME_BAD, None
        if header.id in held:
            return Arrival.FRAME_AGAIN, header  # sent twice over a reconnect; the first one is on its way
        if not asked_for:
            self.refuse("credit", f"{header.id} is one more than was granted")
            return Arrival.FRAME_UNASKED, header
        return (Arrival.FRAME if self._believes(header, now) else Arrival.FRAME_BAD), header

    def gone(self, tag: FrameTag, *, held: int, paused: bool, now: float) -> Arrival:
        """What a frame in a GONE is that is not held yet. Credit does not bound these: the room for them does.

        Args:
            tag: its own.
            held: how many frames are.
            paused: whether verdicts find no room either.
            now: monotonic seconds.
        """
        if paused or held >= self._hold_frames:
            self.refuse("room", f"{held} frames are held already")
            return Arrival.GONE_BAD
        return Arrival.GONE if self._believes(tag, now) else Arrival.GONE_BAD

    def refuse(self, reason: str, why: str) -> None:
        """Counts it. Only the first of its kind is worth a warning: a flood must not fill the disk with logs."""
        self.refusals[reason] += 1
        say = log.warning if self.refusals[reason] == 1 else log.debug
        say("refused, more of its kind are only counted", camera=self._camera, reason=reason, error=why)

    def _believes(self, tag: FrameTag, now: float) -> bool:
        if tag.camera != self._camera:
            self.refuse("camera", f"a frame of camera {tag.camera}")
        elif not self._sessions.admit(tag.id, now):
            self.refuse("session", f"{tag.id} is far from all that was seen, and so was much else of late")
        else:
            return True
        return False


def _header(parts: Sequence[Any]) -> FrameHeader:
    if len(parts) != 3:
        raise BadFrame(f"a frame has 3 parts, not {len(parts)}")
    return FrameHeader.from_bytes(parts[1])
