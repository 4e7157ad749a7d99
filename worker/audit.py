"""Looks for frames without a verdict, and for frames with two. Pure: `worker.auditor` reads the stream.

Seqs have no gaps within a session, so a seq that is missing below the highest was captured, or given out by a
publisher's journal, and owes a verdict. It is younger than whatever is stored of a higher seq: that bounds its age.
"""

from array import array
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from producers.frame import FrameId
from worker.line import SEEN_WINDOW
from worker.verdict import Verdict

MAX_WINDOWS = 1024  # looked up for a session, the newest: 67 million frames
NAMED_RANGES = 100  # ranges that are listed for a session; the counts are whole

Range = tuple[int, int]
"""First and last seq, both included."""
Bits = Callable[[FrameId], "bytes | None"]
"""The bitmap that holds a frame's bit; None: there is none."""


@dataclass
class Ranges:
    """Seqs, as a count and the first ranges of them."""

    count: int = 0
    named: list[Range] = field(default_factory=list)

    def add(self, first: int, last: int) -> None:
        """Adds a range above those that are in; one that touches the last is joined to it."""
        self.count += last - first + 1
        if self.named and self.named[-1][1] == first - 1:
            self.named[-1] = (self.named[-1][0], last)
        elif len(self.named) < NAMED_RANGES:
            self.named.append((first, last))


@dataclass
class SessionReport:
    """What was found of one session of a camera.

    Attributes:
        camera: name.
        session: UUID.
        first: lowest seq with a verdict in the stream.
        last: highest.
        verdicts: in the stream.
        passed: of them.
        missing: no verdict was ever stored, though they are old enough: an alarm.
        in_flight: no verdict yet, and young enough to be on their way.
        trimmed: a verdict was stored and is no longer in what was read.
        unknown: Redis no longer remembers whether they had one (30 days after their last).
        duplicates: entries beyond a frame's first: an alarm.
        repeated: the seqs with more than one.
    """

    camera: str
    session: str
    first: int
    last: int
    verdicts: int
    passed: int
    missing: Ranges = field(default_factory=Ranges)
    in_flight: Ranges = field(default_factory=Ranges)
    trimmed: Ranges = field(default_factory=Ranges)
    unknown: Ranges = field(default_factory=Ranges)
    duplicates: int = 0
    repeated: Ranges = field(default_factory=Ranges)

    def to_json(self) -> dict[str, Any]:
        """For machines."""
        flat: dict[str, Any] = {}
        for name, value in vars(self).items():
            flat[name] = {"count": value.count, "ranges": value.named} if isinstance(value, Ranges) else value
        return {**flat, "failed": self.verdicts - self.passed}


class SessionTally:
    """The verdicts of one session, as they come: a few bytes each."""

    def __init__(self) -> None:
        self.seqs, self.stored_ms, self.passed = array("q"), array("q"), 0

    def add(self, verdict: Verdict, stored_ms: int) -> None:
        """Counts one verdict, stored at `stored_ms` on Redis's clock."""
        self.seqs.append(verdict.tag.seq)
        self.stored_ms.append(stored_ms)
        self.passed += verdict.passed

    def report(self, camera: str, session: str, *, bits: Bits, due_ms: int) -> SessionReport:
        """What is missing, and what is there twice.

        Args:
            camera: whose.
            session: UUID.
            bits: asked for the bitmaps of frames that are missing in the stream.
            due_ms: on Redis's clock: what was captured before must have a verdict.
        """
        seqs, stored = np.array(self.seqs, np.int64), np.array(self.stored_ms, np.int64)
        order = np.argsort(seqs, kind="stable")
        seqs, stored = seqs[order], stored[order]
        known, counts = np.unique(seqs, return_counts=True)
        found = SessionReport(camera, session, int(known[0]), int(known[-1]), len(seqs), self.passed)
        found.duplicates = int((counts - 1).sum())
        for seq in known[counts > 1]:
            found.repeated.add(int(seq), int(seq))
        earliest = np.minimum.accumulate(stored[::-1])[::-1]  # when the first of this and all higher seqs was stored
        for first, last, captured_before_ms in _gaps(seqs, earliest):
            late = found.missing if captured_before_ms <= due_ms else found.in_flight
            _classify(found, first, last, late=late, bits=bits)
        return found


def _gaps(seqs: NDArray[np.int64], earliest: NDArray[np.int64]) -> Iterator[tuple[int, int, int]]:
    """Ranges of seqs that have no entry, from 0 on, and by when each was captured at the latest."""
    before = np.concatenate([[-1], seqs[:-1]])
    for index in np.flatnonzero(seqs - before > 1):
        yield int(before[index]) + 1, int(seqs[index]) - 1, int(earliest[index])


def _classify(found: SessionReport, first: int, last: int, *, late: Ranges, bits: Bits) -> None:
    """Sorts the seqs of a gap by what their bitmaps say."""
    newest = last // SEEN_WINDOW
    oldest = max(first // SEEN_WINDOW, found.last // SEEN_WINDOW - MAX_WINDOWS + 1)
    if first < oldest * SEEN_WINDOW:
        found.unknown.add(first, min(last, oldest * SEEN_WINDOW - 1))
    for window in range(oldest, newest + 1):
        start, stop = max(first, window * SEEN_WINDOW), min(last, window * SEEN_WINDOW + SEEN_WINDOW - 1)
        held = bits(FrameId(found.camera, found.session, start))
        if held is None:
            (found.unknown if window < found.last // SEEN_WINDOW else late).add(start, stop)
            continue
        flags = np.unpackbits(np.frombuffer(held.ljust(SEEN_WINDOW // 8, b"\0"), np.uint8))
        for run_first, run_last, is_set in _runs(flags[start % SEEN_WINDOW : stop % SEEN_WINDOW + 1]):
            (found.trimmed if is_set else late).add(start + run_first, start + run_last)


def _runs(flags: NDArray[np.uint8]) -> Iterator[tuple[int, int, bool]]:
    """Runs of equal flags: first and last index, and the flag."""
    edges = np.concatenate([[0], np.flatnonzero(np.diff(flags)) + 1, [len(flags)]])
    for start, stop in pairwise(edges):
        yield int(start), int(stop) - 1, bool(flags[start])


@dataclass
class Audit:
    """What was found on a line.

    Attributes:
        sessions: by camera, then by when they first appear.
        entries: read.
        unreadable: entries that are no verdicts: an alarm, since nothing else belongs there.
        examples: what is wrong with the first of them.
    """

    sessions: list[SessionReport]
    entries: int
    unreadable: int
    examples: list[str]

    @property
    def alarms(self) -> Counter[str]:
        """What must not be, counted; empty if all is well."""
        found = Counter(
            missing=sum(session.missing.count for session in self.sessions),
            duplicates=sum(session.duplicates for session in self.sessions),
            unreadable=self.unreadable,
        )
        return +found

    def to_json(self) -> dict[str, Any]:
        """For machines."""
        return {
            "ok": not self.alarms,
            "alarms": dict(self.alarms),
            "entries": self.entries,
            "unreadable": {"count": self.unreadable, "examples": self.examples},
            "sessions": [session.to_json() for session in self.sessions],
        }
