"""The gateway: lease, results, machine and the link to the PLC, in one process.

Threads, each the only owner of what it touches: here the loop with the machine; the lease's; the results'; the link's;
with `arm = "live"` the headers'. They put what happens into one inbox, with its time, and the loop takes it in order.
"""

import os
import socket
import uuid
from collections.abc import Callable
from types import TracebackType

import structlog

from worker.errors import StageFailed
from worker.gate.inbox import Event, Inbox, LeaseHeld, LeaseTaken, now_us
from worker.gate.lease import Keeper, Lease
from worker.gate.reign import LinkOpener, Reign, modbus
from worker.gate.settings import GateSettings

log = structlog.get_logger("gate")

IDLE_US = 50_000
"""The loop turns so often at least: a PLC sees the heartbeat run."""


class Gateway:
    """One gateway. Build it with `open`; a context manager.

    Args:
        settings: of the gateway.
        lease: of its gate.
        open_link: opens a link to the PLC, when the gate is won.

    Attributes:
        reign: while it has the gate.
        holder: which gateway has it instead; None: none, as far as is known.
        on_beat: called by the loop at each turn, and by nobody else.
    """

    def __init__(self, settings: GateSettings, lease: Lease, open_link: LinkOpener) -> None:
        self.settings = settings
        self.reign: Reign | None = None
        self.holder: str | None = None
        self.on_beat: Callable[[], None] = lambda: None
        self._inbox = Inbox()
        self._open_link = open_link
        self._keeper = Keeper(lease, self._inbox)
        self._turned_us = now_us()

    @classmethod
    def open(cls, settings: GateSettings) -> "Gateway":
        """Connects; raises before the gateway is ready, never after.

        Raises:
            ResultsUnavailable: Redis isn't there.
            ImportError: pymodbus isn't.
        """
        open_link = modbus(settings)
        who = f"{socket.gethostname()[:48]}-{os.getpid()}-{uuid.uuid4().hex[:8]}"
        lease = Lease(
            settings.redis.get_secret_value(),
            settings.line,
            settings.name,
            who,
            lasts_ms=settings.lease_ms,
            timeout_s=min(settings.redis_timeout_s, settings.lease_ms / 1000),
        )
        gateway = cls(settings, lease, open_link)
        try:
            gateway._take(lease.hold(), now_us())
        except Exception:
            lease.release()  # a gateway that can't show anything must not keep others from it
            raise
        return gateway

    def __enter__(self) -> "Gateway":
        self._keeper.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        self._abdicate()
        self._keeper.close()

    @property
    def since_turn_s(self) -> float:
        """How long ago the loop turned."""
        return (now_us() - self._turned_us) / 1e6

    @property
    def alive(self) -> bool:
        """Whether the threads at its sides run."""
        reign = self.reign
        return self._keeper.alive and (reign is None or reign.alive)

    def serve(self, until: Callable[[], bool]) -> None:
        """Does its work until it is told to end.

        Raises:
            AddressTaken: the gate was won, and the link's address can't be bound.
            StageFailed: a thread at its side has ended by itself.
        """
        while not until():
            events, dropped = self._inbox.take(self._next_us())
            for at_us, event in events:
                had_gate = self.reign is not None
                self._take(event, at_us)
                if had_gate and self.reign is None:
                    break  # the rest was meant for the reign that is over
            if self.reign is not None:
                if dropped:
                    self.reign.dropped(dropped)
                self.reign.turn(now_us())
            if not self.alive:
                raise StageFailed("a thread of the gateway has ended by itself: its log says why")
            self._turned_us = now_us()
            self.on_beat()

    def _next_us(self) -> int:
        due_us = self.reign.machine.due_us if self.reign is not None else None
        idle_us = now_us() + IDLE_US
        return idle_us if due_us is None else min(due_us, idle_us)

    def _take(self, event: Event, at_us: int) -> None:
        match event:
            case LeaseTaken(holder):
                self._lose_to(holder, event, at_us)
            case LeaseHeld():
                if self.reign is None:
                    self._begin()
        if self.reign is not None:
            self.reign.take(event, at_us)

    def _begin(self) -> None:
        self.holder = None
        self.reign = Reign(self.settings, self._inbox, self._open_link)
        log.info("has the gate", line=self.settings.line, gate=self.settings.name)

    def _lose_to(self, holder: str, event: LeaseTaken, at_us: int) -> None:
        if self.reign is not None:
            log.warning("another gateway has taken the gate", holder=holder)
            self.reign.take(event, at_us)
            self.reign.turn(now_us())
            self._abdicate()
        elif holder != self.holder:
            log.info("stands by: another gateway has the gate", gate=self.settings.name, holder=holder)
        self.holder = holder

    def _abdicate(self) -> None:
        reign, self.reign = self.reign, None
        if reign is not None:
            reign.close()
            self._inbox.clear()
