"""When a frame was taken, as its verdict tells: when that was stored, less the time it took by stage. Pure."""

from worker.verdict import Verdict


def taken_us(verdict: Verdict, *, ahead_us: int) -> int | None:
    """On this machine's monotonic clock, microseconds; a millisecond late at most. None: it can't be told.

    Args:
        verdict: as it was read.
        ahead_us: how far Redis's clock, which an entry's id is of, is ahead of the monotonic one.
    """
    stored_ms = verdict.entry.partition("-")[0]
    if not verdict.latency_us or not stored_ms.isdecimal():
        return None
    return (int(stored_ms) + 1) * 1000 - ahead_us - sum(verdict.latency_us.values())
