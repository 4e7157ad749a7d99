"""A Modbus TCP client: the PLC is the server, and has the register map in its own memory.

Takes statuses, writes them to the PLC's registers; reads the PLC's command block. One thread, one socket.
"""

import logging
import random
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator

import structlog
from pymodbus.client import ModbusTcpClient
from pymodbus.exceptions import ModbusException

from worker.gate.commands import COMMAND_AT, COMMAND_WORDS, Command, Orders
from worker.gate.image import STALE_S, Image
from worker.gate.modbus_link import drain, parse_modbus_address
from worker.gate.plc import LinkDown, LinkUp, Request
from worker.gate.registers import (
    AT_GATE_AT,
    BLOCK_WORDS,
    COUNTER_AT,
    NEWEST_AT,
    ONLINE,
    RECORD_WORDS,
    RECORDS_AT,
    SLOTS,
    STATE_AT,
)
from worker.gate.status import Status

log = structlog.get_logger("modbus")

POLL_MS = 20.0
TIMEOUT_S = 0.5
BACKOFF_S = (0.1, 5.0)
REFRESH_S = 1.0
"""Then all of it is written again: a PLC that was stopped and started may have cleared its registers."""
MAX_WAITING = 1024
"""Requests that wait for the gateway. Beyond them the PLC's block is not read, and it sees that it is not taken."""

WRITES = (
    *((RECORDS_AT + slot * RECORD_WORDS, RECORD_WORDS) for slot in range(SLOTS)),
    (NEWEST_AT, RECORD_WORDS),
    (AT_GATE_AT, RECORD_WORDS),
    (0, COUNTER_AT),
    (COUNTER_AT, BLOCK_WORDS - COUNTER_AT),
)
"""(address, registers) in the order of writing. A counter goes last: what it counts lies there by then."""


class ModbusClient:
    """A link to a PLC that is a Modbus server.

    What has changed is written, all of it from one status; what a PLC that is away has not seen, it never sees: once it
    is back it gets the newest status, all of it. Its registers keep what was written last when nothing more comes, so
    it has to watch the heartbeat. A gateway that is offline says so once and then writes no more, so that it does not
    write over another that has the gate by now; nor does it take a block then, of which only the bypass holds.

    Args:
        address: `HOST:PORT` of the PLC.
        wake: called from the link's thread when requests lie there.
        poll_ms: between two looks at the command block. A new status is written at once.
        unit: the PLC's unit number, where a Modbus gateway lies between.
        timeout_s: for each answer, and to connect.
        stale_s: seconds that a status holds without another one.

    Raises:
        SettingsError: it is no address.
    """

    def __init__(
        self,
        address: str,
        *,
        wake: Callable[[], None],
        poll_ms: float = POLL_MS,
        unit: int = 1,
        timeout_s: float = TIMEOUT_S,
        stale_s: float = STALE_S,
    ) -> None:
        self.address = parse_modbus_address(address)
        self.connected = False
        self._wake, self._poll_s, self._unit, self._timeout_s = wake, poll_ms / 1000, unit, timeout_s
        self._image, self._orders, self._backoff = Image(stale_s=stale_s), Orders(), Backoff(random.random)
        self._requests: deque[Request] = deque()
        self._counts: Counter[str] = Counter()
        self._changed, self._stopping = threading.Event(), threading.Event()
        logging.getLogger("pymodbus").setLevel(logging.CRITICAL)  # an outage is said once, by this link
        self._thread = threading.Thread(target=self._run, name="modbus-client", daemon=True)
        self._thread.start()

    @property
    def alive(self) -> bool:
        """Whether the link's thread runs."""
        return self._thread.is_alive()

    @property
    def counts(self) -> dict[str, int]:
        """What happened to the connection, so often."""
        return dict(self._counts)

    def show(self, status: Status) -> None:
        """As `Link.show`."""
        self._image.show(status)
        self._changed.set()

    def requests(self) -> list[Request]:
        """As `Link.requests`."""
        return drain(self._requests)

    def close(self) -> None:
        """Shows the gateway as offline, and ends the link and its thread. It takes an answer's timeout or two."""
        self._stopping.set()
        self._changed.set()
        self._thread.join()

    # All below runs in the link's thread.

    def _run(self) -> None:
        while not self._stopping.is_set():
            self._counts["attempts"] += 1
            why = self._talk()
            if self.connected and not self._stopping.is_set():
                self._hand_on([LinkDown(why)])
                log.warning("modbus_down", plc="{}:{}".format(*self.address), why=why)
            self.connected = False
            self._stopping.wait(self._backoff.next_s())

    def _talk(self) -> str:
        """One connection, from the first answer to the error that ends it. Returns what it was."""
        host, port = self.address
        client = ModbusTcpClient(host, port=port, timeout=self._timeout_s, retries=0)
        try:
            if not client.connect():  # type: ignore[no-untyped-call]
                self._counts["unreached"] += 1
                return "it can't be reached"
            self._exchange(client)
        except (ModbusException, OSError) as error:
            self._counts["failed"] += 1
            return f"it does not answer: {error}"
        except PlcRefuses as error:
            self._counts["refused"] += 1
            if not self.connected:
                log.warning("modbus_refused", plc=f"{host}:{port}", why=str(error))
            return str(error)
        finally:
            client.close()  # type: ignore[no-untyped-call]
        return "it was closed"

    def _exchange(self, client: ModbusTcpClient) -> None:
        """Reads and writes, until an error or the end."""
        written: list[int] | None = None
        whole_s = time.monotonic()
        while not self._stopping.is_set():
            self._changed.clear()
            asked = self._read(client, shown=written is not None and is_online(written))
            if self.connected:
                self._hand_on(asked)
            image = self._image.registers(self._orders.taken)
            if time.monotonic() - whole_s > REFRESH_S:
                whole_s, known = time.monotonic(), None
            else:
                known = written
            if written is None or is_online(written) or is_online(image):
                written = self._bring(client, known, image)
            if not self.connected:
                self._up(asked)
            self._changed.wait(self._poll_s)
        if written is None or is_online(written):
            self._bring(client, written, self._image.farewell(self._orders.taken))

    def _bring(self, client: ModbusTcpClient, known: list[int] | None, image: list[int]) -> list[int]:
        """Brings the PLC's registers from what they hold to what they should. Returns what they hold then."""
        for at, words in changes(known, image):
            answer = client.write_registers(at, words, device_id=self._unit)
            if answer.isError():
                raise PlcRefuses(f"it does not take {len(words)} holding registers from address {at}")
        return image

    def _up(self, asked: list[Request]) -> None:
        self._counts["connected"] += 1
        self.connected = True
        self._backoff.reset()
        self._hand_on([LinkUp(), *asked])
        log.info("modbus_up", plc="{}:{}".format(*self.address))

    def _read(self, client: ModbusTcpClient, *, shown: bool) -> list[Request]:
        """What a new block asks for. It is taken only while that can be shown: until then a PLC writes it again."""
        if len(self._requests) >= MAX_WAITING:
            self._counts["busy"] += 1
            return []
        found = client.read_holding_registers(COMMAND_AT, count=COMMAND_WORDS, device_id=self._unit)
        if found.isError() or len(found.registers) != COMMAND_WORDS:
            raise PlcRefuses(f"it has no command block: {COMMAND_WORDS} holding registers from address {COMMAND_AT}")
        command = Command.read(found.registers)
        return self._orders.take(command) if self.connected and shown else self._orders.resume(command)

    def _hand_on(self, requests: list[Request]) -> None:
        if requests:
            self._requests.extend(requests)
            self._wake()


class PlcRefuses(Exception):
    """The PLC answers by a Modbus exception: its registers are not the map."""


class Backoff:
    """How long to wait before the next attempt: twice as long each time, less up to a half of it by chance.

    Args:
        jitter: a random number from 0 to 1.
    """

    def __init__(self, jitter: Callable[[], float]) -> None:
        self._jitter = jitter
        self._next_s = BACKOFF_S[0]

    def next_s(self) -> float:
        """Seconds to wait now."""
        now_s, self._next_s = self._next_s, min(2 * self._next_s, BACKOFF_S[1])
        return max(BACKOFF_S[0], now_s * (1 - self._jitter() / 2))

    def reset(self) -> None:
        """The last attempt was a success."""
        self._next_s = BACKOFF_S[0]


def is_online(image: list[int]) -> bool:
    """Whether registers say that the gateway is online."""
    return bool(image[STATE_AT] & ONLINE)


def changes(written: list[int] | None, image: list[int]) -> Iterator[tuple[int, list[int]]]:
    """What to write, and where, in order.

    Args:
        written: what the PLC has; None: nobody knows.
        image: what it should have.
    """
    if written is image:
        return
    for at, words in WRITES:
        part = image[at : at + words]
        if written is None or written[at : at + words] != part:
            yield at, part
