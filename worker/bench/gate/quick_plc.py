"""The PLC of `sightline bench latency`: polls every few milliseconds, and notes when it first sees each result."""

import time
from dataclasses import dataclass, field

from pymodbus.client import ModbusTcpClient
from pymodbus.exceptions import ModbusException

from worker.bench.gate.plc import MAX_SEQUENCE
from worker.errors import WorkerError
from worker.gate.commands import COMMAND_AT, Command
from worker.gate.registers import BLOCK_WORDS, COUNTER_AT, Shown, decode, read, slot_of
from worker.gate.status import MAX_COUNTER

LEAD_MS = 100.0
"""From a part's trigger to its verdict: what cameras and workers take."""
MOST_TRIGGERS = 4  # between two polls: the ring holds the results of four such turns
GRACE_S = 1.5  # after the last trigger, for the last result
AGAIN_S = 0.05


@dataclass(frozen=True)
class Watch:
    """An order to trigger parts, and to watch for their results.

    Attributes:
        due_ns: when to trigger part 1, 2 and so on, monotonic ns.
    """

    due_ns: tuple[int, ...]


@dataclass
class Seen:
    """What a PLC saw.

    Attributes:
        at_ns: by trigger: when the poll that first showed its result was answered, monotonic ns.
        opened: results that open.
        answers_ms: how long each poll took.
        behind_ms: how much later than due each poll was made.
    """

    at_ns: dict[int, int] = field(default_factory=dict)
    opened: int = 0
    answers_ms: list[float] = field(default_factory=list)
    behind_ms: list[float] = field(default_factory=list)


class QuickPlc:
    """A PLC with a scan of its own. One thread.

    Args:
        host: of the gateway.
        port: likewise.
        poll_ms: between two polls.
    """

    def __init__(self, host: str, port: int, poll_ms: float) -> None:
        self._client = ModbusTcpClient(host, port=port, timeout=1.0, retries=0)
        self._poll_ns = int(poll_ms * 1e6)
        self._sequence = self._done = 0

    def await_service(self, within_s: float) -> None:
        """Waits for the gateway to be online, asks it to synchronise, and waits until it is.

        Raises:
            WorkerError: it takes too long.
        """
        ends = time.monotonic() + within_s
        while time.monotonic() < ends:
            try:
                if self._client.connect():  # type: ignore[no-untyped-call]
                    block = self._block()
                    status = decode(block)
                    if status.online and status.synchronised:
                        self._done = status.counter
                        return
                    self._sequence = int(read(block, "taken"))
                    if status.online:
                        self._write(Command(self._next(), synchronise=True))
            except (ModbusException, OSError):
                self._client.close()  # type: ignore[no-untyped-call]
            time.sleep(AGAIN_S)
        raise WorkerError("the gateway is not in service")

    def watch(self, order: Watch) -> Seen:
        """Polls until the last result should be there. Triggers each part when it is due."""
        seen, number, total = Seen(), 0, len(order.due_ns)
        due_ns = time.monotonic_ns()
        ends_ns = order.due_ns[-1] + int(GRACE_S * 1e9)
        while (now_ns := time.monotonic_ns()) < ends_ns and len(seen.at_ns) < total:
            time.sleep(max(0, due_ns - now_ns) / 1e9)
            began_ns = time.monotonic_ns()
            seen.behind_ms.append((began_ns - due_ns) / 1e6)
            block = self._block()
            self._look(block, seen, time.monotonic_ns())
            seen.answers_ms.append((time.monotonic_ns() - began_ns) / 1e6)
            for _ in range(MOST_TRIGGERS):
                if number < total and order.due_ns[number] <= time.monotonic_ns():
                    number += 1
                    self._write(Command(self._next(), trigger=number, acknowledge=self._done))
            due_ns = max(due_ns + self._poll_ns, time.monotonic_ns())
        return seen

    def close(self) -> None:
        """Hangs up."""
        self._client.close()  # type: ignore[no-untyped-call]

    def _look(self, block: list[int], seen: Seen, now_ns: int) -> None:
        while self._done != block[COUNTER_AT]:
            self._done = self._done % MAX_COUNTER + 1
            entry = f"ring_{slot_of(self._done):02}_"
            if read(block, entry + "counter") == self._done:
                seen.at_ns[int(read(block, entry + "trigger"))] = now_ns
                seen.opened += read(block, entry + "decision") == Shown.PASS

    def _block(self) -> list[int]:
        found = list(self._client.read_holding_registers(0, count=BLOCK_WORDS).registers)
        if len(found) != BLOCK_WORDS:
            raise WorkerError("the gateway refuses to be read")
        return found

    def _write(self, command: Command) -> None:
        if self._client.write_registers(COMMAND_AT, command.words()).isError():
            raise WorkerError("the gateway refuses a command block")

    def _next(self) -> int:
        self._sequence = self._sequence % MAX_SEQUENCE + 1
        return self._sequence
