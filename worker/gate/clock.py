"""Redis's clock, as far as this machine knows it. Pure: the keeper of the lease asks Redis."""

MAX_AGE_US = 10_000_000
"""A clock that was last heard so long ago tells nothing any more."""


class RedisClock:
    """How far Redis's clock is ahead of this machine's monotonic one."""

    def __init__(self) -> None:
        self._offset_us: int | None = None
        self._heard_us = 0

    def hear(self, offset_us: int, now_us: int) -> None:
        """Takes a sample: the most that the clock may be ahead, so that nothing counts as valid that no longer is."""
        self._offset_us, self._heard_us = offset_us, now_us

    def at(self, now_us: int) -> int | None:
        """Redis's time, microseconds since the epoch; None: not known."""
        if self._offset_us is None or now_us - self._heard_us > MAX_AGE_US:
            return None
        return now_us + self._offset_us
