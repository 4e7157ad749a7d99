"""Statuses for tests of what a PLC is shown."""

import struct
from collections.abc import Iterator

from hypothesis import strategies as st

from worker.gate.status import MAX_COUNT, MAX_COUNTER, MAX_TRIGGER, RING, Challenge, GateReason, PartResult, Status

words = st.integers(0, 65_535)
names = st.text(st.characters(min_codepoint=33, max_codepoint=126), max_size=32)
float32s = st.floats(width=32, allow_nan=False)


def part(counter: int, *, opens: bool = True, trigger: int | None = None, part_id: str | None = None) -> PartResult:
    """A result whose fields all say which one it is."""
    return PartResult(
        counter=counter,
        trigger=counter if trigger is None else trigger,
        part_id=f"P-{counter:05}" if part_id is None else part_id,
        opens=opens,
        reason=GateReason.OK if opens else GateReason.DEFECT,
        severity=counter / 1000,
        score=float(counter),
        camera=f"cam{counter % 7}",
        view=f"view{counter % 5}",
    )


def showing(counter: int, *, heartbeat: int = 1, opens: bool = True) -> Status:
    """A status in service that shows so many results; the newest stands at the gate, too."""
    results = tuple(part(number, opens=opens) for number in range(max(1, counter - RING + 1), counter + 1))
    return Status(
        heartbeat=heartbeat,
        online=True,
        synchronised=True,
        counter=counter,
        at_gate=results[-1] if results else None,
        results=results,
    )


def parts_like(counter: st.SearchStrategy[int]) -> st.SearchStrategy[PartResult]:
    """Results as the gate may make them, and that registers can hold exactly."""

    def of(opens: bool) -> st.SearchStrategy[PartResult]:
        reasons = [GateReason.OK] if opens else [reason for reason in GateReason if reason is not GateReason.OK]
        return st.builds(
            PartResult,
            counter=counter,
            trigger=st.integers(0, MAX_TRIGGER),
            part_id=names,
            opens=st.just(opens),
            reason=st.sampled_from(reasons),
            severity=st.none() | st.integers(0, 65_534).map(lambda number: number / 1000),
            score=st.none() | float32s,
            camera=names,
            view=names,
        )

    return st.booleans().flatmap(of)


def _older(newest: int) -> Iterator[int]:
    for _ in range(RING):
        yield newest
        newest = newest - 1 or MAX_COUNTER


@st.composite
def statuses(draw: st.DrawFn) -> Status:
    """Any status that a gateway may show."""
    counter = draw(words)
    counters = list(_older(counter))[: draw(st.integers(0, RING))] if counter else []
    return Status(
        heartbeat=draw(words),
        online=draw(st.booleans()),
        synchronised=draw(st.booleans()),
        fault=draw(st.booleans()),
        bypass=draw(st.booleans()),
        challenge=draw(st.sampled_from(Challenge)),
        overrun=draw(st.booleans()),
        counter=counter,
        acknowledged=draw(words),
        fifo_depth=draw(st.integers(0, 200)),
        late=draw(st.integers(0, MAX_COUNT)),
        missed_triggers=draw(st.integers(0, MAX_COUNT)),
        at_gate=draw(st.none() | parts_like(st.integers(1, MAX_COUNTER))),
        results=tuple(draw(parts_like(st.just(number))) for number in reversed(counters)),
    )


def float32(value: float) -> float:
    """The nearest that 32 bits hold."""
    found: float = struct.unpack(">f", struct.pack(">f", value))[0]
    return found
