"""Which parts the gate had to open for, and which it might not: found without the gate.

It shares no code with the gate, nor with whatever reads verdicts: it looks at the raw entries of the stream, at the
PLC's own log and at what the bench did to the line, and at nothing else.

A part **has its PASS** if for every view the stream holds an entry of that view's camera, with that part's trigger and
id, decision `pass`, reason code 0, not simulated, a finite score not above a finite threshold, and a map that is a PNG
or none; stored (by the entry's id: Redis's clock) after the PLC's trigger was answered and before the part's timer
ended; whose `valid_until_us` lies after the moment at which the last view's was stored; and no `fail` beside it. A part
that the PLC announced as a challenge has none.

A part is **in service** if the PLC itself read, when it triggered the part and on until the last of its verdicts was
stored, that the gateway is online, synchronised, without a fault and awaits no challenge; and if nothing was done to
gateway or Redis in that time, nor to the PLC until the part stood at the gate, and the PLC's scan was not late there.

A part is **entitled** if both hold. Where a PASS came so close to the beginning or the end of the timer, or to the end
of its own validity, that clocks and threads decide, the part is an **edge**: it may open, and need not. A part that
opens without even that was opened without a PASS. A part is **barred** if the PLC read all around its trigger that the
gateway was not online, not synchronised or at fault: it must not open, whatever its verdicts say.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from enum import Enum, auto
from typing import Any

from worker.bench.gate.evidence import MS, Case, Entry, Pass, Record, gather

EDGE_MS = 25.0
SETTLED_MS = 60.0  # after the last verdict the decision is made and read
FOREVER = 2**63
BARRED = ("gateway not online", "line fault", "unsynchronised")


@dataclass(frozen=True)
class Rules:
    """What the oracle must know of the line.

    Attributes:
        cameras: of the views that every part must have, by view.
        window_ms: of a part's timer.
    """

    cameras: Mapping[str, str]
    window_ms: float


class Until(Enum):
    """Until when a part can be harmed by what is done to the line."""

    DECIDED = auto()
    """Gateway and Redis: until its result could be read."""
    GATE = auto()
    """The PLC's memory: until it stands at the gate."""
    MOMENT = auto()
    """The PLC's scan: only while it is triggered, and when it stands at the gate."""


@dataclass(frozen=True)
class Outage:
    """Something was done to the line.

    Attributes:
        what: in the report's words.
        from_ns: since the epoch.
        until_ns: likewise.
        until: how long a part can be harmed.
    """

    what: str
    from_ns: int
    until_ns: int
    until: Until

    def harms(self, case: Case, decided_ns: int) -> bool:
        """Whether a part was under way when this could harm it."""
        asked_ns, gate_ns = case.asked_ns or 0, case.gate_ns or FOREVER
        if self.until is Until.MOMENT:
            return self.meets(asked_ns, case.answered_ns or asked_ns) or self.meets(gate_ns, gate_ns)
        return self.meets(asked_ns, decided_ns if self.until is Until.DECIDED else max(decided_ns, gate_ns))

    def meets(self, from_ns: int, until_ns: int) -> bool:
        """Whether it fell into this time, or came to an end just before."""
        return self.from_ns <= until_ns and self.until_ns + int(EDGE_MS * MS) >= from_ns


@dataclass(frozen=True)
class Finding:
    """What the oracle says of one part.

    Attributes:
        case: what is known of it.
        certain: it has its PASS.
        possible: it has, or it is an edge.
        barred: the gate said that it opens for nobody when the part was triggered.
        unserved: why it was not in service; empty: it was.
        quiet: nothing was done to gateway, Redis or PLC from its trigger until its result was read.
        complete_ns: when the last view's PASS was stored; None: it has none for certain.
    """

    case: Case
    certain: bool
    possible: bool
    barred: bool
    unserved: str
    quiet: bool
    complete_ns: int | None

    @property
    def entitled(self) -> bool:
        """Whether the gate had to open."""
        return self.certain and not self.unserved

    def to_json(self) -> dict[str, Any]:
        """For machines; times in ns since the epoch."""
        names = ("certain", "possible", "barred", "entitled", "quiet", "unserved", "complete_ns")
        return {**asdict(self.case), **{name: getattr(self, name) for name in names}}


def judge_parts(
    parts: Mapping[int, str],
    entries: Iterable[Entry],
    log: Sequence[Record],
    outages: Sequence[Outage],
    rules: Rules,
) -> list[Finding]:
    """What is to be said of each part.

    Args:
        parts: ids of the parts that came along, by number.
        entries: the whole stream, (id, fields).
        log: of the PLC.
        outages: what was done to the line.
        rules: of the line.
    """
    service = [record for record in log if record["what"] == "service"]
    return [_judge(case, service, outages, rules) for case in gather(parts, entries, log, rules.cameras)]


def late_passes(finding: Finding, window_ms: float) -> int:
    """PASSes of a part that were stored, still valid, after its timer had ended."""
    case = finding.case
    if case.answered_ns is None:
        return 0
    ended_ns = case.answered_ns + int((window_ms + EDGE_MS) * MS)
    stored = [one for passes in case.passes.values() for one in passes]
    return sum(ended_ns < one.stored_ns <= one.valid_until_ns for one in stored)


def _judge(case: Case, service: Sequence[Record], outages: Sequence[Outage], rules: Rules) -> Finding:
    complete_ns = _certain(case, rules)
    decided_ns = complete_ns or (case.answered_ns or 0) + int(rules.window_ms * MS)
    asked_ns, read_ns = case.asked_ns or 0, case.result_ns or FOREVER
    return Finding(
        case,
        certain=complete_ns is not None,
        possible=_possible(case, rules),
        barred=_barred(case, service),
        unserved=_unserved(case, service, outages, decided_ns + int(SETTLED_MS * MS)),
        quiet=not any(outage.meets(asked_ns, read_ns) for outage in outages),
        complete_ns=complete_ns,
    )


def _certain(case: Case, rules: Rules) -> int | None:
    """When the last view's PASS was stored, if the part has its PASS for certain."""
    if case.asked_ns is None or case.answered_ns is None or case.challenge:
        return None
    edge_ns = int(EDGE_MS * MS)
    ends_ns = case.asked_ns + int(rules.window_ms * MS) - edge_ns
    first: list[Pass] = []
    for view in rules.cameras:
        found = [one for one in case.passes.get(view, ()) if case.answered_ns <= one.stored_ns <= ends_ns]
        if not found or case.fails.get(view):
            return None
        first.append(found[0])
    last_ns = max(one.exact_ns for one in first)
    return last_ns if all(one.valid_until_ns >= last_ns + edge_ns for one in first) else None


def _possible(case: Case, rules: Rules) -> bool:
    """Whether the part may open at all.

    The timer ran from when its trigger may have arrived, and a little longer; and what was stored a little before that
    may have been read by then.
    """
    if case.asked_ns is None or case.challenge:
        return False
    edge_ns = int(EDGE_MS * MS)
    ends_ns = FOREVER if case.answered_ns is None else case.answered_ns + int(rules.window_ms * MS) + edge_ns
    return all(
        any(
            case.asked_ns - edge_ns <= one.stored_ns <= ends_ns and one.valid_until_ns >= one.stored_ns
            for one in case.passes.get(view, ())
        )
        for view in rules.cameras
    )


def _unserved(case: Case, service: Sequence[Record], outages: Sequence[Outage], until_ns: int) -> str:
    """Why the part was not in service; empty: it was."""
    if case.asked_ns is None:
        return "not triggered"
    if case.answered_ns is None:
        return "trigger not answered"
    for outage in outages:
        if outage.harms(case, until_ns):
            return outage.what
    before = [record for record in service if record["ns"] <= case.asked_ns][-1:]
    if not before:
        return "no link"
    if case.late:
        return "PLC scan late"
    since = [record for record in service if case.asked_ns < record["ns"] <= until_ns]
    return next((why for why in map(_out_of_service, before + since) if why), "")


def _barred(case: Case, service: Sequence[Record]) -> bool:
    """Whether the PLC read nothing else, from a moment before its trigger until a moment after the answer."""
    if case.asked_ns is None or case.answered_ns is None:
        return False
    settled_ns = int(SETTLED_MS * MS)
    from_ns, until_ns = case.asked_ns - settled_ns, case.answered_ns + settled_ns
    before = [record for record in service if record["ns"] <= from_ns][-1:]
    around = before + [record for record in service if from_ns < record["ns"] <= until_ns]
    return bool(before) and all(record["link"] and _out_of_service(record) in BARRED for record in around)


def _out_of_service(record: Record) -> str:
    if not record["link"]:
        return "no link"
    if not record["online"]:
        return "gateway not online"
    if record["fault"]:
        return "line fault"
    if not record["synchronised"]:
        return "unsynchronised"
    if record["challenge"] == "awaited":
        return "challenge"
    return "PLC reads no results" if record["blind"] else ""
