"""What a viewer knows of the cameras it watches: the last frame of each, and how they come. Pure: time is passed in."""

from collections import deque
from dataclasses import dataclass, field
from typing import Any

from producers.frame import FrameHeader

OVER_S = 5.0  # frames a second are counted over so long
STILL_S = 2.0  # a camera of which nothing has come for so long is called still


@dataclass
class CameraView:
    """One camera.

    Attributes:
        last: the header of its newest frame.
        seen: when that came; monotonic, seconds.
        frames: that came.
        sessions: of its publisher, since the view began; a restart is a new one.
    """

    last: FrameHeader
    seen: float
    frames: int = 0
    sessions: set[str] = field(default_factory=set)
    _times: deque[float] = field(default_factory=deque)

    def add(self, header: FrameHeader, now: float) -> None:
        """Takes a frame that came now."""
        self.last, self.seen = header, now
        self.frames += 1
        self.sessions.add(header.session)
        self._times.append(now)
        self._forget(now)

    def fps(self, now: float) -> float:
        """Frames a second, over the last `OVER_S`."""
        self._forget(now)
        spans = len(self._times) - 1
        if spans < 1 or self._times[-1] == self._times[0]:
            return 0.0
        return spans / (max(now - STILL_S, self._times[-1]) - self._times[0])

    def is_still(self, now: float) -> bool:
        """Whether nothing has come for a while."""
        return now - self.seen > STILL_S

    def _forget(self, now: float) -> None:
        while self._times and self._times[0] < now - OVER_S:
            self._times.popleft()


class View:
    """All cameras. Not for threads."""

    def __init__(self) -> None:
        self.cameras: dict[str, CameraView] = {}

    def add(self, header: FrameHeader, now: float) -> None:
        """Takes a frame's header that came now; monotonic, seconds."""
        known = self.cameras.setdefault(header.camera, CameraView(header, now))
        known.add(header, now)

    def rows(self, now: float, missed: dict[str, int]) -> list[dict[str, Any]]:
        """What is known of each camera, by name.

        Args:
            now: monotonic, seconds.
            missed: frames of each camera that did not come.
        """
        return [self._row(name, known, now, missed.get(name, 0)) for name, known in sorted(self.cameras.items())]

    def _row(self, name: str, known: CameraView, now: float, missed: int) -> dict[str, Any]:
        last = known.last
        return {
            "camera": name,
            "state": "still" if known.is_still(now) else "live",
            "fps": round(known.fps(now), 1),
            "frames": known.frames,
            "missed": missed,
            "sessions": len(known.sessions),
            "session": last.session,
            "seq": last.seq,
            "age_ms": round(last.age_us / 1000, 1),
            "shape": list(last.shape),
            "encoding": last.encoding,
            "color": last.color,
            "recipe": last.recipe,
            "part_id": last.part_id,
            "budget_ms": last.budget_ms,
            "simulated": last.simulated,
        }
