"""Which sessions of a camera a worker believes in: a hostile peer costs a counter, not memory.

A window is a session's `seq >> 16`, as wide as the bitmaps that keep verdicts once only: each that is let in may cost
Redis 8 KiB for a month. A window that is known passes. Another one is rationed, whether it begins a session, goes on
with one, or lies far from all that was seen of it. It is not refused outright: a worker that was sent nothing of a
session for hours meets it again far on, and the successor of a publisher that was killed reports frames of sessions
that this worker never saw.
"""

from collections import OrderedDict

from producers.frame import FrameId

WINDOW_BITS = 16
KNOWN_WINDOWS = 64
NEW_A_MINUTE = 60  # a camera that restarts every second is let in; at 1,000 frames a second a window lasts a minute


class Sessions:
    """The windows of one camera that are known, the last `KNOWN_WINDOWS` of them, and the ration of new ones.

    Args:
        new_a_minute: windows let in a minute, after as many at once.
    """

    def __init__(self, *, new_a_minute: int = NEW_A_MINUTE) -> None:
        self._known: OrderedDict[tuple[str, int], None] = OrderedDict()
        self._new_a_minute = new_a_minute
        self._ration = float(new_a_minute)
        self._rationed_at = 0.0

    def admit(self, frame: FrameId, now: float) -> bool:
        """Whether a frame's session and seq are believed, at `now` (monotonic seconds)."""
        window = frame.session, frame.seq >> WINDOW_BITS
        if window not in self._known:
            gained = (now - self._rationed_at) * self._new_a_minute / 60
            self._ration, self._rationed_at = min(self._new_a_minute, self._ration + gained), now
            if self._ration < 1:
                return False
            self._ration -= 1
            self._known[window] = None
        self._known.move_to_end(window)
        while len(self._known) > KNOWN_WINDOWS:
            self._known.popitem(last=False)
        return True
