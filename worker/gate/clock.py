"""Redis's clock, as far as this machine knows it. Pure: the keeper of the lease asks Redis."""

MAX_AGE_US = 10_000_000
"""A clock that was last heard so long ago tells nothing any more."""
STEP_US = 50_000
"""By so much two samples may miss each other, or a time lie in the future, until a clock counts as set."""
DRIFT = 1000
"""One clock runs at most a thousandth faster or slower than the other."""


class RedisClock:
    """How far Redis's clock is ahead of this machine's monotonic one: between two bounds.

    A sample of which the answer took long says little, so it does not take the place of a better one that is young:
    what both allow holds.
    """

    def __init__(self) -> None:
        self._most_us: int | None = None
        self._least_us = self._heard_us = 0

    def hear(self, most_us: int, now_us: int, *, unsure_us: int) -> int:
        """Takes a sample: so far ahead it is at most, and at least by `unsure_us` less.

        Returns:
            By how much the clock was set since the last sample, microseconds either way, at least; 0: it was not.
        """
        least_us, age_us = most_us - unsure_us, now_us - self._heard_us
        most, least = most_us, least_us
        if self._most_us is not None and age_us <= MAX_AGE_US:
            most = min(most_us, self._most_us + age_us // DRIFT)
            least = max(least_us, self._least_us - age_us // DRIFT)
        gap_us, self._heard_us = least - most, now_us
        self._most_us, self._least_us = (most, least) if gap_us <= 0 else (most_us, least_us)
        return gap_us if gap_us > STEP_US else 0

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
