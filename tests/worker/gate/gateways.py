"""A gateway in a thread, on a real Redis, with a PLC that a test plays by hand."""

import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from tests.worker.gate.driven import judged
from tests.worker.processes import eventually
from tests.worker.sinks import now_judged, sink_at
from worker.gate.gateway import Gateway
from worker.gate.lease import Lease
from worker.gate.modbus_link import drain
from worker.gate.plc import Request, Synchronise, Trigger
from worker.gate.settings import GateSettings
from worker.gate.status import PartResult, Status

LONG_MS = 20_000
"""A timer that does not end while a test runs."""


class HandPlc:
    """A link whose PLC is the test.

    Attributes:
        status: what was shown last.
        open: whether the link is.
        waiting: requests that the gateway has not taken.
    """

    def __init__(self, wake: Callable[[], None]) -> None:
        self.status = Status()
        self.open = self.alive = self.connected = True
        self.counts: dict[str, int] = {}
        self._wake = wake
        self.waiting: deque[Request] = deque()

    def show(self, status: Status) -> None:
        self.status = status

    def requests(self) -> list[Request]:
        return drain(self.waiting)

    def close(self) -> None:
        self.open = False

    def ask(self, *requests: Request) -> None:
        self.waiting.extend(requests)
        self._wake()


class RunningGateway:
    """A gateway that works in a thread.

    Attributes:
        links: that it has opened, in order.
    """

    def __init__(self, url: str, line: str, holder: str = "g1", **changed: Any) -> None:
        given = {
            "line": line,
            "redis": url,
            "views": [{"camera": "top"}, {"camera": "side"}],
            "window_ms": LONG_MS,
            "lease_ms": 20_000,
            **changed,
        }
        self.settings = GateSettings.model_validate(given)
        self.links: list[HandPlc] = []
        lease = Lease(url, line, self.settings.name, holder, lasts_ms=self.settings.lease_ms, timeout_s=2.0)
        self.gateway = Gateway(self.settings, lease, self._open)
        self._sink = sink_at(url, line)
        self._ends = threading.Event()
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _open(self, wake: Callable[[], None]) -> HandPlc:
        self.links.append(HandPlc(wake))
        return self.links[-1]

    def _serve(self) -> None:
        with self.gateway:
            self.gateway.serve(until=self._ends.is_set)

    def leave(self) -> None:
        self._ends.set()
        self._thread.join()

    @property
    def plc(self) -> HandPlc:
        return self.links[-1]

    @property
    def status(self) -> Status:
        return self.plc.status if self.links else Status()

    def shows(self, condition: Callable[[Status], bool], timeout_s: float = 30) -> Status:
        """The first status that is so."""
        found: list[Status] = []

        def met() -> bool:
            found[:] = [self.status]
            return condition(found[0])

        assert eventually(met, timeout_s), f"it shows {self.status}"
        return found[0]

    def is_in_step(self) -> None:
        """Waits until it is online, and says that no part is under way."""
        self.shows(lambda status: status.online)
        self.plc.ask(Synchronise())
        self.shows(lambda status: status.synchronised)

    def trigger(self, number: int, part_id: str = "") -> None:
        """Triggers a part, and waits until it is armed."""
        armed = self.machine.counts["triggers"]
        self.plc.ask(Trigger(number, part_id))
        assert eventually(lambda: self.machine.counts["triggers"] > armed)

    @property
    def machine(self) -> Any:
        assert self.gateway.reign is not None
        return self.gateway.reign.machine

    def store(self, number: int, *cameras: str, **more: Any) -> None:
        """What workers would store of a part's views."""
        self._sink.sample_clock()
        until = self._sink.redis_us(time.monotonic() + 20)
        found = [judged(camera, number, **{"valid_until_us": until, **more}) for camera in cameras or ("top", "side")]
        self._sink.store(now_judged(*found))

    def result(self, number: int) -> PartResult:
        """What was decided about a part, once it is."""
        status = self.shows(lambda status: any(result.trigger == number for result in status.results))
        return next(result for result in status.results if result.trigger == number)


@contextmanager
def running_gateway(url: str, line: str, holder: str = "g1", **changed: Any) -> Iterator[RunningGateway]:
    """A gateway for the time of a test."""
    found = RunningGateway(url, line, holder, **changed)
    try:
        yield found
    finally:
        found.leave()
