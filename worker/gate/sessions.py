"""Which session of each camera is the one that counts. Pure.

A camera that starts anew draws a new session, and its predecessor's frames may still be judged after that. Whichever
session spoke last is the camera's; each change puts the gate out of step, so while two of them race it stays shut.
"""


class Sessions:
    """The sessions of all cameras of a gate."""

    def __init__(self) -> None:
        self._current: dict[str, str] = {}

    def see(self, camera: str, session: str) -> bool:
        """A frame that was taken just now is of this session. Returns whether that is another one than before."""
        before = self._current.get(camera)
        self._current[camera] = session
        return before not in (None, session)

    def is_current(self, camera: str, session: str) -> bool:
        """Whether this is the camera's session now."""
        return self._current.get(camera) == session
