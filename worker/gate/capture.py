"""When a frame was taken and its verdict stored, as the verdict tells, on Redis's clock. Pure."""

from worker.verdict import Verdict


def stored_us(verdict: Verdict) -> int | None:
    """Microseconds since the epoch, at the latest: an entry's id names the millisecond. None: it is of no entry."""
    stored_ms = verdict.entry.partition("-")[0]
    return (int(stored_ms) + 1) * 1000 if stored_ms.isdecimal() else None


def taken_us(verdict: Verdict) -> int | None:
    """Likewise when its frame was taken: before all the time that it took by stage. None: it does not tell."""
    stored = stored_us(verdict)
    return None if stored is None or not verdict.latency_us else stored - sum(verdict.latency_us.values())
