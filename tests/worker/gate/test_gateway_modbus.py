"""A gateway and a PLC over Modbus, either way round: from a trigger to a part that the gate may open for."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest

pytest.importorskip("pymodbus")

from pymodbus.client import ModbusTcpClient

from tests.worker.gate.gateways import RunningGateway
from tests.worker.gate.peers import PlcMemory
from tests.worker.processes import eventually
from worker.demo.processes import free_ports
from worker.gate.commands import COMMAND_AT, Command
from worker.gate.registers import BLOCK_WORDS, decode
from worker.gate.reign import modbus
from worker.gate.status import GateReason, Status

Read = Callable[[], list[int]]
Write = Callable[[list[int]], object]


class Linked(RunningGateway):
    """A gateway whose link is the one that its settings name."""

    def _open(self, wake: Callable[[], None]) -> Any:
        return modbus(self.settings)(wake)


class Program:
    """The PLC's program: reads the block, writes one command block after another."""

    def __init__(self, read: Read, write: Write) -> None:
        self._read, self._write = read, write
        self._sequence = 0

    def ask(self, **what: Any) -> None:
        """Writes a block, and waits until it is taken."""
        self._sequence += 1
        self._write(Command(self._sequence, **what).words())
        assert eventually(lambda: self._read()[5] == self._sequence)

    def sees(self, condition: Callable[[Status], bool]) -> Status:
        """The first status that is so."""
        found: list[Status] = []

        def met() -> bool:
            found[:] = [decode(self._read())]
            return condition(found[0])

        assert eventually(met)
        return found[0]


def goes_its_way(plc: Program, gateway: RunningGateway) -> None:
    """A part of which every view passes, one with a bad view, and what the PLC sees of them."""
    plc.sees(lambda status: status.online)
    plc.ask(synchronise=True)
    plc.sees(lambda status: status.synchronised)
    plc.ask(trigger=7)
    gateway.store(7)
    good = plc.sees(lambda status: status.counter == 1)
    assert good.at_gate is not None
    assert (good.at_gate.trigger, good.at_gate.opens) == (7, True)
    plc.ask(trigger=8, acknowledge=1)
    gateway.store(8, "top")
    gateway.store(8, "side", passed=False)
    bad = plc.sees(lambda status: status.counter == 2)
    assert [(result.trigger, result.opens) for result in bad.results] == [(7, True), (8, False)]
    assert bad.results[-1].reason is GateReason.DEFECT
    assert (bad.at_gate and bad.at_gate.opens) is False
    plc.sees(lambda status: status.acknowledged == 1)


@pytest.fixture
def client() -> Iterator[ModbusTcpClient]:
    client = ModbusTcpClient("127.0.0.1", port=free_ports(1)[0], timeout=5, retries=0)
    yield client
    client.close()  # type: ignore[no-untyped-call]


def test_a_plc_that_polls_sees_the_gate_open_for_a_part_of_which_every_view_passed(
    redis_url: str, line: str, client: ModbusTcpClient
) -> None:
    gateway = Linked(redis_url, line, modbus={"address": f"127.0.0.1:{client.comm_params.port}"})
    assert eventually(lambda: bool(client.connect()))  # type: ignore[no-untyped-call]
    plc = Program(
        lambda: list(client.read_holding_registers(0, count=BLOCK_WORDS).registers),
        lambda words: client.write_registers(COMMAND_AT, words),
    )
    goes_its_way(plc, gateway)
    gateway.leave()


def test_a_plc_that_is_a_server_has_the_same_in_its_registers_and_nothing_open_when_the_gateway_leaves(
    redis_url: str, line: str
) -> None:
    with PlcMemory() as memory:
        gateway = Linked(redis_url, line, modbus={"mode": "client", "address": memory.address, "poll_ms": 5})
        plc = Program(lambda: memory.read(0, BLOCK_WORDS), lambda words: memory.write(COMMAND_AT, words))
        goes_its_way(plc, gateway)
        plc.ask(trigger=9)
        gateway.store(9)
        plc.sees(lambda status: status.at_gate is not None and status.at_gate.opens)
        gateway.leave()
        left = decode(memory.read(0, BLOCK_WORDS))
        assert (left.online, left.at_gate) == (False, None)
