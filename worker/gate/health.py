"""Whether a gateway lives and can do its work: HTTP asks, systemd is told."""

import time

from producers.service import ServiceManager
from worker.gate.gateway import Gateway

STUCK_S = 5.0  # a loop that has not turned for so long hangs: it turns 20 times a second
LOOK_S = 1.0


class GateHealth:
    """What keeps a gateway from its work, in sentences. Any thread may ask."""

    def __init__(self) -> None:
        self.gateway: Gateway | None = None  # until it is open

    @property
    def alive(self) -> bool:
        """Whether the loop turns, and the threads at its sides run."""
        gateway = self.gateway
        return gateway is None or (gateway.alive and gateway.since_turn_s < STUCK_S)

    def missing(self) -> list[str]:
        """What keeps it from its work, a sentence each; nothing: parts are decided by their verdicts."""
        gateway = self.gateway
        if gateway is None:
            return ["it starts"]
        found = [] if self.alive else ["the loop hangs, or one of the threads at its sides has ended"]
        if (reign := gateway.reign) is None:
            return [*found, f"it stands by: {gateway.holder or 'another gateway'} has the gate"]
        status = reign.status
        if not status.online:
            found.append("Redis does not answer, or its verdicts can't be read")
        if reign.link is None or not reign.link.connected:
            found.append("no PLC is there")
        if not status.synchronised:
            found.append("parts and verdicts are out of step: every part is rejected")
        if status.fault:
            found.append("a line fault stands: every part is rejected until it is reset")
        return found


class GateReport:
    """What systemd is told of a gateway. The loop alone calls it: who hangs tells nothing.

    Ready it is once it is open: a gateway that stands by does its work, and so does one that rejects every part.

    Args:
        service: whom to tell.
        health: what to tell.
    """

    def __init__(self, service: ServiceManager, health: GateHealth) -> None:
        self._service, self._health = service, health
        self._next_look = 0.0

    def beat(self) -> None:
        """The loop has turned."""
        if not self._service.present:
            return
        self._service.ready()
        self._service.beat()
        now = time.monotonic()
        if now >= self._next_look:
            missing = self._health.missing()
            self._service.status(f"waits: {'; '.join(missing)}" if missing else "decides about parts")
            self._next_look = now + LOOK_S

    def leave(self) -> None:
        """It gives the gate up."""
        self._service.stopping()
