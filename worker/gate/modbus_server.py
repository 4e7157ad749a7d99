"""A Modbus TCP server: the PLC polls. pymodbus's, in a thread of its own, and bounded in every direction."""

import asyncio
import logging
import threading
import time
from collections import Counter, deque
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

import structlog
from pymodbus.constants import ExcCodes
from pymodbus.server import ModbusTcpServer
from pymodbus.simulator import DataType, SimData, SimDevice

from producers.errors import AddressTaken
from worker.gate.commands import COMMAND_AT, COMMAND_WORDS, SEQUENCE_AT, Command, Orders
from worker.gate.image import STALE_S, Image
from worker.gate.modbus_caller import Caller
from worker.gate.modbus_link import drain, parse_modbus_address
from worker.gate.plc import LinkDown, LinkUp, Request
from worker.gate.registers import SPANS
from worker.gate.status import Status

log = structlog.get_logger("modbus")

MAX_CLIENTS = 8
IDLE_S = 10.0
MAX_WAITING = 1024
"""Requests that wait for the gateway. A block that comes beyond them is refused as busy, so that its PLC knows."""
LOOK_S = 0.25
START_S = 10.0


class ModbusServer:
    """A link to PLCs and panels that poll. Each read is answered from one status, the newest.

    Whoever reads sees the same registers as holding (FC3) and input registers (FC4). Writes go to the command block
    alone. A client that is silent for long is hung up on; the ninth takes the place of the one that is silent longest.

    Args:
        address: `HOST:PORT`.
        wake: called from the link's thread when requests lie there.
        idle_s: seconds of silence until a client counts as gone.
        stale_s: seconds that a status holds without another one.

    Raises:
        SettingsError: it is no address.
        AddressTaken: it can't be bound.
    """

    def __init__(
        self, address: str, *, wake: Callable[[], None], idle_s: float = IDLE_S, stale_s: float = STALE_S
    ) -> None:
        self.address = parse_modbus_address(address)
        self._wake, self._idle_s = wake, idle_s
        self._image, self._orders = Image(stale_s=stale_s), Orders()
        self._command = [0] * COMMAND_WORDS
        self._requests: deque[Request] = deque()
        self._counts: Counter[str] = Counter()
        self._callers: dict[Caller, bool] = {}  # whether it has asked for anything
        up: Future[Callable[[], None]] = Future()
        self._thread = threading.Thread(target=self._run, args=(up,), name="modbus-server", daemon=True)
        self._thread.start()
        self._stop = up.result(START_S)
        log.info("modbus", at="{}:{}".format(*self.address))

    @property
    def connected(self) -> bool:
        """Whether at least one client is there that asks."""
        return any(self._callers.copy().values())

    @property
    def alive(self) -> bool:
        """Whether the link's thread runs."""
        return self._thread.is_alive()

    @property
    def counts(self) -> dict[str, int]:
        """What happened to connections and blocks, so often."""
        return dict(self._counts)

    def show(self, status: Status) -> None:
        """As `Link.show`."""
        self._image.show(status)

    def requests(self) -> list[Request]:
        """As `Link.requests`."""
        return drain(self._requests)

    def close(self) -> None:
        """Hangs up on all clients, and ends the thread."""
        self._stop()
        self._thread.join()

    # All below runs in the link's thread.

    def _run(self, up: "Future[Callable[[], None]]") -> None:
        asyncio.run(self._serve(up))

    async def _serve(self, up: "Future[Callable[[], None]]") -> None:
        logging.getLogger("pymodbus").setLevel(logging.CRITICAL)  # a stranger's bytes are counted, not logged
        server = _Listener(self._device(), self.address, self._call)
        try:
            await server.serve_forever(background=True)
        except RuntimeError:  # it hides which OSError it was
            up.set_exception(AddressTaken("{}:{} can't be bound for Modbus".format(*self.address)))
            return
        stopping, loop = asyncio.Event(), asyncio.get_running_loop()
        up.set_result(lambda: _tell(loop, stopping))
        while not stopping.is_set():
            self._hang_up_on_idle(time.monotonic())
            try:
                await asyncio.wait_for(stopping.wait(), min(LOOK_S, self._idle_s / 4))
            except TimeoutError:
                continue
        for caller in list(self._callers):
            caller.hang_up("closed")
        await server.shutdown()  # type: ignore[no-untyped-call]
        while self._callers:
            await asyncio.sleep(0)

    def _call(self, server: ModbusTcpServer) -> Caller:
        return Caller(server, came=self._came, asked=self._asked, gone=self._gone)

    def _came(self, caller: Caller) -> None:
        self._counts["accepted"] += 1
        self._callers[caller] = False
        standing = [one for one in self._callers if not one.ended]
        if len(standing) > MAX_CLIENTS:
            min(standing, key=lambda one: one.heard_s).hang_up("evicted")

    def _asked(self, caller: Caller) -> None:
        if not self._callers.get(caller, True):
            first = not self.connected
            self._callers[caller] = True
            if first:
                self._hand_on([LinkUp()])

    def _gone(self, caller: Caller, why: str) -> None:
        self._counts[why] += 1
        if self._callers.pop(caller, False) and not self.connected:
            self._hand_on([LinkDown(f"the last client is gone: {why}")])

    def _hang_up_on_idle(self, now_s: float) -> None:
        for caller in list(self._callers):
            if now_s - caller.heard_s > self._idle_s:
                caller.hang_up("silent")

    def _hand_on(self, requests: list[Request]) -> None:
        if requests:
            self._requests.extend(requests)
            self._wake()

    def _device(self) -> SimDevice:
        shown = [SimData(at, count=words, datatype=DataType.REGISTERS, readonly=True) for at, words in SPANS]
        command = SimData(COMMAND_AT, count=COMMAND_WORDS, datatype=DataType.REGISTERS)
        return SimDevice(0, simdata=[*shown, command], action=self._access)

    async def _access(
        self, _function: int, _start: int, address: int, _count: int, registers: list[int], written: list[Any] | None
    ) -> ExcCodes | None:
        """What happens at each access, after pymodbus has held it against the spans and before it copies registers."""
        if written:
            return self._write(address, written)
        image = self._image.registers(self._orders.taken)
        registers[: len(image)] = image
        registers[COMMAND_AT : COMMAND_AT + COMMAND_WORDS] = self._command
        return None

    def _write(self, address: int, words: list[int]) -> ExcCodes | None:
        block = list(self._command)
        block[address - COMMAND_AT : address - COMMAND_AT + len(words)] = words
        if address + len(words) > SEQUENCE_AT:
            if len(self._requests) >= MAX_WAITING:
                self._counts["busy"] += 1
                return ExcCodes.DEVICE_BUSY
            self._hand_on(self._orders.take(Command.read(block)))
        self._command = block
        return None


class _Listener(ModbusTcpServer):
    """pymodbus's listener, with connections of ours."""

    def __init__(self, device: SimDevice, address: tuple[str, int], call: Callable[[ModbusTcpServer], Caller]) -> None:
        super().__init__(device, address=address)
        self._call = call

    def callback_new_connection(self) -> Caller:
        """One has come."""
        return self._call(self)


def _tell(loop: asyncio.AbstractEventLoop, stopping: asyncio.Event) -> None:
    if not loop.is_closed():
        loop.call_soon_threadsafe(stopping.set)
