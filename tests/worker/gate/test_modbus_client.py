"""The Modbus client: a PLC that is a server gets the newest status whole, and one that is away costs a reconnect."""

import threading
import time
from collections.abc import Iterator
from dataclasses import replace

import psutil
import pytest

pytest.importorskip("pymodbus")

from producers.errors import SettingsError
from tests.worker.gate.peers import PlcMemory
from tests.worker.gate.statuses import showing
from tests.worker.processes import eventually
from worker.demo.processes import free_ports
from worker.gate.commands import COMMAND_AT, Command
from worker.gate.modbus_client import BACKOFF_S, MAX_WAITING, Backoff, ModbusClient
from worker.gate.plc import LinkDown, LinkUp, Request, SetBypass, Trigger
from worker.gate.registers import COUNTER_AT, IMAGE_WORDS, RECORDS_AT, decode
from worker.gate.status import Status


class Link:
    """A client under test, and all that it ever asked for."""

    def __init__(self, address: str, *, timeout_s: float = 3.0) -> None:
        self.woken = threading.Event()
        self.client = ModbusClient(address, wake=self.woken.set, poll_ms=5, timeout_s=timeout_s, stale_s=60)
        self.asked: list[Request] = []

    def hear(self, kind: type[Request], times: int = 1) -> bool:
        """Whether it asks for that so often before long."""

        def heard() -> bool:
            self.asked += self.client.requests()
            return sum(isinstance(request, kind) for request in self.asked) == times

        return eventually(heard, 15)

    def count(self, what: str) -> int:
        return self.client.counts.get(what, 0)


@pytest.fixture
def plc() -> Iterator[PlcMemory]:
    with PlcMemory() as plc:
        yield plc


@pytest.fixture
def link(plc: PlcMemory) -> Iterator[Link]:
    link = Link(plc.address)
    assert link.hear(LinkUp)
    yield link
    link.client.close()


def shows(plc: PlcMemory, status: Status) -> bool:
    """Whether the PLC's registers come to say exactly this."""
    return eventually(lambda: plc.read(COUNTER_AT, 1) == [status.counter] and seen(plc) == status, 10)


def seen(plc: PlcMemory) -> Status:
    return decode([word for at in range(0, IMAGE_WORDS, 122) for word in plc.read(at, min(122, IMAGE_WORDS - at))])


def test_the_plc_has_the_newest_status_with_its_counter_written_last(plc: PlcMemory, link: Link) -> None:
    plc.writes()
    link.client.show(showing(1))
    assert shows(plc, showing(1))
    writes = plc.writes()
    assert writes[-1] == (COUNTER_AT, 1)
    assert {at for at, _ in writes} == {RECORDS_AT, 200, 300, 0, COUNTER_AT}  # what changed, and no more
    link.client.show(showing(20))
    assert shows(plc, showing(20))


def test_a_new_block_is_taken_once_and_said_so(plc: PlcMemory, link: Link) -> None:
    link.client.show(showing(1))
    assert shows(plc, showing(1))
    link.woken.clear()
    plc.write(COMMAND_AT, Command(sequence=3, trigger=8, part_id="A-8").words())
    assert link.hear(Trigger)
    assert link.woken.is_set()
    assert eventually(lambda: plc.read(5, 1) == [3], 10)
    assert link.asked == [LinkUp(), Trigger(8, "A-8")]


def test_a_block_that_lay_there_before_is_not_taken(plc: PlcMemory) -> None:
    plc.write(COMMAND_AT, Command(sequence=3, trigger=8, bypass=True).words())
    link = Link(plc.address)
    assert link.hear(LinkUp)
    link.client.show(showing(1))
    assert shows(plc, showing(1))
    plc.write(COMMAND_AT, Command(sequence=4, trigger=9, bypass=True).words())
    assert link.hear(Trigger)
    assert link.asked == [LinkUp(), SetBypass(True), Trigger(9)]
    link.client.close()


def test_a_plc_that_restarts_is_down_once_and_then_has_the_newest_status_whole(plc: PlcMemory, link: Link) -> None:
    link.client.show(showing(3))
    assert shows(plc, showing(3))
    plc.kill()
    assert link.hear(LinkDown)
    for counter in range(4, 30):
        link.client.show(showing(counter))
    assert eventually(lambda: link.count("unreached") >= 2, 15)
    with PlcMemory(plc.port) as successor:
        assert link.hear(LinkUp, 2)
        assert shows(successor, showing(29))
    assert [type(request) for request in link.asked] == [LinkUp, LinkDown, LinkUp]


def test_a_plc_that_hangs_with_its_socket_open_is_noticed_and_never_sees_what_it_missed(plc: PlcMemory) -> None:
    link = Link(plc.address, timeout_s=0.5)
    assert link.hear(LinkUp)
    link.client.show(showing(3))
    assert shows(plc, showing(3))
    plc.freeze()
    assert link.hear(LinkDown)
    link.client.show(showing(4))
    link.client.show(showing(5, opens=False))
    plc.thaw()
    assert link.hear(LinkUp, 2)
    assert shows(plc, showing(5, opens=False))
    link.client.close()


def test_a_plc_that_answers_slowly_gets_the_newest_status_and_not_each_one() -> None:
    with PlcMemory(slow_ms=10) as slow:
        link = Link(slow.address)
        assert link.hear(LinkUp)
        slow.writes()
        for counter in range(1, 101):
            link.client.show(showing(counter))
        assert eventually(lambda: seen(slow) == showing(100), 15)
        assert len(slow.writes()) < 100
        assert (link.count("connected"), link.count("failed")) == (1, 0)
        link.client.close()


def test_a_plc_that_cleared_its_registers_gets_them_again(plc: PlcMemory, link: Link) -> None:
    link.client.show(showing(20))
    assert shows(plc, showing(20))
    plc.write(RECORDS_AT, [0] * 100)
    plc.write(0, [0] * 123)
    assert shows(plc, showing(20))


def test_a_gateway_that_leaves_leaves_nothing_open_behind(plc: PlcMemory, link: Link) -> None:
    link.client.show(showing(3))
    assert shows(plc, showing(3))
    link.client.close()
    left = seen(plc)
    assert (left.online, left.synchronised, left.at_gate) == (False, False, None)
    assert left.results == showing(3).results


def test_a_gateway_that_is_offline_says_so_once_writes_no_more_and_takes_no_block(plc: PlcMemory, link: Link) -> None:
    """Another one may have the gate, and write to the same PLC, which writes a block again until it is taken."""
    link.client.show(showing(3))
    assert shows(plc, showing(3))
    link.client.show(replace(showing(4, heartbeat=2), online=False))
    assert eventually(lambda: not seen(plc).online, 10)
    plc.write(0, [0] * 123)
    plc.writes()
    link.client.show(replace(showing(5, heartbeat=3), online=False))
    plc.write(COMMAND_AT, Command(sequence=3, trigger=8, bypass=True).words())
    assert link.hear(SetBypass)
    assert plc.writes() == [(COMMAND_AT, 21)]  # the PLC's own
    link.client.show(showing(6))
    assert shows(plc, showing(6))
    assert plc.read(5, 1) == [0]
    plc.write(COMMAND_AT, Command(sequence=4, trigger=8, bypass=True).words())
    assert link.hear(Trigger)
    assert eventually(lambda: plc.read(5, 1) == [4], 10)
    assert link.asked == [LinkUp(), SetBypass(True), Trigger(8)]


def test_a_plc_without_the_registers_never_comes_up_and_the_log_says_what_it_lacks(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with PlcMemory(registers=600) as small:
        link = Link(small.address)
        assert eventually(lambda: link.count("refused") >= 2, 15)
        link.client.close()
    assert link.client.requests() == []
    assert "it does not take 56 holding registers from address 1000" in capsys.readouterr().out


def test_blocks_wait_in_the_plc_while_nobody_reads_what_it_asked_for(plc: PlcMemory, link: Link) -> None:
    link.client.show(showing(1))
    link.client._requests.extend([LinkUp()] * MAX_WAITING)
    assert eventually(lambda: link.count("busy") > 0, 10)
    plc.write(COMMAND_AT, Command(sequence=3, trigger=8).words())
    before = link.count("busy")
    assert eventually(lambda: link.count("busy") > before + 2, 10)
    assert plc.read(5, 1) == [0]
    assert len(link.client.requests()) == MAX_WAITING
    assert link.hear(Trigger)


def test_a_plc_that_was_never_there_costs_attempts_further_and_further_apart() -> None:
    started, me = time.monotonic(), psutil.Process()
    before = me.num_fds()
    link = Link(f"127.0.0.1:{free_ports(1)[0]}")
    assert eventually(lambda: link.count("attempts") == 4, 15)
    assert time.monotonic() - started >= 0.1 + 0.1 + 0.2  # with the luckiest jitter
    assert link.client.requests() == []
    link.client.close()
    assert not link.client.alive
    assert me.num_fds() == before


def test_waiting_doubles_up_to_its_bound_less_what_chance_takes_and_starts_anew_after_a_success() -> None:
    steady, lucky = Backoff(lambda: 0.0), Backoff(lambda: 1.0)
    assert [steady.next_s() for _ in range(8)] == [0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 5.0, 5.0]
    assert [lucky.next_s() for _ in range(3)] == [0.1, 0.1, 0.2]
    steady.reset()
    assert steady.next_s() == BACKOFF_S[0]


def test_what_is_no_address_is_named() -> None:
    with pytest.raises(SettingsError, match="no address for Modbus"):
        ModbusClient("plc", wake=lambda: None)
