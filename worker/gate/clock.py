"""Redis's clock, as far as this machine knows it. Pure: the keeper of the lease asks Redis."""

MAX_AGE_US = 10_000_000
"""A clock that was last heard so long ago tells nothing any more."""


class RedisClock:
    """How far Redis's clock is ahead of this machine's monotonic one: between two bounds."""

    def __init__(self) -> None:
        self._most_us: int | None = None
        self._least_us = self._heard_us = 0

    def hear(self, most_us: int, now_us: int, *, unsure_us: int) -> None:
        """Takes a sample: so far ahead it is at most, and at least by `unsure_us` less."""
        self._most_us, self._least_us, self._heard_us = most_us, most_us - unsure_us, now_us

    def at(self, now_us: int) -> int | None:
        """Redis's time, microseconds since the epoch, at the latest; None: not known.

        What is held against it never counts as valid longer than it is.
        """
        if self._most_us is None or now_us - self._heard_us > MAX_AGE_US:
            return None
        return now_us + self._most_us

    def here(self, redis_us: int) -> int:
        """The monotonic time of a moment of Redis's clock, at the latest. Only while `at` knows the time."""
        return redis_us - self._least_us
