"""The oracle of the gate's bench, and the report that is made of what it says."""

import ast
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from worker.bench.gate.evidence import Entry
from worker.bench.gate.forger import Now, forge
from worker.bench.gate.oracle import Finding, Outage, Rules, Until, judge_parts
from worker.bench.gate.plan import Forgery, Part, Pulse
from worker.bench.gate.report import GateReport, make_report

RULES = Rules({"top": "cam-top", "side": "cam-side"}, window_ms=400.0)
PART = Part(7, Pulse.ONCE, {})
MS = 1_000_000
ASKED_MS, ANSWERED_MS, GATE_MS = 1000, 1002, 1600
SERVICE = {"link": True, "blind": False, "online": True, "synchronised": True, "fault": False, "challenge": "idle"}

Fields = dict[str, bytes]


def passed(view: str, **changed: str) -> Fields:
    """A PASS of a view of the part."""
    fields = {
        "camera": f"cam-{view}",
        "session": "s",
        "seq": "3",
        "view": view,
        "part_id": PART.id,
        "trigger": "7",
        "decision": "pass",
        "reason_code": "0",
        "simulated": "0",
        "score": "0.1",
        "threshold": "0.5",
        "valid_until_us": "1350000",
        "captured_ns": "1040000000",
        "latency_us": '{"wire": 1000, "store": 900}',
    }
    return {name: value.encode() for name, value in {**fields, **changed}.items()} | {"map": b"\x89PNG\r\n\x1a\n..."}


def at(ms: int, fields: Fields) -> Entry:
    return f"{ms}-0", fields


def record(what: str, ms: float, **known: object) -> dict[str, Any]:
    return {"what": what, "ns": int(ms * MS), **known}


def asked(**changed: object) -> dict[str, Any]:
    known = {"trigger": 7, "after_ns": ANSWERED_MS * MS, "answered": True, "challenge": False}
    return record("asked", ASKED_MS, **{**known, **changed})


def finding(
    *entries: Entry,
    log: tuple[dict[str, Any], ...] = (),
    service: Mapping[str, object] = SERVICE,
    outages: tuple[Outage, ...] = (),
    opened: bool = True,
) -> Finding:
    """What the oracle says of the part, which was triggered as ever unless `log` says otherwise."""
    gate = record("gate", GATE_MS, trigger=7, opened=opened, late=False)
    log = (record("service", 0, **service), *(log or (asked(),)), gate)
    (found,) = judge_parts({7: PART.id}, entries, log, outages, RULES)
    return found


TOP = at(1041, passed("top"))
SIDE = at(1060, passed("side"))


def test_a_part_whose_every_view_has_a_pass_in_time_is_entitled() -> None:
    found = finding(TOP, SIDE)
    assert (found.certain, found.possible, found.unserved, found.entitled) == (True, True, "", True)
    assert found.complete_ns == 1060 * MS


@pytest.mark.parametrize(
    "side",
    [
        passed("side", decision="fail", reason_code="1"),
        passed("side", reason_code="2"),
        passed("side", simulated="1"),
        passed("side", part_id="P-000008"),
        passed("side", trigger="8"),
        passed("side", trigger="seven"),
        passed("side", camera="cam-top"),
        passed("side", score="nan"),
        passed("side", score="0.6"),
        passed("side", threshold="inf"),
        passed("side", valid_until_us=""),
        passed("side", valid_until_us="1050000"),
        {**passed("side"), "map": b"no picture"},
        {"hello": b"world"},
        passed("top"),
    ],
    ids=lambda fields: "",
)
def test_a_view_without_a_real_pass_of_that_very_part_entitles_to_nothing(side: Fields) -> None:
    found = finding(TOP, at(1060, side))
    assert not found.certain
    assert not found.possible


@pytest.mark.parametrize("forgery", [kind for kind in Forgery if kind not in (Forgery.AGAIN, Forgery.EARLY)])
def test_no_forgery_entitles_to_anything(forgery: Forgery) -> None:
    real = {name.encode(): value for name, value in passed("side", part_id="P-000001", trigger="1").items()}
    forged = real if forgery is Forgery.REPLAYED else forge(real, forgery, Now(PART, 1_060_000))
    assert not finding(TOP, at(1060, {name.decode(): value for name, value in forged.items()})).possible


def test_a_forgery_is_a_pass_but_for_what_it_gets_wrong() -> None:
    real = {name.encode(): value for name, value in passed("side", part_id="P-000001", trigger="1").items()}
    early = forge(real, Forgery.EARLY, Now(PART, 1_060_000))
    assert finding(TOP, at(1060, {name.decode(): value for name, value in early.items()})).entitled


@pytest.mark.parametrize(("ms", "certain", "possible"), [(900, 0, 0), (1000, 0, 1), (1390, 0, 1), (1500, 0, 0)])
def test_a_pass_counts_while_the_timer_runs_and_at_its_edges_it_may(ms: int, certain: int, possible: int) -> None:
    found = finding(TOP, at(ms, passed("side", valid_until_us="9000000")))
    assert (found.certain, found.possible) == (bool(certain), bool(possible))


def test_each_pass_must_still_be_valid_when_the_last_one_comes() -> None:
    found = finding(at(1041, passed("top", valid_until_us="1200000")), at(1300, passed("side")))
    assert (found.certain, found.possible) == (False, True)


def test_a_fail_beside_a_pass_entitles_to_nothing() -> None:
    assert not finding(TOP, SIDE, at(1070, passed("side", decision="fail", reason_code="1"))).certain


def test_a_part_that_was_not_triggered_or_is_a_challenge_must_not_open() -> None:
    nobody = record("service", 1, **SERVICE)
    assert finding(TOP, SIDE, log=(nobody,)).unserved == "not triggered"
    for log in ((nobody,), (asked(challenge=True),)):
        assert not finding(TOP, SIDE, log=log).possible


def test_a_part_whose_trigger_was_not_answered_may_open_and_is_not_entitled() -> None:
    found = finding(TOP, SIDE, log=(asked(answered=False),))
    assert (found.certain, found.possible, found.unserved) == (False, True, "trigger not answered")


@pytest.mark.parametrize(
    ("changed", "why"),
    [
        ({"link": False}, "no link"),
        ({"online": False}, "gateway not online"),
        ({"synchronised": False}, "unsynchronised"),
        ({"fault": True}, "line fault"),
        ({"challenge": "awaited"}, "challenge"),
        ({"blind": True}, "PLC reads no results"),
    ],
)
def test_a_part_is_out_of_service_for_what_the_plc_read_before_it_was_decided(
    changed: dict[str, object], why: str
) -> None:
    bad = {**SERVICE, **changed}
    assert finding(TOP, SIDE, service=bad).unserved == why
    assert finding(TOP, SIDE, log=(asked(), record("service", 1050, **bad))).unserved == why
    assert finding(TOP, SIDE, log=(asked(), record("service", 1200, **bad))).entitled


@pytest.mark.parametrize(
    ("until", "from_ms", "unserved"),
    [
        (Until.DECIDED, 1050, True),
        (Until.DECIDED, 1300, False),
        (Until.GATE, 1300, True),
        (Until.GATE, 1700, False),
        (Until.MOMENT, 1300, False),
        (Until.MOMENT, 1590, True),
    ],
)
def test_what_is_done_to_the_line_counts_for_as_long_as_it_can_harm(until: Until, from_ms: int, unserved: bool) -> None:
    found = finding(TOP, SIDE, outages=(Outage("hit", from_ms * MS, (from_ms + 20) * MS, until),))
    assert found.unserved == ("hit" if unserved else "")


@pytest.mark.parametrize("name", ["oracle", "evidence"])
def test_the_oracle_shares_no_code_with_the_gate_nor_with_whatever_reads_verdicts(name: str) -> None:
    source = Path(__file__).parent.parent.parent / "worker" / "bench" / "gate" / f"{name}.py"
    nodes = [node for node in ast.walk(ast.parse(source.read_text())) if isinstance(node, ast.Import | ast.ImportFrom)]
    modules = {node.module if isinstance(node, ast.ImportFrom) else node.names[0].name for node in nodes}
    own = {module for module in modules if str(module).split(".")[0] in ("worker", "producers", "model")}
    assert own <= {"worker.bench.gate.evidence"}


# -- the report --------------------------------------------------------------------------------------------------------


def report_of(*findings: Finding, log: tuple[dict[str, Any], ...] = ()) -> GateReport:
    gates = tuple(record("gate", GATE_MS, trigger=7, opened=found.case.opened, late=False) for found in findings)
    return make_report(findings, log or gates, blows={}, forged={}, seconds=1.0)


def result(**changed: object) -> dict[str, Any]:
    return record("result", 1064.5, **{"trigger": 7, "opens": True, "ours": True, **changed})


def test_a_run_holds_if_the_gate_opened_for_whom_it_had_to() -> None:
    report = report_of(finding(TOP, SIDE, log=(asked(), result())))
    assert report.holds
    assert (report.entitled, report.opened, report.rejected, report.p99_ms) == (1, 1, 0, 4.5)


@pytest.mark.parametrize(
    "found",
    [
        finding(TOP, log=(asked(), result())),
        finding(TOP, SIDE, log=(asked(), result()), opened=False),
        finding(TOP, SIDE, log=(asked(),), opened=False),
        finding(TOP, SIDE, log=(asked(), result()), service={**SERVICE, "online": False}),
    ],
    ids=["opened without a pass", "entitled and closed", "no result", "never in service"],
)
def test_a_run_does_not_hold_otherwise(found: Finding) -> None:
    assert not report_of(found).holds


def test_counters_that_were_skipped_are_noticed_only_with_the_overrun_bit() -> None:
    found = finding(TOP, SIDE, log=(asked(), result()))
    gate = record("gate", GATE_MS, trigger=7, opened=True, late=False)
    for overrun in (True, False):
        report = report_of(found, log=(gate, record("missing", 1, counters=[5, 6], overrun=overrun)))
        assert report.counters_skipped == 2
        assert report.holds is overrun
