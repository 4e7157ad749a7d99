"""`sightline bench latency`: its PLC sees each result once, and its figures say what was seen."""

import time

import pytest

pytest.importorskip("pymodbus")

from tests.worker.gate.statuses import part
from worker.bench.gate.latency import LatencyReport, report_of
from worker.bench.gate.quick_plc import QuickPlc, Seen, Watch
from worker.demo.processes import free_ports
from worker.errors import WorkerError
from worker.gate.modbus_server import ModbusServer
from worker.gate.plc import Synchronise, Trigger
from worker.gate.status import RING, PartResult, Status


class YesGate:
    """A gate that is in service once it is asked to be, and opens for every part at once."""

    def __init__(self) -> None:
        self.port = free_ports(1)[0]
        self.synchronised = False
        self.results: list[PartResult] = []
        self.server = ModbusServer(f"127.0.0.1:{self.port}", wake=self._turn)
        self._show()

    def _turn(self) -> None:
        for request in self.server.requests():
            self.synchronised |= request == Synchronise()
            if isinstance(request, Trigger):
                self.results.append(part(len(self.results) + 1, trigger=request.number))
        self._show()

    def _show(self) -> None:
        counter = len(self.results)
        shown = Status(
            online=True, synchronised=self.synchronised, counter=counter, results=tuple(self.results[-RING:])
        )
        self.server.show(shown)


def test_the_plc_triggers_every_part_and_sees_each_result_once() -> None:
    gate = YesGate()
    plc = QuickPlc("127.0.0.1", gate.port, poll_ms=2.0)
    plc.await_service(10.0)
    starts_ns = time.monotonic_ns()
    seen = plc.watch(Watch(tuple(starts_ns + number * 1_000_000 for number in range(40))))
    plc.close()
    gate.server.close()
    assert [result.trigger for result in gate.results] == list(range(1, 41))
    assert sorted(seen.at_ns) == list(range(1, 41))
    assert seen.opened == 40


def test_a_gateway_that_does_not_come_is_told() -> None:
    plc = QuickPlc("127.0.0.1", free_ports(1)[0], poll_ms=2.0)
    with pytest.raises(WorkerError, match="the gateway is not in service"):
        plc.await_service(0.1)


def found(waits_ms: list[float], *, unseen: int = 0) -> LatencyReport:
    written = [1_000_000_000] * (len(waits_ms) + unseen)
    at_ns = {number: 1_000_000_000 + int(wait * 1e6) for number, wait in enumerate(waits_ms, 1)}
    return report_of(written, Seen(at_ns=at_ns, opened=len(at_ns)), rate=200.0, poll_ms=2.0)


def test_a_run_holds_if_its_results_were_seen_and_soon() -> None:
    report = found([4.0] * 99 + [9.0])
    assert (report.seen, report.p50_ms, report.p99_ms) == (100, 4.0, 9.0)
    assert report.to_json()["p99_in_polls"] == 4.5
    assert report.holds


@pytest.mark.parametrize(("waits_ms", "unseen"), [([4.0] * 9 + [11.0], 0), ([4.0] * 97, 3), ([], 5)])
def test_a_run_does_not_hold_if_results_came_late_or_not_at_all(waits_ms: list[float], unseen: int) -> None:
    assert not found(waits_ms, unseen=unseen).holds
