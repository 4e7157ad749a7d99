"""The belt between camera and gate, in parts: which part stands at the gate. Pure."""

from collections import deque

from worker.gate.parts import Part


class Belt:
    """Each trigger moves every part on by one place.

    A part that was not seen, because its trigger was missed, has a place all the same: when it is at the gate, nothing
    is shown there.

    Args:
        distance: parts between camera and gate.
    """

    def __init__(self, distance: int) -> None:
        self._distance = distance
        self._parts: deque[Part | None] = deque(maxlen=distance + 1)

    def move(self, part: Part | None) -> None:
        """A part comes to the camera; None: one that was not seen."""
        self._parts.append(part)

    def clear(self) -> None:
        """Where the parts are is not known any more."""
        self._parts.clear()

    @property
    def at_gate(self) -> Part | None:
        """The part at the gate; None: none, or one that was not seen."""
        return self._parts[0] if len(self._parts) > self._distance else None

    @property
    def depth(self) -> int:
        """Parts between camera and gate."""
        return min(len(self._parts), self._distance)
