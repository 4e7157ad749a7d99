"""What came of a run of `sightline bench gate`: the oracle's word about each part, beside what the PLC did."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from worker.bench.gate.evidence import Case, Record
from worker.bench.gate.oracle import Finding, late_passes
from worker.bench.gate.plan import STOPPING, WINDOW_MS
from worker.bench.harvest import percentile

ENOUGH = 0.99  # of the entitled parts
TOLD_NS = 5_000_000_000
PARTS_A_STOP = 200  # a blow that stops the line may put so many parts out of service: more, and little was shown


@dataclass(frozen=True)
class GateReport:
    """What came of it.

    Attributes:
        parts: that came along.
        in_service: of them; see `worker.bench.gate.oracle`, also for the next three.
        out_of_service: the others, by reason.
        entitled: parts that the gate had to open for.
        edge: parts that it might open for, and need not.
        opened: parts that it opened for.
        opened_entitled: of the entitled ones.
        opened_without_pass: parts that it opened for and should not have.
        opened_barred: parts that it opened for although it said that it opens for nobody.
        rejected: parts that came to a closed flap, or by when no PLC was there to open it.
        p50_ms: from when the last PASS was stored until the PLC had read the result, of those entitled ones to whom
            nothing was done in that time; None: there are none.
        p99_ms: likewise.
        late_passes: PASSes that were stored, still valid, after their part's timer had ended.
        results: that the PLC read.
        counters_skipped: that it never read; those it was not told of are in `unnoticed`.
        unnoticed: skipped without a word, parts in service without a result, results that changed or were
            contradicted, and parts shown at the gate otherwise than they were decided.
        blows: what was done to the line.
        forged: entries that nobody had judged.
        seconds: of the run.
    """

    parts: int
    in_service: int
    out_of_service: dict[str, int]
    entitled: int
    edge: int
    opened: int
    opened_entitled: int
    opened_without_pass: int
    opened_barred: int
    rejected: int
    p50_ms: float | None
    p99_ms: float | None
    late_passes: int
    results: int
    counters_skipped: int
    unnoticed: dict[str, int]
    blows: dict[str, int]
    forged: dict[str, int]
    seconds: float

    @property
    def holds(self) -> bool:
        """Whether the gate opened for whom it had to and for nobody else, and nothing was skipped unnoticed."""
        return (
            self.opened_without_pass == self.opened_barred == 0 < self.entitled
            and self.opened_entitled >= ENOUGH * self.entitled
            and self.rejected == self.parts - self.opened
            and self.in_service >= self.parts - PARTS_A_STOP * self.stops
            and not self.unnoticed
        )

    @property
    def stops(self) -> int:
        """Blows that stop the line for a moment."""
        return sum(count for what, count in self.blows.items() if what in STOPPING)

    def to_json(self) -> dict[str, Any]:
        """For machines."""
        found = asdict(self)
        for name in ("p50_ms", "p99_ms"):
            found[name] = None if found[name] is None else round(found[name], 2)
        return {**found, "seconds": round(self.seconds, 1), "holds": self.holds}


def make_report(
    findings: Sequence[Finding],
    log: Sequence[Record],
    *,
    blows: Mapping[str, int],
    forged: Mapping[str, int],
    seconds: float,
) -> GateReport:
    """Sums up.

    Args:
        findings: of every part.
        log: of the PLC.
        blows: dealt, by kind.
        forged: written, by kind.
        seconds: of the run.
    """
    opened = [finding for finding in findings if finding.case.opened]
    waits = [
        (finding.case.result_ns - finding.complete_ns) / 1e6
        for finding in opened
        if finding.entitled and finding.quiet and finding.case.result_ns and finding.complete_ns
    ]
    reasons = Counter(finding.unserved for finding in findings if finding.unserved)
    return GateReport(
        parts=len(findings),
        in_service=len(findings) - sum(reasons.values()),
        out_of_service=dict(reasons.most_common()),
        entitled=sum(finding.entitled for finding in findings),
        edge=sum(finding.possible and not finding.certain for finding in findings),
        opened=len(opened),
        opened_entitled=sum(finding.entitled for finding in opened),
        opened_without_pass=sum(not finding.possible for finding in opened),
        opened_barred=sum(finding.barred for finding in opened),
        rejected=_rejected(findings, log),
        p50_ms=percentile(waits, 50),
        p99_ms=percentile(waits, 99),
        late_passes=sum(late_passes(finding, WINDOW_MS) for finding in findings),
        results=sum(record["what"] == "result" for record in log),
        counters_skipped=sum(len(record["counters"]) for record in log if record["what"] == "missing"),
        unnoticed=_unnoticed(findings, log),
        blows=dict(blows),
        forged=dict(forged),
        seconds=seconds,
    )


def _rejected(findings: Sequence[Finding], log: Sequence[Record]) -> int:
    """Parts to whom a PLC left the flap closed, and those whom no PLC saw: without power a spring closes it."""
    seen = {record["trigger"] for record in log if record["what"] == "gate"}
    closed = {record["trigger"] for record in log if record["what"] == "gate" and not record["opened"]}
    return len(closed) + sum(finding.case.number not in seen for finding in findings)


def _unnoticed(findings: Sequence[Finding], log: Sequence[Record]) -> dict[str, int]:
    words = Counter(record["what"] for record in log if record["what"] in ("changed", "contradicted", "at_gate_wrong"))
    words["skipped"] = sum(len(rec["counters"]) for rec in log if rec["what"] == "missing" and not rec["overrun"])
    gaps_ns = [record["ns"] for record in log if record["what"] == "missing" and record["overrun"]]
    silent = [finding.case for finding in findings if finding.case.result_ns is None and not finding.unserved]
    words["no_result"] = sum(not _told(case, gaps_ns) for case in silent)
    return {word: count for word, count in words.items() if count}


def _told(case: Case, gaps_ns: Sequence[int]) -> bool:
    """Whether the PLC was told, soon after it had asked, that it has missed results: this part's may be one of them."""
    asked_ns = case.asked_ns or 0
    return any(asked_ns <= gap_ns <= asked_ns + TOLD_NS for gap_ns in gaps_ns)
