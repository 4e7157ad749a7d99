"""Room for pixels beside the camera: how much of it is taken, and whose may go when more is needed. Pure."""

from producers.kept import Entry


class Room:
    """Pixels are kept until a verdict is stored, or until others need their room and they may go.

    Args:
        max_frames: with pixels at most.
        max_bytes: of pixels at most. One frame always finds room, however large.

    Attributes:
        frames: with pixels now, those included that may go.
        bytes: of these.
    """

    def __init__(self, max_frames: int, max_bytes: int) -> None:
        self._max_frames, self._max_bytes = max_frames, max_bytes
        self.frames = self.bytes = 0
        self._spare: dict[str, Entry] = {}  # the first may go first
        self._spare_bytes = 0

    def full(self, *, incoming_bytes: int, incoming_frames: int = 1) -> bool:
        """Whether so much more would break a limit, though all went that may."""
        frames = self.frames - len(self._spare) + incoming_frames
        too_large = self.bytes - self._spare_bytes + incoming_bytes > self._max_bytes
        return frames > self._max_frames or (frames > 1 and too_large)

    def take(self, entry: Entry) -> None:
        """A frame's pixels are kept from now on; others that may go make room for them."""
        self.frames += 1
        self.bytes += entry.payload_bytes
        while self._spare and (self.frames > self._max_frames or self.bytes > self._max_bytes):
            self.free(next(iter(self._spare.values())))

    def spare(self, entry: Entry) -> None:
        """This frame's pixels may go."""
        if entry.frame is not None:
            self._spare[entry.id] = entry
            self._spare_bytes += entry.payload_bytes

    def claim(self, entry: Entry) -> None:
        """This frame's pixels are needed again, if they are still kept."""
        if self._spare.pop(entry.id, None) is not None:
            self._spare_bytes -= entry.payload_bytes

    def free(self, entry: Entry) -> None:
        """This frame's pixels go, if they are still kept."""
        if entry.frame is not None:
            self.claim(entry)
            self.frames -= 1
            self.bytes -= entry.payload_bytes
            entry.frame = None
