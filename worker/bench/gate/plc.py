"""The PLC of `sightline bench gate`: a process that polls the gateway's registers, and logs all it sees and does."""

import json
import logging
import signal
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, TextIO

from pymodbus.client import ModbusTcpClient
from pymodbus.exceptions import ModbusException

from worker.bench.gate.plan import make_plan
from worker.bench.gate.program import Program
from worker.gate.commands import COMMAND_AT, Command
from worker.gate.plc import Acknowledge, Request, ResetFault, StartChallenge, Synchronise, Trigger
from worker.gate.registers import BLOCK_WORDS, RECORD_WORDS, RECORDS_AT, decode, read, slot_of
from worker.gate.status import PartResult, Status

SCAN_MS = 4.0
TIMEOUT_S = 0.5
REDIAL_MS = 50.0
MAX_SEQUENCE = 65_535


class LinkLost(Exception):
    """The gateway does not answer, or refuses."""


class Log:
    """Writes what happens, one JSON object a line; what is written stays, however the process ends."""

    def __init__(self, file: TextIO) -> None:
        self._file = file

    def __call__(self, what: str, ns: int, **known: object) -> None:
        """Writes one thing that happened at `ns` since the epoch."""
        self._file.write(json.dumps({"what": what, "ns": ns, **known}) + "\n")


class Registers:
    """The gateway's registers, over one connection that is dialled anew after every failure. One thread.

    Args:
        host: of the gateway.
        port: likewise.
    """

    def __init__(self, host: str, port: int) -> None:
        logging.getLogger("pymodbus").setLevel(logging.CRITICAL)  # what fails is told by `LinkLost`
        self._client = ModbusTcpClient(host, port=port, timeout=TIMEOUT_S, retries=0)
        self._sequence: int | None = None
        self._acknowledged = 0

    def status(self) -> Status:
        """Header, ring and counter, in one read.

        Raises:
            LinkLost: see there.
        """
        if not self._client.connected and not self._client.connect():  # type: ignore[no-untyped-call]
            raise LinkLost("it does not listen")
        block = self._read(0, BLOCK_WORDS)
        if self._sequence is None:
            self._sequence = int(read(block, "taken"))
        return decode(block)

    def named(self, result: PartResult) -> PartResult:
        """A result with the part's id, read from its full record; without, if the record is another's by now.

        Raises:
            LinkLost: see there.
        """
        address = RECORDS_AT + slot_of(result.counter) * RECORD_WORDS
        image = [0] * address + self._read(address, RECORD_WORDS)
        row = f"full_{slot_of(result.counter):02}_"
        if read(image, row + "counter") != result.counter:
            return result
        return replace(result, part_id=str(read(image, row + "part_id")))

    def write(self, requests: Sequence[Request]) -> None:
        """One command block: at most one trigger.

        Raises:
            LinkLost: see there.
        """
        for request in requests:
            if isinstance(request, Acknowledge):
                self._acknowledged = request.counter
        trigger = next((request for request in requests if isinstance(request, Trigger)), None)
        self._sequence = (self._sequence or 0) % MAX_SEQUENCE + 1
        command = Command(
            self._sequence,
            trigger=trigger.number if trigger else None,
            part_id=trigger.part_id if trigger else "",
            acknowledge=self._acknowledged,
            reset_fault=ResetFault() in requests,
            start_challenge=StartChallenge() in requests,
            synchronise=Synchronise() in requests,
        )
        self._answer(lambda: self._client.write_registers(COMMAND_AT, command.words()))

    def drop(self) -> None:
        """Closes the connection; the next one may lead to another gateway, or to one that has begun anew."""
        self._client.close()  # type: ignore[no-untyped-call]
        self._sequence, self._acknowledged = None, 0

    def _read(self, address: int, count: int) -> list[int]:
        registers: list[int] = self._answer(lambda: self._client.read_holding_registers(address, count=count)).registers
        if len(registers) != count:
            raise LinkLost(f"it sends {len(registers)} of {count} registers")
        return registers

    def _answer(self, ask: Any) -> Any:
        try:
            answer = ask()
        except (ModbusException, OSError) as error:
            raise LinkLost(str(error)) from error
        if answer.isError():
            raise LinkLost(f"it refuses: {answer}")
        return answer


def run_plc(host: str, port: int, log: Path, parts: int, seed: int, start_ns: int) -> None:
    """Runs the PLC until the last part has passed its gate.

    Args:
        host: of the gateway.
        port: likewise.
        log: file, to which is added.
        parts: of the plan.
        seed: of the plan.
        start_ns: when part 0 crosses the light barrier, since the epoch.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the bench, which ends this process
    with log.open("a", encoding="utf-8", buffering=1) as file:
        program = Program(make_plan(parts, seed), start_ns, time.time_ns(), Log(file))
        registers = Registers(host, port)
        while not program.done:
            pause_ms = _scan(program, registers)
            time.sleep(pause_ms / 1000)
        registers.drop()


def _scan(program: Program, registers: Registers) -> float:
    """Inputs, logic, outputs. Returns how long to rest, ms."""
    began_ns = time.time_ns()
    try:
        status = registers.status()
        seen_ns = time.time_ns()
        results = tuple(
            registers.named(one) if one.opens and program.results.is_new(one) else one for one in status.results
        )
        program.read(replace(status, results=results), seen_ns)
        _ask(program, registers)
        rest_ms = SCAN_MS
    except LinkLost as error:
        registers.drop()
        program.lost(str(error), time.time_ns())
        program.requests(time.time_ns())
        rest_ms = REDIAL_MS
    program.gate(time.time_ns())
    return max(0.0, rest_ms - (time.time_ns() - began_ns) / 1e6)


def _ask(program: Program, registers: Registers) -> None:
    """Writes what the program asks for, one block after another: each ends with its trigger."""
    block: list[Request] = []
    for request in program.requests(time.time_ns()):
        block.append(request)
        if isinstance(request, Trigger):
            _trigger(program, registers, block, request)
            block = []
    if block:
        registers.write(block)


def _trigger(program: Program, registers: Registers, block: list[Request], trigger: Trigger) -> None:
    before_ns, answered = time.time_ns(), False
    try:
        registers.write(block)
        answered = True
    finally:
        program.sent(trigger, before_ns=before_ns, after_ns=time.time_ns(), answered=answered)
