"""One connection to the Modbus server: whole requests, one after another, from somebody who also reads the answers."""

import time
from collections import deque
from collections.abc import Callable
from typing import Any, cast

from pymodbus.constants import ExcCodes
from pymodbus.pdu import ExceptionResponse
from pymodbus.server import ModbusTcpServer
from pymodbus.server.requesthandler import ServerRequestHandler

FUNCTIONS = (3, 4, 6, 16, 22, 23)
"""Those that read and write registers. pymodbus would answer others with files, counters and a name of its own."""
HEADER_BYTES = 6  # transaction, protocol, length
MIN_LENGTH, MAX_LENGTH = 2, 254  # what the length counts: unit, function and data
MAX_REQUESTS = 16
"""That a client may send before it reads an answer; whoever sends more is hung up on."""
MAX_UNREAD_BYTES = 16_384


class Caller(ServerRequestHandler):
    """A connection. pymodbus answers; this one cuts the stream into requests, and ends it by its bounds.

    pymodbus alone takes one request from a segment and drops what lies behind it, and never finds the beginning of a
    request again once it has met bytes that are no Modbus.

    Args:
        server: it belongs to.
        came: told when it is there.
        asked: told before each request is answered.
        gone: told when it is gone, and why.

    Attributes:
        heard_s: when its last bytes came, monotonic.
        ended: it was hung up on; it may not be gone yet.
    """

    def __init__(
        self,
        server: ModbusTcpServer,
        *,
        came: Callable[["Caller"], None],
        asked: Callable[["Caller"], None],
        gone: Callable[["Caller", str], None],
    ) -> None:
        super().__init__(server, None, None, None)  # type: ignore[no-untyped-call]
        self.heard_s, self.ended = time.monotonic(), False
        self._came, self._asked, self._gone = came, asked, gone
        self._received = b""
        self._waiting: deque[bytes] = deque()
        self._answering = False
        self._why = "hung_up"

    def hang_up(self, why: str) -> None:
        """Ends it at once, with what is not sent yet."""
        self._why, self.ended = why, True
        self._waiting.clear()
        if self.transport:
            cast(Any, self.transport).abort()

    def connection_made(self, transport: Any) -> None:
        """It is there."""
        super().connection_made(transport)
        self._came(self)

    def connection_lost(self, exc: Exception | None) -> None:
        """It is gone."""
        super().connection_lost(exc)
        self._waiting.clear()
        self._gone(self, self._why)

    def data_received(self, data: bytes) -> None:
        """Some bytes have come, of any number of requests."""
        self.heard_s = time.monotonic()
        self._received += data
        while len(self._received) >= HEADER_BYTES:
            protocol = int.from_bytes(self._received[2:4], "big")
            length = int.from_bytes(self._received[4:6], "big")
            if protocol or not MIN_LENGTH <= length <= MAX_LENGTH:
                return self.hang_up("not_modbus")
            if len(self._received) < HEADER_BYTES + length:
                break
            self._waiting.append(self._received[: HEADER_BYTES + length])
            self._received = self._received[HEADER_BYTES + length :]
        if len(self._waiting) > MAX_REQUESTS:
            return self.hang_up("too_many_requests")
        return self._answer_next()

    def handle_later(self) -> None:
        """Starts the answer. pymodbus wakes this loop from outside for it, which costs a system call."""
        self._task = self.loop.create_task(self.handle_request())

    async def handle_request(self) -> None:
        """Answers the request that was decoded, then takes up the next."""
        self._asked(self)
        asked = self.last_pdu
        if asked is None or asked.function_code in FUNCTIONS:
            await super().handle_request()  # type: ignore[no-untyped-call]
        else:
            code, unit, transaction = asked.function_code, asked.dev_id, asked.transaction_id
            refused = ExceptionResponse(code, ExcCodes.ILLEGAL_FUNCTION, device_id=unit, transaction=transaction)
            self.server_send(refused, None)  # type: ignore[no-untyped-call]
        self._answering = False
        if self.transport:
            self._answer_next()

    def _answer_next(self) -> None:
        while self._waiting and not self._answering:
            if cast(Any, self.transport).get_write_buffer_size() > MAX_UNREAD_BYTES:
                return self.hang_up("answers_unread")
            super().data_received(self._waiting.popleft())
            self._answering = self.last_pdu is not None  # else it was malformed, and that is answered already
        return None
