"""What really lies in the result stream after a bench: counted there, never from counters of the line's own."""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from worker.bench.null import null_recipe
from worker.line import LineKeys, connect, redis_errors

PAGE = 1000


@dataclass(frozen=True)
class Stored:
    """One entry of the stream.

    Attributes:
        frame: its id.
        decision: as stored, like `reason`, `score` and `attempt`.
        captured_ns: UTC since the epoch.
        stored_ms: UTC since the epoch, by Redis's clock.
    """

    frame: str
    decision: str
    reason: str
    score: str
    attempt: int
    captured_ns: int
    stored_ms: int


@dataclass(frozen=True)
class Tally:
    """Frames against verdicts.

    Attributes:
        frames: that were captured.
        verdicts: entries in the stream.
        missing: frames without an entry.
        duplicates: entries beyond a frame's first.
        wrong: entries that say something else than the null engine says of those pixels, that pass without having
            been judged, or that belong to no frame.
        by_reason: entries by reason.
        worker_errors_by_attempt: those of reason `worker_error`, by attempt: after the third a frame is given up;
            before that it had been judged, and its verdict died with the worker.
    """

    frames: int
    verdicts: int
    missing: int
    duplicates: int
    wrong: int
    by_reason: dict[str, int]
    worker_errors_by_attempt: dict[int, int]

    @property
    def whole(self) -> bool:
        """Whether each frame has exactly one verdict, and the right one."""
        return not (self.missing or self.duplicates or self.wrong)


def tally(entries: list[Stored], scores: Mapping[str, float]) -> Tally:
    """Counts.

    Args:
        entries: the whole stream.
        scores: what the null engine gives each captured frame's pixels, by frame id.
    """
    seen = Counter(entry.frame for entry in entries)
    return Tally(
        frames=len(scores),
        verdicts=len(entries),
        missing=sum(frame not in seen for frame in scores),
        duplicates=len(entries) - len(seen),
        wrong=sum(_wrong(entry, scores) for entry in entries),
        by_reason=dict(Counter(entry.reason for entry in entries).most_common()),
        worker_errors_by_attempt=dict(
            sorted(Counter(entry.attempt for entry in entries if entry.reason == "worker_error").items())
        ),
    )


def _wrong(entry: Stored, scores: Mapping[str, float]) -> bool:
    score = scores.get(entry.frame)
    if score is None:
        return True
    if entry.reason not in ("ok", "defect"):  # not judged: then it must not have passed
        return entry.decision != "fail"
    passes = null_recipe().manifest.calibration.passes(score)
    expected = ("pass", "ok") if passes else ("fail", "defect")
    return (entry.decision, entry.reason) != expected or float(entry.score) != score


def stored_entries(url: str, line: str) -> list[Stored]:
    """The whole result stream of a line.

    Raises:
        ResultsUnavailable: Redis is not there.
    """
    client = connect(url, timeout_s=10.0)
    with redis_errors(url):
        found = [_stored(entry, fields) for entry, fields in _pages(client, LineKeys(line).results)]
    client.close()
    return found


def _pages(client: Any, key: str) -> Iterator[tuple[bytes, dict[bytes, bytes]]]:
    start = b"-"
    while page := client.xrange(key, min=start, count=PAGE):
        yield from page
        start = b"(" + page[-1][0]


def _stored(entry: bytes, fields: dict[bytes, bytes]) -> Stored:
    names = ("id", "decision", "reason", "score", "attempt", "captured_ns")
    text = {name: fields[name.encode()].decode() for name in names}
    return Stored(
        frame=text["id"],
        decision=text["decision"],
        reason=text["reason"],
        score=text["score"],
        attempt=int(text["attempt"]),
        captured_ns=int(text["captured_ns"]),
        stored_ms=int(entry.split(b"-")[0]),
    )
