"""One reign: from when a gateway has the gate until it is lost, or the gateway leaves.

Nothing outlives it: the next one begins with a machine out of step, no bypass and counters from 0. A gateway that
stands by has no link to the PLC at all.
"""

import threading
from collections.abc import Callable
from typing import Any

import structlog

from producers.frame import FrameTag
from producers.keys import read_pair
from worker.gate.deciding import Cause
from worker.gate.inbox import Event, Inbox, LeaseHeld, LeaseTaken, Reading, ResultsLost
from worker.gate.live import Headers
from worker.gate.machine import Machine
from worker.gate.plc import Link
from worker.gate.results import Results
from worker.gate.settings import GateSettings
from worker.verdict import Verdict

log = structlog.get_logger("gate")

HEARTBEATS = 1 << 16


LinkOpener = Callable[[Callable[[], None]], Link]
"""Opens a link that calls the function whenever requests lie there."""


def modbus(settings: GateSettings) -> LinkOpener:
    """The link that the settings name. Nothing is opened yet.

    Raises:
        ImportError: pymodbus is not installed.
    """
    from worker.gate.modbus_client import ModbusClient
    from worker.gate.modbus_server import ModbusServer

    link = settings.modbus
    if link.mode == "client":
        return lambda wake: ModbusClient(link.address, wake=wake, poll_ms=link.poll_ms, unit=link.unit)
    return lambda wake: ModbusServer(link.address, wake=wake)


class Reign:
    """The machine, what feeds it, and the link that shows what it says. The gateway's loop alone calls it.

    Args:
        settings: of the gateway.
        inbox: where everything that happens goes.
        open_link: opens the link.

    Raises:
        AddressTaken: the link's address can't be bound.
        SettingsError: keys that are no good.

    Attributes:
        status: what was shown last. Any thread may read it.
    """

    def __init__(self, settings: GateSettings, inbox: Inbox, open_link: LinkOpener) -> None:
        self.machine = Machine(settings.rules(), _say)
        self.status = self.machine.status(0)
        self._inbox = inbox
        self._reading = False
        self._until_us = 0
        self._asking = threading.Lock()  # two threads that take requests must not change their order
        self.link: Link | None = None
        cameras = frozenset(view.camera for view in settings.views)
        key = read_pair(settings.key) if settings.key is not None else None
        self.results = Results(settings.redis.get_secret_value(), settings.line, cameras, inbox)
        self.headers = Headers(settings.cameras, key, inbox) if settings.cameras else None
        self.link = open_link(self._take_requests)
        self._take_requests()  # what lay there before the link was ours to ask
        self.results.start()
        if self.headers is not None:
            self.headers.start()

    @property
    def alive(self) -> bool:
        """Whether the threads at its sides run."""
        headers = self.headers is None or self.headers.alive
        return headers and self.results.alive and self.link is not None and self.link.alive

    def take(self, event: Event, at_us: int) -> None:
        """Does what an event asks for. The time is that of its coming."""
        machine = self.machine
        self._mind_lease(at_us)
        match event:
            case Verdict():
                machine.verdict(event, at_us)
            case FrameTag():
                machine.header(event, at_us)
            case Reading():
                self._reading = True
                self._be_online(at_us)
            case ResultsLost(why):
                self._reading = False
                machine.go_offline(Cause.RESULTS, why)
            case LeaseHeld(until_us, anew, offset_us, unsure_us):
                if anew and self._until_us:
                    machine.go_offline(Cause.LEASE, "the lease had ended")
                self._until_us = until_us
                machine.hear_clock(offset_us, at_us, unsure_us=unsure_us)
                self._be_online(at_us)
            case LeaseTaken():
                machine.go_offline(Cause.LEASE, "another gateway has the gate")
            case _:
                machine.request(event, at_us)

    def dropped(self, count: int) -> None:
        """So many events found no room: verdicts or triggers may be among them."""
        self.machine.counts["dropped"] += count
        self.machine.lose_step(Cause.CROWD, f"{count} events found no room")

    def turn(self, now_us: int) -> None:
        """Decides what has run out of time, and shows all."""
        self._take_requests()  # that were left to their link while the inbox was half full
        self._mind_lease(now_us)
        self.machine.tick(now_us)
        self.status = self.machine.status((self.status.heartbeat + 1) % HEARTBEATS)
        if self.link is not None:
            self.link.show(self.status)

    def close(self) -> None:
        """Ends the link first: whoever takes over must not find two."""
        if self.link is not None:
            self.link.close()
        self.results.close()
        if self.headers is not None:
            self.headers.close()

    def _mind_lease(self, now_us: int) -> None:
        """Without an answer of Redis the lease ends here as it does there: by then another gateway may have it."""
        if now_us >= self._until_us:
            self.machine.go_offline(Cause.LEASE, "the lease could not be renewed in time")

    def _be_online(self, at_us: int) -> None:
        if self._reading and at_us < self._until_us:
            self.machine.go_online()

    def _take_requests(self) -> None:
        """In the link's thread: so each request has the time at which it came. Beyond half an inbox they wait there."""
        with self._asking:
            if self.link is not None and not self._inbox.half_full:
                for request in self.link.requests():
                    self._inbox.put(request)


def _say(level: str, text: str, **fields: Any) -> None:
    """What the machine has to say, in the log: each switch of bypass, each fault, each loss of step."""
    getattr(log, level)(text, **fields)
