"""A door for camera programs in any language: they push `[header][payload]`, every message becomes one capture.

The header is JSON; `PushHeader` says which keys it has. The door is open to this machine alone. DESIGN: "A frame on
the wire", last paragraph; examples lie in `examples/push`.
"""

import time
import uuid
from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Any

import structlog
import zmq
from pydantic import ValidationError, ValidatorFunctionWrapHandler, field_validator
from zmq.utils.monitor import parse_monitor_message

from producers.checksum import crc32
from producers.doors import claim, refuse_open_door
from producers.errors import AddressTaken, BadFrame, SettingsError
from producers.frame import MAX_HEADER_BYTES, Crc32, FrameId, PartTag, Picture
from producers.publisher import FramePublisher
from producers.settings import Policy
from producers.transform import Transform

log = structlog.get_logger("push")

SCHEME = "push://"
MAX_PART_BYTES = 256 << 20
"""libzmq allocates no more for one part of a message. It hangs up on whoever announces more, and the message and what
was on the wire behind it are lost with the connection: no verdict, as nothing arrived. A PUSH socket dials again by
itself. Four times what a worker takes by default, so that a picture that is merely too large ends as `bad_frame`."""

QUEUED = 2  # messages that wait here for each camera program, while retention is full; the rest wait in the program
TICK_MS = 50
LAST_CALL_S = 1.0


class PushHeader(Picture, PartTag):
    """What a camera program says of a picture: `encoding, shape, dtype, color`, and what else it knows.

    Attributes:
        crc32: zlib's, of the payload; None: not known.
        transform: 2 x 3, from its pixels to the sensor's; None: they are the same.
    """

    crc32: Crc32 | None = None
    transform: Transform | None = None


class _Salvage(PartTag, extra="ignore"):
    """What can be believed of a header that is wrong elsewhere, so that the verdict names its part."""

    @field_validator("*", mode="wrap")
    @classmethod
    def _or_nothing(cls, value: Any, validate: ValidatorFunctionWrapHandler) -> Any:
        try:
            return validate(value)
        except ValidationError:
            return None


@dataclass(frozen=True)
class PushedMessage:
    """One message as it came, its parts not looked at yet."""

    parts: list[bytes]

    @property
    def part(self) -> PartTag:
        """As far as the header can be read."""
        header = self.parts[0]
        try:
            return _Salvage.model_validate_json(header if len(header) <= MAX_HEADER_BYTES else b"")
        except ValidationError:
            return PartTag()

    def publish(self, publisher: FramePublisher) -> FrameId:
        """Publishes its payload as it is.

        Raises:
            BadFrame: it is not `[header][payload]`, or the payload is not what the header says.
        """
        if len(self.parts) != 2:
            raise BadFrame(f"a message is [header][payload], not {len(self.parts)} parts")
        header, payload = PushHeader.from_bytes(self.parts[0]), self.parts[1]
        if header.crc32 is not None and header.crc32 != crc32(payload):
            raise BadFrame("payload does not have the checksum that its header names")
        return publisher.publish_payload(payload, header, header, transform=header.transform)


class PushSource:
    """A PULL socket that yields every message as one capture, for as long as the daemon runs.

    While whoever takes the captures waits, nothing is read: a camera program then waits by its own high-water mark.
    A frame counts as captured when it is read here.

    Args:
        url: `push://HOST:PORT` on loopback, or `push:///path`.

    Raises:
        SettingsError: other machines could reach it.
    """

    total = None
    policy: Policy = "block"
    simulated = True  # nobody knows what the program pushes

    def __init__(self, url: str) -> None:
        self.label = url
        where = url.removeprefix(SCHEME)
        self.endpoint = f"ipc://{where}" if where.startswith("/") else f"tcp://{where}"
        any_port = self.endpoint.endswith(":*")  # nobody would know which
        try:
            refuse_open_door("" if any_port else self.endpoint, insecure=False)
        except SettingsError as error:
            raise SettingsError(
                f"{url} is no door for a camera program on this machine: push://127.0.0.1:PORT or push:///PATH"
            ) from error

    def load(self) -> Mapping[str, float]:
        """Whatever happens to the program is in the log alone."""
        return {}

    def captures(self, *, stopping: Callable[[], bool]) -> Generator[PushedMessage, None, None]:
        """Yields messages until it is to stop, and for `LAST_CALL_S` more those that are on their way.

        All of it in one thread. Closing the generator closes the socket.

        Raises:
            AddressTaken: the door can't be bound.
        """
        with _Door(self.endpoint) as door:
            while not stopping():
                if (message := door.receive()) is not None:
                    yield message
            ends = time.monotonic() + LAST_CALL_S
            while time.monotonic() < ends:  # what is on its way; a program that goes on sending must not keep us
                if (message := door.receive()) is not None:
                    yield message


class _Door:
    """The PULL socket, and a monitor of who comes and goes. A context manager; all of it in one thread."""

    def __init__(self, endpoint: str) -> None:
        self._context = zmq.Context()  # its own, so that nothing of the publisher's, keys or end, touches this door
        self._pull = self._context.socket(zmq.PULL)
        self._pull.setsockopt(zmq.LINGER, 0)
        self._pull.setsockopt(zmq.RCVHWM, QUEUED)
        self._pull.setsockopt(zmq.MAXMSGSIZE, MAX_PART_BYTES)
        self._pull.setsockopt(zmq.HEARTBEAT_IVL, 0)  # a program that has to wait is not read, nor are its heartbeats
        self._comings = self._monitor()
        try:
            claim(self._pull, endpoint)
        except AddressTaken:
            self._context.destroy(linger=0)
            raise

    def __enter__(self) -> "_Door":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._pull.disable_monitor()
        self._context.destroy(linger=0)

    def receive(self) -> PushedMessage | None:
        """The next message; None if none comes within a tick."""
        self._note_comings()
        return PushedMessage(self._pull.recv_multipart()) if self._pull.poll(TICK_MS) else None

    def _monitor(self) -> "zmq.Socket[bytes]":
        name = f"inproc://push-{uuid.uuid4()}"
        self._pull.monitor(name, zmq.EVENT_HANDSHAKE_SUCCEEDED | zmq.EVENT_DISCONNECTED)
        monitor = self._context.socket(zmq.PAIR)
        monitor.setsockopt(zmq.LINGER, 0)
        monitor.setsockopt(zmq.RCVHWM, 0)  # libzmq's own thread would wait for room here, and everybody with it
        monitor.connect(name)
        return monitor

    def _note_comings(self) -> None:
        while self._comings.poll(0):
            event = parse_monitor_message(self._comings.recv_multipart())["event"]
            if event == zmq.EVENT_DISCONNECTED:
                lost = f"a message that was not whole yet is lost, and so is one of more than {MAX_PART_BYTES} bytes"
                log.warning("a camera program is gone", note=lost)
            else:
                log.info("a camera program is here")
