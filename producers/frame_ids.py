"""A camera numbers the pictures it takes; whatever is missing from these numbers was lost on the way. Pure."""

WRAP = 65_535  # GigE Vision's short numbers count from 1 to here, and then from 1 again


class FrameIds:
    """Counts the pictures that never came, not even in part.

    Buffers come in the order they were taken. One that lacks its first packet has no number, but its place.

    Attributes:
        broken: the numbers went back, or far ahead: the camera counts anew, and what is missing can't be told.
    """

    def __init__(self) -> None:
        self.broken = False
        self._last: int | None = None
        self._nameless = 0

    def came(self, number: int | None) -> int:
        """A buffer came, whole or not, with its number if it has one.

        Returns:
            How many are missing before it.
        """
        if number is None:
            self._nameless += 1
            return 0
        last, nameless = self._last, self._nameless
        self._last, self._nameless = number, 0
        if last is None:
            return 0
        steps = number - last
        if steps < 0 and last <= WRAP:
            steps += WRAP
        if not 0 < steps <= WRAP // 2:
            self.broken = True
            return 0
        return max(0, steps - 1 - nameless)
