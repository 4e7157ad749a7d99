"""What a PLC is shown, as Modbus holding registers: one table, from which everything else is made. Pure.

Takes a `Status`, hands on registers; and back, for PLC programs in Python, HMIs and tests. What a PLC may write lies in
the map, too, and is `commands`. `sightline gate --registers` prints the map as CSV.

No decision is torn, however a PLC reads, and whatever it keeps: `at_gate_open` is the counter of the part that the gate
may open for, not a bit beside it; a result's slot holds its counter; and the slot that is written next holds no result
that still counts.
"""

import csv
import io
import math
from collections.abc import Callable, Sequence
from enum import IntEnum
from functools import lru_cache

from worker.gate.commands import COMMAND_AT, COMMANDS
from worker.gate.status import MAX_COUNTER, RING, Challenge, GateReason, PartResult, Status
from worker.gate.words import Field, Kind, Register, Value, lay, pack

MAP_VERSION = 1
SLOTS = RING + 1
"""One more than results. 65,535 is a multiple of 17: a result's slot, `(counter - 1) % 17`, goes on over the wrap."""
NOT_JUDGED = 65_535
"""In the place of a severity: there is none."""
FIRST_HOLDING_REGISTER = 400_001  # how many PLC programs count: the register at address 0


class Shown(IntEnum):
    """What a result says to the gate. A register that nobody has written says neither."""

    NOTHING = 0
    PASS = 1
    REJECT = 2


RECORD: tuple[Field, ...] = (
    ("counter", Kind.U16, "of this result, 1 to 65535 and then 1 again; 0: there is none"),
    ("decision", Kind.U16, "1 PASS of every view, 2 reject, 0 nothing"),
    ("reason", Kind.U16, ", ".join(f"{reason.value} {reason.word}" for reason in GateReason)),
    ("trigger", Kind.U32, "number of the part's trigger; 4294967295: it has none (live), compare the part id"),
    (
        "severity",
        Kind.U16,
        "x 1000, of the worst view, 0 to 65534: 1000 is the threshold; 65535 not judged",
    ),
    ("score", Kind.F32, "of the same view; NaN: not judged"),
    ("part_id", Kind.TEXT, "of the part; cut to 32 bytes, the last a tilde then"),
    ("camera", Kind.TEXT, "of the same view as severity and score"),
    ("view", Kind.TEXT, "its name"),
)
"""A result in full. Its first five fields are its entry in the ring."""
ENTRY = RECORD[:5]
ENTRY_WORDS, RECORD_WORDS = (sum(kind.words for _, kind, _ in fields) for fields in (ENTRY, RECORD))

ONLINE, SYNCHRONISED, FAULT, BYPASS, OVERRUN = (1 << bit for bit in range(5))
STATE = "bits: 0 online, 1 synchronised, 2 line fault, 3 bypass lamp, 4 overrun: a result left the ring unacknowledged"

HEADER: tuple[tuple[str, Kind, str, Callable[[Status, int], Value]], ...] = (
    ("map", Kind.U16, f"version of this map: {MAP_VERSION}", lambda status, taken: MAP_VERSION),
    ("heartbeat", Kind.U16, "changes while the gateway works; where it stands still: reject", lambda s, _: s.heartbeat),
    ("state", Kind.U16, STATE, lambda s, _: _state(s)),
    ("challenge", Kind.U16, "0 idle, 1 awaited, 2 passed, 3 failed", lambda s, _: s.challenge),
    ("acknowledged", Kind.U16, "counter of the newest result that the PLC has taken", lambda s, _: s.acknowledged),
    ("taken", Kind.U16, "sequence of the last command block that was taken", lambda _, taken: taken),
    ("fifo_depth", Kind.U16, "parts between camera and gate", lambda s, _: s.fifo_depth),
    ("late", Kind.U16, "verdicts that came after their part was decided; saturates", lambda s, _: s.late),
    ("missed_triggers", Kind.U16, "trigger numbers that were skipped; saturates", lambda s, _: s.missed_triggers),
    ("at_gate_counter", Kind.U16, "of the part that stands at the gate; 0: none", lambda s, _: _at_gate(s).counter),
    ("at_gate_trigger", Kind.U32, "number of its trigger", lambda s, _: _at_gate(s).trigger),
    ("at_gate_reason", Kind.U16, "why it is decided so", lambda s, _: _at_gate(s).reason),
    (
        "at_gate_open",
        Kind.U16,
        "the counter that the gate may open for, and at_gate_counter is the same; 0: it stays closed",
        lambda s, _: _at_gate(s).counter if _at_gate(s).opens else 0,
    ),
)
RING_AT = 20
COUNTER_AT = RING_AT + SLOTS * ENTRY_WORDS
BLOCK_WORDS = COUNTER_AT + 1
"""Header, ring and counter, from address 0 on: what one read can take, of up to 125 registers."""
NEWEST_AT, AT_GATE_AT, RECORDS_AT = 200, 300, 1000
IMAGE_WORDS = RECORDS_AT + SLOTS * RECORD_WORDS
SPANS = (
    (0, BLOCK_WORDS),
    (NEWEST_AT, RECORD_WORDS),
    (AT_GATE_AT, RECORD_WORDS),
    (RECORDS_AT, SLOTS * RECORD_WORDS),
)
"""(address, registers) of what is shown."""

REGISTERS = (
    *lay(0, [field[:3] for field in HEADER]),
    *(row for slot in range(SLOTS) for row in lay(RING_AT + slot * ENTRY_WORDS, ENTRY, prefix=f"ring_{slot:02}_")),
    *lay(COUNTER_AT, [("counter", Kind.U16, "of the newest result, in slot (counter - 1) MOD 17; 0: none yet")]),
    *lay(NEWEST_AT, RECORD, prefix="newest_"),
    *lay(AT_GATE_AT, RECORD, prefix="gate_"),
    *lay(COMMAND_AT, COMMANDS, prefix="command_", written=True),
    *(row for slot in range(SLOTS) for row in lay(RECORDS_AT + slot * RECORD_WORDS, RECORD, prefix=f"full_{slot:02}_")),
)
ROWS = {row.name: row for row in REGISTERS}
STATE_AT = ROWS["state"].address
_NOBODY = PartResult(counter=0, trigger=0, part_id="", opens=False, reason=GateReason.OK)


def slot_of(counter: int) -> int:
    """Where in the ring a result lies."""
    return (counter - 1) % SLOTS


def encode(status: Status, taken: int = 0) -> list[int]:
    """All that a PLC may read, from address 0; what lies between is 0.

    Args:
        status: to be shown.
        taken: sequence of the last command block that was taken.
    """
    image = [0] * IMAGE_WORDS
    header = [word for _, kind, _, value in HEADER for word in pack(kind, value(status, taken))]
    image[: len(header)] = header
    for result in status.results:
        entry, record = RING_AT + slot_of(result.counter) * ENTRY_WORDS, _record(result)
        image[entry : entry + ENTRY_WORDS] = record[:ENTRY_WORDS]
        full = RECORDS_AT + slot_of(result.counter) * RECORD_WORDS
        image[full : full + RECORD_WORDS] = record
    image[COUNTER_AT] = status.counter
    if status.results:
        image[NEWEST_AT : NEWEST_AT + RECORD_WORDS] = _record(status.results[-1])
    if status.at_gate:
        image[AT_GATE_AT : AT_GATE_AT + RECORD_WORDS] = _record(status.at_gate)
    return image


def read(registers: Sequence[int], name: str) -> Value:
    """One value by its name in the map, out of registers from address 0 on."""
    return ROWS[name].value(registers)


def decode(registers: Sequence[int]) -> Status:
    """What registers say, from address 0 on.

    Args:
        registers: at least the block; without the rest, results have no part id, score, camera and view.
    """
    number = {name: int(read(registers, name)) for name, *_ in HEADER}
    state, counter = number["state"], registers[COUNTER_AT]
    at_gate = _at_gate_of(registers, number) if number["at_gate_counter"] else None
    return Status(
        heartbeat=number["heartbeat"],
        online=bool(state & ONLINE),
        synchronised=bool(state & SYNCHRONISED),
        fault=bool(state & FAULT),
        bypass=bool(state & BYPASS),
        challenge=Challenge(number["challenge"]),
        overrun=bool(state & OVERRUN),
        counter=counter,
        acknowledged=number["acknowledged"],
        fifo_depth=number["fifo_depth"],
        late=number["late"],
        missed_triggers=number["missed_triggers"],
        at_gate=at_gate,
        results=_ring_of(registers, counter),
    )


def to_csv() -> str:
    """The map as it lies in `deploy/plc`: a row for each field."""
    text = io.StringIO()
    rows = csv.writer(text, lineterminator="\n")
    rows.writerow(["address", "holding_register", "registers", "name", "type", "plc", "meaning"])
    for row in sorted(REGISTERS, key=lambda row: row.address):
        who = "writes" if row.written else "reads"
        number = FIRST_HOLDING_REGISTER + row.address
        rows.writerow([row.address, number, row.kind.words, row.name, row.kind.value, who, row.meaning])
    return text.getvalue()


def _state(status: Status) -> int:
    bits = (status.online, status.synchronised, status.fault, status.bypass, status.overrun)
    return sum(1 << place for place, bit in enumerate(bits) if bit)


def _at_gate(status: Status) -> PartResult:
    return status.at_gate or _NOBODY


@lru_cache(maxsize=4 * RING)  # a result is shown again and again
def _record(result: PartResult) -> tuple[int, ...]:
    severity = result.severity
    judged = severity is not None and not math.isnan(severity)
    values: dict[str, Value] = {
        "counter": result.counter,
        "decision": Shown.PASS if result.opens else Shown.REJECT,
        "reason": result.reason,
        "trigger": result.trigger,
        "severity": round(min(max(severity or 0.0, 0.0) * 1000, NOT_JUDGED - 1)) if judged else NOT_JUDGED,
        "score": math.nan if result.score is None else result.score,
        "part_id": result.part_id,
        "camera": result.camera,
        "view": result.view,
    }
    return tuple(word for name, kind, _ in RECORD for word in pack(kind, values[name]))


def _at_gate_of(registers: Sequence[int], number: dict[str, int]) -> PartResult:
    full = _result_of(registers, "gate_") if len(registers) >= AT_GATE_AT + RECORD_WORDS else _NOBODY
    return PartResult(
        counter=number["at_gate_counter"],
        trigger=number["at_gate_trigger"],
        part_id=full.part_id,
        opens=number["at_gate_open"] == number["at_gate_counter"],
        reason=GateReason(number["at_gate_reason"]),
        severity=full.severity,
        score=full.score,
        camera=full.camera,
        view=full.view,
    )


def _ring_of(registers: Sequence[int], counter: int) -> tuple[PartResult, ...]:
    found: list[PartResult] = []
    prefix = "full" if len(registers) >= IMAGE_WORDS else "ring"
    while counter and len(found) < RING:
        result = _result_of(registers, f"{prefix}_{slot_of(counter):02}_")
        if result.counter != counter:
            break  # none so old
        found.append(result)
        counter = counter - 1 or MAX_COUNTER
    return tuple(reversed(found))


def _result_of(registers: Sequence[int], prefix: str) -> PartResult:
    at = {name: row.value(registers) for name, row in _rows_of(prefix)}
    severity, score = int(at["severity"]), float(at.get("score", math.nan))
    return PartResult(
        counter=int(at["counter"]),
        trigger=int(at["trigger"]),
        part_id=str(at.get("part_id", "")),
        opens=at["decision"] == Shown.PASS,
        reason=GateReason(int(at["reason"])),
        severity=None if severity == NOT_JUDGED else severity / 1000,
        score=None if math.isnan(score) else score,
        camera=str(at.get("camera", "")),
        view=str(at.get("view", "")),
    )


@lru_cache
def _rows_of(prefix: str) -> tuple[tuple[str, Register], ...]:
    fields = ENTRY if prefix.startswith("ring") else RECORD
    return tuple((name, ROWS[prefix + name]) for name, *_ in fields)
