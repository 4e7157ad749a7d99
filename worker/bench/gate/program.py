"""The PLC's program in `sightline bench gate`: what it asks for, and when its flap opens. Pure: the time is passed in.

It opens for a part only if it triggered that part itself and has read, since then, a result with that trigger and that
part's id that opens. Whatever it sees and does stands in its log: what happened, when, and what is known of it.
"""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from worker.bench.gate.plan import PERIOD_MS, Part, Plan, Pulse
from worker.bench.gate.results import Results
from worker.gate.plc import Acknowledge, Request, ResetFault, StartChallenge, Synchronise, Trigger
from worker.gate.status import PartResult, Status

LATCHED_MS = 0.9 * PERIOD_MS  # a pulse of the light barrier is seen so long
CLOSES_MS = 0.9 * PERIOD_MS  # a part that came to the gate longer ago than this has been turned away
FAULT_HELD_MS = 300.0  # then a person has come and resets it
UNSYNCHRONISED_MS = 250.0  # then, every other time, the PLC asks for it
FROZEN_MS = 1000.0  # a heartbeat that stands still so long says that nobody works there


@dataclass
class Since:
    """Since when something has been so, ns; None: it is not."""

    ns: int | None = None

    def held_ms(self, so: bool, now_ns: int) -> float:
        """For how long by now."""
        self.ns = (self.ns if self.ns is not None else now_ns) if so else None
        return 0.0 if self.ns is None else (now_ns - self.ns) / 1e6


class Program:
    """One PLC from its start until it loses power. It remembers nothing of the time before.

    Args:
        plan: what comes along.
        start_ns: when part 0 crosses the light barrier, since the epoch.
        now_ns: what crossed it before this, nobody saw.
        log: takes what happened, when (ns since the epoch), and whatever else is known of it.
    """

    def __init__(self, plan: Plan, start_ns: int, now_ns: int, log: Callable[..., None]) -> None:
        self._plan, self._start_ns, self._log = plan, start_ns, log
        self._coming = deque(part for part in plan.parts if self._light_ns(part) > now_ns)
        self._arriving = deque(part for part in plan.parts if self._gate_ns(part) > now_ns)
        self._triggered: dict[int, str] = {}
        self._opens: dict[int, bool] = {}
        self._status: Status | None = None
        self.results = Results(log)
        self._service: dict[str, object] = {}
        self._heart: tuple[int, int] | None = None
        self._fault, self._unsynchronised = Since(), Since()
        self._asks = False
        self._number = 0  # of the last part that crossed the light barrier

    @property
    def done(self) -> bool:
        """Whether the last part has passed the gate."""
        return not self._arriving

    # -- inputs ------------------------------------------------------------------------------------------------------

    def read(self, status: Status, now_ns: int) -> None:
        """What the registers say."""
        if self._heart is None or self._heart[0] != status.heartbeat:
            self._heart = (status.heartbeat, now_ns)
        if now_ns - self._heart[1] > FROZEN_MS * 1e6:
            self.lost("its heartbeat stands still", now_ns)
            return
        self._status = status
        blind = self._number in self._plan.blind
        self._serve(now_ns, link=True, blind=blind, **_service(status))
        if blind:
            return
        for result in self.results.take(status, now_ns):
            self._note(result, now_ns)
        stands = status.at_gate
        if (
            stands is not None
            and stands.opens
            and not self._opens.get(stands.trigger, stands.trigger not in self._triggered)
        ):
            self._log("at_gate_wrong", now_ns, trigger=stands.trigger)

    def lost(self, why: str, now_ns: int) -> None:
        """The gateway does not answer, or refuses."""
        if self._status is not None:
            self.results.interrupted()
            self._log("lost", now_ns, why=why)
        self._status = None
        self._serve(now_ns, link=False)

    def _serve(self, now_ns: int, **service: object) -> None:
        if service != self._service:
            self._service = service
            self._log("service", now_ns, **service)

    def _note(self, result: PartResult, now_ns: int) -> None:
        """The first result of a part is the one that counts. Only one that opens must name the part as well."""
        part_id = self._triggered.get(result.trigger)
        ours = part_id is not None and (part_id == result.part_id or not result.opens)
        if ours and self._opens.setdefault(result.trigger, result.opens) != result.opens:
            self._log("contradicted", now_ns, trigger=result.trigger)
        words = {"counter": result.counter, "trigger": result.trigger, "opens": result.opens}
        self._log("result", now_ns, **words, reason=result.reason.word, ours=ours)

    # -- what is asked for -------------------------------------------------------------------------------------------

    def requests(self, now_ns: int) -> list[Request]:
        """What this scan asks for. Nobody is asked while there is no link: a pulse is gone then."""
        triggers = self._pulse(now_ns)
        if self._status is None:
            return []
        return [*self._care(self._status, now_ns), *self._acknowledge(self._status), *triggers]

    def sent(self, trigger: Trigger, *, before_ns: int, after_ns: int, answered: bool) -> None:
        """What became of a trigger: one that may have arrived counts as one that was sent."""
        self._triggered[trigger.number] = trigger.part_id
        words = {"trigger": trigger.number, "after_ns": after_ns, "answered": answered}
        self._log("asked", before_ns, **words, challenge=self._plan.parts[trigger.number].challenge)

    def _pulse(self, now_ns: int) -> list[Request]:
        """The newest pulse, if it is still there: of several since the last scan the earlier ones were missed."""
        crossed: Part | None = None
        while self._coming and self._light_ns(self._coming[0]) <= now_ns:
            crossed = self._coming.popleft()
        if crossed is None:
            return []
        self._number = crossed.number
        if crossed.pulse is Pulse.NEVER or now_ns - self._light_ns(crossed) > LATCHED_MS * 1e6:
            return []
        trigger = Trigger(crossed.number, crossed.id)
        announced: list[Request] = [StartChallenge()] if crossed.challenge else []
        return [*announced, trigger, *[trigger] * (crossed.pulse is Pulse.TWICE)]

    def _care(self, status: Status, now_ns: int) -> list[Request]:
        """What a person at the line does about lamps."""
        asked: list[Request] = []
        if self._fault.held_ms(status.fault, now_ns) > FAULT_HELD_MS:
            asked.append(ResetFault())
            self._fault.ns = None
        apart = status.online and not status.fault and not status.synchronised
        if self._unsynchronised.held_ms(apart, now_ns) > UNSYNCHRONISED_MS:
            self._asks = not self._asks
            if self._asks:
                asked.append(Synchronise())
            self._unsynchronised.ns = None
        return asked

    def _acknowledge(self, status: Status) -> list[Request]:
        if self.results.counter in (0, status.acknowledged) or self._number in self._plan.silent:
            return []
        return [Acknowledge(self.results.counter)]

    # -- the flap ----------------------------------------------------------------------------------------------------

    def gate(self, now_ns: int) -> None:
        """Opens the flap, or leaves it closed, for each part that has come to the gate."""
        while self._arriving and self._gate_ns(self._arriving[0]) <= now_ns:
            part = self._arriving.popleft()
            late = now_ns - self._gate_ns(part) > CLOSES_MS * 1e6
            self._log(
                "gate", now_ns, trigger=part.number, opened=self._opens.get(part.number, False) and not late, late=late
            )

    def _light_ns(self, part: Part) -> int:
        return self._start_ns + int(part.light_ms * 1e6)

    def _gate_ns(self, part: Part) -> int:
        return self._start_ns + int(part.gate_ms * 1e6)


def _service(status: Status) -> dict[str, object]:
    words = ("online", "synchronised", "fault", "bypass", "overrun")
    return {word: getattr(status, word) for word in words} | {"challenge": status.challenge.name.lower()}
