"""Whoever may write to Redis and should not: entries for parts that no camera saw, in `sightline bench gate`.

Each is made from a real PASS of the side view, so that it lacks nothing but what makes it a forgery.
"""

import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from worker.bench.gate.plan import CAMERAS, Forgery, Part, Plan
from worker.errors import ResultsUnavailable
from worker.line import LineKeys, connect, redis_errors

VIEW = "side"
AFTER_MS = 120.0  # the part's light barrier: its timer runs
BEFORE_MS = 120.0  # it does not run yet
LOOK_BACK = 200  # entries
VALID_US = 3_000_000
HUGE = 10_240  # bytes
NEVER_SEEN = 1_000_000  # a frame's number that no camera gets to

Fields = dict[bytes, bytes]


@dataclass(frozen=True)
class Now:
    """The part that is forged for, and the time, us since the epoch."""

    part: Part
    us: int


class Forger:
    """Writes what the plan wants forged, in a thread of its own. A context manager.

    Args:
        url: of Redis; where it is away, nothing is forged.
        line: name of the line.
        plan: of the run.
        start_ns: when part 0 crosses the light barrier, since the epoch.

    Attributes:
        written: entries by kind.
    """

    def __init__(self, url: str, line: str, plan: Plan, start_ns: int) -> None:
        self.written: dict[str, int] = {}
        self._url, self._key = url, LineKeys(line).results
        self._due = sorted(
            ((_due_ns(part, start_ns), part) for part in plan.parts if part.forgery), key=lambda it: it[0]
        )
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="forger", daemon=True)

    def __enter__(self) -> "Forger":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        client: Any = connect(self._url, timeout_s=1.0)
        for due_ns, part in self._due:
            if self._stop.wait(max(0.0, (due_ns - time.time_ns()) / 1e9)):
                break
            try:
                with redis_errors(self._url):
                    self._forge(client, part)
            except ResultsUnavailable:
                client.connection_pool.disconnect()  # this one is not forged: the next time Redis may be there
        client.close()

    def _forge(self, client: Any, part: Part) -> None:
        entries = [fields for _, fields in client.xrevrange(self._key, count=LOOK_BACK)]
        real = next((fields for fields in entries if _is_pass(fields)), None)
        if real is None or part.forgery is None:
            return
        if part.forgery is Forgery.AGAIN:
            forged = [fields for fields in entries if fields.get(b"part_id") == part.id.encode()]
        elif part.forgery is Forgery.REPLAYED:
            forged = [real, real | _frame(real, part)]
        else:
            forged = [forge(real, part.forgery, Now(part, time.time_ns() // 1000))]
        for fields in forged:
            client.xadd(self._key, fields)
            self.written[part.forgery.value] = self.written.get(part.forgery.value, 0) + 1


def forge(real: Mapping[bytes, bytes], forgery: Forgery, now: Now) -> Fields:
    """One entry: a PASS of the part's side view, but for what the forgery gets wrong."""
    if forgery is Forgery.FOREIGN:
        return {b"hello": b"world"}
    part, fields = now.part, dict(real)
    fields |= _frame(real, part)
    fields |= {
        b"part_id": part.id.encode(),
        b"trigger": str(part.number).encode(),
        b"captured_ns": str(now.us * 1000).encode(),
        b"valid_until_us": str(now.us + VALID_US).encode(),
    }
    wrong: dict[Forgery, Fields] = {
        Forgery.SIMULATED: {b"simulated": b"1"},
        Forgery.STALE: {b"valid_until_us": str(now.us - VALID_US).encode()},
        Forgery.NO_VALIDITY: {b"valid_until_us": b""},
        Forgery.STRANGER: {b"camera": b"stranger"},
        Forgery.OTHER_PART: {b"part_id": b"P-elsewhere"},
        Forgery.NAN: {b"score": b"nan"},
        Forgery.NO_PNG: {b"map": b"this is no picture"},
        Forgery.HUGE_ID: {b"part_id": b"P" * HUGE},
    }
    return fields | wrong.get(forgery, {})


def _frame(real: Mapping[bytes, bytes], part: Part) -> Fields:
    """The identity of a frame that nobody has seen: one that was seen is left out without being looked at."""
    camera, session, seq = CAMERAS[VIEW], real[b"session"].decode(), NEVER_SEEN + part.number
    return {b"seq": str(seq).encode(), b"id": f"{camera}/{session}/{seq}".encode()}


def _is_pass(fields: Mapping[bytes, bytes]) -> bool:
    """A real one, of the side view."""
    is_real = int(fields.get(b"seq", b"0")) < NEVER_SEEN
    return is_real and (fields.get(b"view"), fields.get(b"decision")) == (VIEW.encode(), b"pass")


def _due_ns(part: Part, start_ns: int) -> int:
    after_ms = -BEFORE_MS if part.forgery is Forgery.EARLY else AFTER_MS
    return start_ns + int((part.light_ms + after_ms) * 1e6)
