"""A gate's machine with a clock of its own, driven by hand."""

import uuid
from typing import Any

from tests.worker.frames import verdict
from worker.gate.machine import Machine
from worker.gate.plc import Synchronise, Trigger
from worker.gate.rules import Rules, View
from worker.gate.status import PartResult, Status
from worker.verdict import Decision, Reason, Verdict

TOP, SIDE = View("top"), View("side")
WINDOW_MS = 100
CLOCK_US = 1_700_000_000_000_000
"""Redis's clock when this machine's monotonic one is 0."""
SESSIONS = {camera: str(uuid.uuid5(uuid.NAMESPACE_DNS, camera)) for camera in ("top", "side")}
OTHER_SESSION = str(uuid.UUID(int=99))


def rules(**changed: Any) -> Rules:
    return Rules(**{"views": (TOP, SIDE), "window_us": WINDOW_MS * 1000, **changed})


def judged(camera: str, trigger: int | None, *, passed: bool = True, **more: Any) -> Verdict:
    """A verdict of a live camera."""
    reason = more.pop("reason", None)
    changed: dict[str, Any] = {name: more.pop(name) for name in ("severity", "score", "valid_until_us") if name in more}
    session = SESSIONS.get(camera, str(uuid.UUID(int=1)))
    tag = {"camera": camera, "trigger": trigger, "simulated": False, "session": session}
    found = verdict(more.pop("seq", trigger or 0), passed=passed, **{**tag, **more})
    if reason is not None:
        changed |= {"reason": reason, "decision": Decision.PASS if reason is Reason.OK else Decision.FAIL}
    return found.model_copy(update=changed)


class Driven:
    """A machine in step, whose time is passed on in milliseconds.

    Attributes:
        said: what it said, in order.
        results: every result it ever showed, in order.
    """

    def __init__(self, *, in_step: bool = True, online: bool = True, **changed: Any) -> None:
        self.said: list[str] = []
        self.results: list[PartResult] = []
        self.now_ms = 1_000.0
        self.machine = Machine(rules(**changed), lambda _, text, **__: self.said.append(text))
        self.hear_clock()
        if online:
            self.machine.go_online()
        if in_step:
            self.ask(Synchronise())

    @property
    def now_us(self) -> int:
        return int(self.now_ms * 1000)

    def hear_clock(self, offset_us: int = CLOCK_US) -> None:
        self.machine.hear_clock(offset_us, self.now_us)

    def pass_ms(self, ms: float) -> None:
        self.now_ms += ms
        self.hear_clock()
        self.machine.tick(self.now_us)
        self._note()

    def ask(self, *requests: Any) -> None:
        for request in requests:
            self.machine.request(request, self.now_us)
        self._note()

    def trigger(self, number: int, part_id: str = "") -> None:
        self.ask(Trigger(number, part_id))

    def valid_until_us(self, ms: float = 1_000.0) -> int:
        return CLOCK_US + self.now_us + int(ms * 1000)

    def see(self, camera: str, trigger: int | None, **more: Any) -> None:
        """A verdict is read: a valid PASS, unless told otherwise."""
        self.put(judged(camera, trigger, **{"valid_until_us": self.valid_until_us(), **more}))

    def put(self, found: Verdict) -> None:
        self.machine.verdict(found, self.now_us)
        self._note()

    def good(self, number: int) -> None:
        """A good part, from its trigger to its last view."""
        self.trigger(number)
        self.see("top", number)
        self.see("side", number)

    @property
    def status(self) -> Status:
        return self.machine.status(0)

    @property
    def last(self) -> PartResult:
        return self.results[-1]

    def _note(self) -> None:
        shown = self.status.results
        seen = self.results[-1].counter if self.results else 0
        after = [at for at, result in enumerate(shown) if result.counter == seen]
        self.results += shown[after[0] + 1 :] if after else shown
