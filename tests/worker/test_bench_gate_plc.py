"""The PLC of the gate's bench: when it asks, what it takes, and for whom its flap opens."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from worker.bench.gate.plan import PERIOD_MS, TRAVEL_MS, Part, Plan, Pulse
from worker.bench.gate.program import Program
from worker.bench.gate.results import Results
from worker.gate.plc import Acknowledge, ResetFault, StartChallenge, Trigger
from worker.gate.status import GateReason, PartResult, Status

MS = 1_000_000


class Plc:
    """A PLC's program at a conveyor of ten good parts, and what it logs."""

    def __init__(self, parts: int = 10, now_ms: float = -1.0, **changed: dict[str, object]) -> None:
        self.log: list[dict[str, Any]] = []
        drawn = {number: Part(number, Pulse.ONCE, {}) for number in range(parts)}
        for number, change in changed.items():
            drawn[int(number[1:])] = replace(drawn[int(number[1:])], **change)  # type: ignore[arg-type]
        plan = Plan(tuple(drawn.values()), (), frozenset(), frozenset({8}))
        self.program = Program(plan, 0, int(now_ms * MS), self._write)
        self._heartbeat = 0

    def _write(self, what: str, ns: int, **known: object) -> None:
        self.log.append({"what": what, "ns": ns, **known})

    def scan(self, ms: float, *results: PartResult, **status: object) -> list[Any]:
        """One scan that is answered: what was asked for."""
        self._heartbeat += 1
        counter = results[-1].counter if results else 0
        known = {"online": True, "synchronised": True, "heartbeat": self._heartbeat, "counter": counter, **status}
        self.program.read(Status(**known, results=results), int(ms * MS))  # type: ignore[arg-type]
        requests = self.program.requests(int(ms * MS))
        for request in requests:
            if isinstance(request, Trigger):
                self.program.sent(request, before_ns=int(ms * MS), after_ns=int(ms * MS) + 1, answered=True)
        return requests

    def opened(self, until_ms: float) -> list[int]:
        """Parts that the flap has opened for, looked at each millisecond."""
        for ms in range(int(until_ms)):
            self.program.gate(ms * MS)
        return [entry["trigger"] for entry in self.log if entry["what"] == "gate" and entry["opened"]]

    def words(self, what: str) -> list[dict[str, Any]]:
        return [entry for entry in self.log if entry["what"] == what]


def told(counter: int, trigger: int, *, opens: bool = True, part_id: str | None = None) -> PartResult:
    name = f"P-{trigger:06d}" if part_id is None else part_id
    return PartResult(counter, trigger, name, opens, GateReason.OK if opens else GateReason.DEFECT)


def test_the_flap_opens_for_a_part_with_a_result_that_opens_and_for_no_other() -> None:
    plc = Plc()
    for number in range(3):
        plc.scan(number * PERIOD_MS)
    plc.scan(100, told(1, 0), told(2, 1, opens=False))
    assert plc.opened(TRAVEL_MS + 200) == [0]
    assert len(plc.words("gate")) == 5


def test_a_result_that_names_another_part_opens_nothing() -> None:
    plc = Plc()
    plc.scan(0)
    plc.scan(10, told(1, 0, part_id="P-000009"))
    assert plc.opened(TRAVEL_MS + 10) == []


def test_a_plc_that_was_restarted_opens_for_none_of_the_parts_before() -> None:
    plc = Plc(now_ms=50.0)
    plc.scan(80, told(1, 0), told(2, 1))
    assert plc.opened(TRAVEL_MS + 50) == []
    plc.scan(90, told(1, 0), told(2, 1), told(3, 2))
    assert plc.opened(TRAVEL_MS + 90) == [2]


def test_a_flap_that_moves_too_late_stays_closed() -> None:
    plc = Plc()
    plc.scan(0)
    plc.scan(10, told(1, 0))
    plc.program.gate(int((TRAVEL_MS + 37) * MS))
    assert [entry["opened"] for entry in plc.words("gate")] == [False]


def test_a_pulse_is_triggered_once_twice_or_never_and_is_gone_without_a_link() -> None:
    plc = Plc(_1={"pulse": Pulse.TWICE}, _2={"pulse": Pulse.NEVER}, _3={"challenge": True})
    assert plc.scan(0) == [Trigger(0, "P-000000")]
    assert plc.scan(PERIOD_MS) == [Trigger(1, "P-000001")] * 2
    assert plc.scan(2 * PERIOD_MS) == []
    assert plc.scan(3 * PERIOD_MS) == [StartChallenge(), Trigger(3, "P-000003")]
    plc.program.lost("gone", int(4 * PERIOD_MS) * MS)
    assert plc.program.requests(int(4 * PERIOD_MS + 1) * MS) == []
    assert plc.scan(4 * PERIOD_MS + 5) == []


def test_of_several_pulses_since_the_last_scan_the_newest_is_seen() -> None:
    plc = Plc()
    assert plc.scan(2 * PERIOD_MS + 10) == [Trigger(2, "P-000002")]


def test_results_are_acknowledged_and_a_fault_is_reset_after_a_while() -> None:
    plc = Plc(parts=1)
    plc.scan(0)
    assert plc.scan(10, told(1, 0)) == [Acknowledge(1)]
    assert plc.scan(20, told(1, 0), acknowledged=1, fault=True) == []
    assert plc.scan(400, told(1, 0), acknowledged=1, fault=True) == [ResetFault()]


def test_a_blind_plc_triggers_and_takes_no_results() -> None:
    plc = Plc()
    plc.scan(8 * PERIOD_MS)
    plc.scan(8 * PERIOD_MS + 10, told(1, 8))
    assert plc.words("service")[-1]["blind"]
    assert not plc.words("result")


def test_a_heartbeat_that_stands_still_is_no_link() -> None:
    plc = Plc()
    plc.scan(0, heartbeat=5)
    plc.scan(500, heartbeat=5)
    assert plc.words("service")[-1]["link"]
    plc.scan(1500, heartbeat=5)
    assert not plc.words("service")[-1]["link"]


def test_each_result_is_taken_once_and_a_gap_is_written_down() -> None:
    log: list[tuple[str, Mapping[str, object]]] = []
    write: Callable[..., None] = lambda what, ns, **known: log.append((what, known))  # noqa: E731 - a log
    results = Results(write)

    def take(*ring: PartResult, overrun: bool = False) -> list[int]:
        return [one.counter for one in results.take(Status(results=ring, overrun=overrun), 0)]

    assert take(told(65_534, 1), told(65_535, 2)) == [65_534, 65_535]
    assert take(told(65_535, 2), told(1, 3)) == [1]
    assert take(told(4, 6), overrun=True) == [4]
    assert log[1:] == [("missing", {"counters": [2, 3], "overrun": True})]
    assert take(told(4, 7)) == []
    assert log[2:] == [("changed", {"counter": 4})]
    results.interrupted()
    assert take(told(4, 7), told(5, 8)) == [5]
    results.interrupted()
    assert take(told(1, 9)) == [1]
    assert log[3:] == [("anew", {"counter": 0})]
