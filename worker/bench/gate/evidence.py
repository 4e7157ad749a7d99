"""What the result stream and the PLC's log say of each part. For `oracle`, and as it: nothing of the gate's is used.

The stream's entries are read as they lie there: whoever reads verdicts for the gate is not asked.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

PNG = b"\x89PNG\r\n\x1a\n"
MS, US = 1_000_000, 1000  # ns

Record = Mapping[str, Any]
"""One line of the PLC's log: `what` happened, at `ns`, and what is known of it."""


Entry = tuple[str, Mapping[str, bytes]]
"""Of the stream: id and fields."""


@dataclass(frozen=True)
class Pass:
    """An entry that says that one view of one part passed.

    Attributes:
        stored_ns: by Redis's clock, whole milliseconds.
        valid_until_ns: likewise.
        exact_ns: when it was stored, as precisely as its own latencies tell.
    """

    stored_ns: int
    valid_until_ns: int
    exact_ns: int


@dataclass
class Case:
    """All that is known of one part.

    Attributes:
        number: of the part.
        part_id: likewise.
        asked_ns: when its trigger was first sent; None: the PLC did not trigger it.
        answered_ns: when that was answered; None: it was not.
        gate_ns: when it stood at the gate; None: no PLC was there.
        challenge: announced as one.
        opened: the flap opened.
        late: the PLC's own scan came too late to move it.
        result_ns: when its result was first read.
        passes: by view, in the order in which they were stored.
        fails: likewise, when they were stored.
    """

    number: int
    part_id: str
    asked_ns: int | None = None
    answered_ns: int | None = None
    gate_ns: int | None = None
    challenge: bool = False
    opened: bool = False
    late: bool = False
    result_ns: int | None = None
    passes: dict[str, list[Pass]] = field(default_factory=dict)
    fails: dict[str, list[int]] = field(default_factory=dict)


def gather(
    parts: Mapping[int, str], entries: Iterable[Entry], log: Sequence[Record], cameras: Mapping[str, str]
) -> list[Case]:
    """All that is known of each part.

    Args:
        parts: ids of the parts that came along, by number.
        entries: the whole stream.
        log: of the PLC.
        cameras: of the views that every part must have, by view.
    """
    cases = {number: Case(number, part_id) for number, part_id in parts.items()}
    _read_log(cases, log)
    for entry, fields in entries:
        _read_entry(cases, entry, fields, cameras)
    return list(cases.values())


def _read_log(cases: Mapping[int, Case], log: Sequence[Record]) -> None:
    for record in log:
        case = cases.get(record.get("trigger", -1))
        if case is None:
            continue
        if record["what"] == "asked" and case.asked_ns is None:
            case.asked_ns = record["ns"]
            case.answered_ns = record["after_ns"] if record["answered"] else None
            case.challenge = record["challenge"]
        elif record["what"] == "gate":
            case.gate_ns, case.late = record["ns"], record["late"]
            case.opened = case.opened or record["opened"]
        elif record["what"] == "result" and record["ours"] and case.result_ns is None:
            case.result_ns = record["ns"]


def _read_entry(cases: Mapping[int, Case], entry: str, fields: Mapping[str, bytes], cameras: Mapping[str, str]) -> None:
    """Adds an entry to its part's case, if it speaks of a part at all."""
    text = {name: value.decode(errors="replace") for name, value in fields.items() if name != "map"}
    view, trigger = text.get("view", ""), text.get("trigger", "")
    if cameras.get(view) != text.get("camera") or not (trigger.isascii() and trigger.isdigit()):
        return
    case = cases.get(int(trigger))
    if case is None or case.part_id != text.get("part_id"):
        return
    stored_ns = int(entry.split("-")[0]) * MS
    if text.get("decision") == "fail":
        case.fails.setdefault(view, []).append(stored_ns)
    elif _passes(text, fields.get("map", b"")):
        passed = Pass(stored_ns, int(text["valid_until_us"]) * US, _exact_ns(text, stored_ns))
        case.passes.setdefault(view, []).append(passed)


def _passes(text: Mapping[str, str], png: bytes) -> bool:
    """Whether an entry is a PASS that may open something."""
    try:
        score, threshold, valid = float(text["score"]), float(text["threshold"]), int(text["valid_until_us"]) > 0
        words = (text["decision"], text["reason_code"], text["simulated"])
    except (KeyError, ValueError):
        return False
    finite = math.isfinite(score) and math.isfinite(threshold) and score <= threshold
    return words == ("pass", "0", "0") and finite and valid and (not png or png.startswith(PNG))


def _exact_ns(text: Mapping[str, str], stored_ns: int) -> int:
    """From capture and all the stages since, if that is within the millisecond that the entry's id names."""
    stages = text.get("latency_us", "").strip("{}").split(",")
    try:
        exact_ns = int(text["captured_ns"]) + sum(int(stage.split(":")[1]) for stage in stages) * US
    except (KeyError, ValueError, IndexError):
        return stored_ns
    return min(max(exact_ns, stored_ns), stored_ns + MS)
