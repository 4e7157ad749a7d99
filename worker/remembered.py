"""Which frames' verdicts a reader has handed out, in bounded memory."""

from collections import OrderedDict

from producers.frame import FrameId

WINDOW_BITS = 16
WINDOWS = 256  # of 65,536 frames, 8 KiB each: 2 MiB at most


class Remembered:
    """Frames by identity. A frame is forgotten when `WINDOWS` other windows have been added to since.

    A window is a session's `seq >> 16`, as wide as the bitmaps that keep verdicts once only; so a camera that restarts
    256 times, or takes 16 million frames, is remembered whole.

    Args:
        windows: kept at most.
    """

    def __init__(self, windows: int = WINDOWS) -> None:
        self._limit = windows
        self._windows: OrderedDict[tuple[str, str, int], bytearray] = OrderedDict()

    def add(self, frame: FrameId) -> bool:
        """Remembers a frame. Returns whether it is new."""
        key = (frame.camera, frame.session, frame.seq >> WINDOW_BITS)
        bits = self._windows.setdefault(key, bytearray(1 << (WINDOW_BITS - 3)))
        self._windows.move_to_end(key)
        while len(self._windows) > self._limit:
            self._windows.popitem(last=False)
        at, mask = _place(frame)
        new = not bits[at] & mask
        bits[at] |= mask
        return new

    def __contains__(self, frame: FrameId) -> bool:
        bits = self._windows.get((frame.camera, frame.session, frame.seq >> WINDOW_BITS))
        at, mask = _place(frame)
        return bits is not None and bool(bits[at] & mask)


def _place(frame: FrameId) -> tuple[int, int]:
    seq = frame.seq & ((1 << WINDOW_BITS) - 1)
    return seq >> 3, 1 << (seq & 7)
