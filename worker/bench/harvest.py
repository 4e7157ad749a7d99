"""Verdicts as they come out of the result stream, and what they say of the frames that were captured.

Entries are taken out once they are read: the stream stays short, however long a bench goes on.
"""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from worker.bench.arrivals import Captured
from worker.line import LineKeys, connect, redis_errors

PAGE = 1000
JUDGED = ("ok", "defect", "late")
IN_TIME = ("ok", "defect")
STAGES = ("wire", "queue", "prepare", "infer", "judge", "store")


@dataclass(frozen=True)
class Entry:
    """One entry of the stream.

    Attributes:
        session: of the frame's camera.
        seq: of the frame.
        reason: as stored.
        stored_ns: UTC since the epoch, by Redis's clock, which counts whole milliseconds here: the end of that one, so
            that no frame looks faster than it was.
        latency_us: by stage.
        model: label of the bundle that judged it; empty if none did.
    """

    session: str
    seq: int
    reason: str
    stored_ns: int
    latency_us: dict[str, int]
    model: str = ""


class Harvest:
    """Takes entries out of a line's stream. One thread; a context manager.

    Args:
        url: of Redis.
        line: name of the line.
    """

    def __init__(self, url: str, line: str) -> None:
        self._url, self._key = url, LineKeys(line).results
        self._client: Any = connect(url, timeout_s=10.0)

    def __enter__(self) -> "Harvest":
        return self

    def __exit__(self, *_: object) -> None:
        self._client.close()

    def take(self) -> list[Entry]:
        """All that are there.

        Raises:
            ResultsUnavailable: Redis is not there.
        """
        found: list[Entry] = []
        with redis_errors(self._url):
            while page := self._client.xrange(self._key, count=PAGE):
                found += [_entry(entry, fields) for entry, fields in page]
                self._client.xdel(self._key, *(entry for entry, _ in page))
        return found


def _entry(entry: bytes, fields: dict[bytes, bytes]) -> Entry:
    return Entry(
        session=fields[b"session"].decode(),
        seq=int(fields[b"seq"]),
        reason=fields[b"reason"].decode(),
        stored_ns=(int(entry.split(b"-")[0]) + 1) * 1_000_000,
        latency_us=json.loads(fields[b"latency_us"]),
        model=fields[b"model"].decode(),
    )


class Ledger:
    """How many verdicts each frame has, over a whole run. A byte a frame."""

    def __init__(self) -> None:
        self._counts: dict[str, NDArray[np.uint8]] = {}
        self._captured: dict[str, int] = {}

    def book(self, entries: Iterable[Entry]) -> None:
        """Counts verdicts."""
        for entry in entries:
            counts = self._counts.setdefault(entry.session, np.zeros(1024, np.uint8))
            if entry.seq >= len(counts):
                counts = self._counts[entry.session] = np.pad(counts, (0, max(len(counts), entry.seq + 1)))
            counts[entry.seq] = min(255, int(counts[entry.seq]) + 1)

    def expect(self, captured: Iterable[Captured]) -> None:
        """Notes frames that must have one. A camera counts from 0 without gaps: its last frame says it all."""
        for frames in captured:
            if len(frames.due_ns):
                self._captured[frames.session] = frames.first + len(frames.due_ns)

    @property
    def frames(self) -> int:
        """That were captured."""
        return sum(self._captured.values())

    @property
    def missing(self) -> int:
        """Frames without a verdict."""
        return self.frames - sum(
            int(np.count_nonzero(counts[: self._captured.get(session, 0)])) for session, counts in self._counts.items()
        )

    @property
    def duplicates(self) -> int:
        """Verdicts beyond a frame's first, and those of no frame at all."""
        verdicts = sum(int(counts.sum(dtype=np.int64)) for counts in self._counts.values())
        return verdicts - (self.frames - self.missing)


@dataclass(frozen=True)
class Outcome:
    """What became of the frames that were due within a time.

    Attributes:
        frames: that were due.
        p50_ms: from the time that a frame was due until its verdict was stored, of those judged; None: there are none.
        p99_ms: likewise.
        p999_ms: likewise.
        verdicts: by reason.
        judged: of them; late ones, too.
        in_time: judged and stored within their budget, counted from the time that they were due.
        stages_us: medians of those judged.
        behind_ms: how far the cameras were behind their own schedule, at 99 of 100 frames at most.
    """

    frames: int
    p50_ms: float | None
    p99_ms: float | None
    p999_ms: float | None
    verdicts: dict[str, int]
    judged: int
    in_time: int
    stages_us: dict[str, int]
    behind_ms: float


def outcome(
    captured: Sequence[Captured],
    entries: Iterable[Entry],
    *,
    from_ns: int = 0,
    until_ns: int = 2**63 - 1,
    budget_ms: float | None,
) -> Outcome:
    """Of the frames that were due from `from_ns` until before `until_ns` (UTC since the epoch)."""
    cameras = {frames.session: frames for frames in captured}
    counted = [(frames.due_ns >= from_ns) & (frames.due_ns < until_ns) for frames in captured]
    behind = [frames.behind_ns[mask] for frames, mask in zip(captured, counted, strict=True)]
    verdicts: dict[str, int] = {}
    waits, stages, in_time = list[float](), {stage: list[int]() for stage in STAGES}, 0
    for entry in entries:
        due_ns = _due_ns(cameras.get(entry.session), entry.seq)
        if due_ns is None or not from_ns <= due_ns < until_ns:
            continue
        verdicts[entry.reason] = verdicts.get(entry.reason, 0) + 1
        if entry.reason in JUDGED:
            waits.append((entry.stored_ns - due_ns) / 1e6)
            in_time += entry.reason in IN_TIME and (budget_ms is None or waits[-1] <= budget_ms)
            for stage in STAGES:
                stages[stage].append(entry.latency_us.get(stage, 0))
    return Outcome(
        frames=sum(int(mask.sum()) for mask in counted),
        p50_ms=percentile(waits, 50),
        p99_ms=percentile(waits, 99),
        p999_ms=percentile(waits, 99.9),
        verdicts=dict(sorted(verdicts.items(), key=lambda item: -item[1])),
        judged=len(waits),
        in_time=in_time,
        stages_us={stage: int(np.median(taken)) for stage, taken in stages.items() if taken},
        behind_ms=(percentile(np.concatenate(behind) / 1e6, 99) or 0.0) if behind else 0.0,
    )


def percentile(values: "Sequence[float] | NDArray[np.float64]", share: float) -> float | None:
    """The value that so many of a hundred do not exceed: one of the values, never one between two."""
    return float(np.percentile(values, share, method="higher")) if len(values) else None


def _due_ns(frames: Captured | None, seq: int) -> int | None:
    if frames is None or not 0 <= seq - frames.first < len(frames.due_ns):
        return None
    return int(frames.due_ns[seq - frames.first])
