"""What a PLC may ask for, and what every link to one can do. Pure; `modbus_server` and `modbus_client` are links."""

from dataclasses import dataclass
from typing import Protocol

from worker.gate.status import Status


@dataclass(frozen=True)
class Trigger:
    """A part came to the camera: its timer runs from when this is read.

    Attributes:
        number: the PLC's counter of parts, 0 to 2**32 - 1 and round again, one more with each part.
        part_id: of the part; empty: it has none.
    """

    number: int
    part_id: str = ""


@dataclass(frozen=True)
class Acknowledge:
    """The PLC has taken every result up to this one.

    Attributes:
        counter: of that result.
    """

    counter: int


@dataclass(frozen=True)
class ResetFault:
    """A person has seen to the line fault."""


@dataclass(frozen=True)
class SetBypass:
    """A lamp, on or off: the PLC lets everything pass. It changes no decision."""

    on: bool


@dataclass(frozen=True)
class StartChallenge:
    """The next part is a known bad one."""


@dataclass(frozen=True)
class Synchronise:
    """A person, or the PLC, has seen that no part is under way: the next trigger and the next frame are one part."""


@dataclass(frozen=True)
class LinkUp:
    """The PLC answers, or polls."""


@dataclass(frozen=True)
class LinkDown:
    """The PLC does not answer, or polls no more.

    Attributes:
        why: for the log, one sentence.
    """

    why: str


Request = Trigger | Acknowledge | ResetFault | SetBypass | StartChallenge | Synchronise | LinkUp | LinkDown


class Link(Protocol):
    """A link to a PLC. Its thread is its own.

    It is made with `wake`, a function that it calls from its thread when requests lie there.
    """

    @property
    def alive(self) -> bool:
        """Whether its thread runs."""

    @property
    def connected(self) -> bool:
        """Whether a PLC is there."""

    @property
    def counts(self) -> dict[str, int]:
        """What happened to its connections, so often."""

    def show(self, status: Status) -> None:
        """Shows the status, all of it at once. Never blocks; any thread may call it."""

    def requests(self) -> list[Request]:
        """What was asked for since the last call, in order. Never blocks."""

    def close(self) -> None:
        """Ends the link and its thread."""
