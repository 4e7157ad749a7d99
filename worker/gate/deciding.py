"""Decides about parts, by their verdicts, by time, and by what holds for the gate as a whole. Pure."""

from collections import Counter
from collections.abc import Callable
from enum import StrEnum

from worker.gate.belt import Belt
from worker.gate.clock import RedisClock
from worker.gate.numbering import Numbering
from worker.gate.parts import Part
from worker.gate.ring import Ring
from worker.gate.roll import Roll
from worker.gate.rules import Key, Rules
from worker.gate.standing import Standing
from worker.gate.status import MAX_COUNT, GateReason, Status
from worker.gate.strangers import Strangers

Say = Callable[..., None]
"""Told of what a person may want to know: the log's level (of single frames `debug`), a sentence, fields by name."""


class Cause(StrEnum):
    """Why the gate fell out of step."""

    RESULTS = "results"
    """Verdicts may be missing: Redis was away, or the stream is not what it was."""
    LEASE = "lease"
    LINK = "link"
    """The PLC did not answer: triggers may be missing."""
    SESSION = "session"
    """A camera has started anew."""
    TRIGGER = "trigger"
    """The trigger's number jumped."""
    CLOCK = "clock"
    """Redis's clock was set, or another Redis answers."""
    CROWD = "crowd"
    """More parts under way than there can be."""


class Decider:
    """The gate's state, and all that decides. Every event brings its time, monotonic microseconds.

    Args:
        rules: of the gate.
        say: told of what a person may want to know.

    Attributes:
        counts: of everything that happens, by name: `worker.gate.gauges` says what each means.
        causes: how often the gate fell out of step, and why.
        reasons: results by reason.
    """

    def __init__(self, rules: Rules, say: Say = lambda *_, **__: None) -> None:
        self.rules, self._say = rules, say
        self.standing, self.ring = Standing(rules), Ring()
        self.counts: Counter[str] = Counter()
        self.causes: Counter[Cause] = Counter()
        self.reasons: Counter[GateReason] = Counter()
        self._roll, self._belt, self._numbering = Roll(), Belt(rules.part_distance), Numbering(rules.skip)
        self._clock, self._strangers = RedisClock(), Strangers(rules.window_us)
        self._now_us = 0

    def _key(self, trigger: int | None, part_id: str | None) -> Key | None:
        """By what verdicts and parts are matched; None: by nothing."""
        return trigger if self.rules.match == "trigger" else part_id or None

    # -- time passes -------------------------------------------------------------------------------------------------

    def tick(self, now_us: int) -> None:
        """Decides whatever has run out of time. Time never goes back: an event that was overtaken counts as now."""
        self._now_us = max(self._now_us, now_us)
        while (first := self._roll.first) is not None and first.ends_us <= self._now_us:
            self._decide(first)
        self.counts["missed"] += self._strangers.expire(self._now_us)

    @property
    def due_us(self) -> int | None:
        """When the next timer ends; None: none runs."""
        return self._roll.first.ends_us if self._roll.first is not None else None

    def _decide(self, *parts: Part) -> None:
        """Decides about parts, for good, and sees what follows from it."""
        for part in parts:
            if part.result is None:
                result = part.decide(self.ring.next_counter, self._clock.at(self._now_us))
                self.ring.add(result)
                self.reasons[result.reason] += 1
                self._roll.close(part, self._key(part.trigger, part.part_id))
                if part.challenge:
                    self._end_challenge(part)
        for part in self._roll.take_off():
            was_in_step, was_at_fault = self.standing.synchronised, self.standing.fault
            self.standing.account(part)
            if not was_in_step and self.standing.synchronised:
                self._say("info", "in step: every view of the last parts was in time")
            if not was_at_fault and self.standing.fault:
                self._fault(f"{self.rules.fault_after} parts in a row late or missing")

    def _end_challenge(self, part: Part) -> None:
        before = self.standing.fault
        self.standing.end_challenge(judged_bad=part.judged_bad())
        self._say(
            "warning",
            "challenge",
            outcome=self.standing.challenge.name.lower(),
            trigger=part.trigger,
            part_id=part.part_id,
        )
        if self.standing.fault and not before:
            self._fault("the challenge part was not judged a defect")

    def _fault(self, why: str) -> None:
        self.counts["faults"] += 1
        self._say("warning", "line fault: every part is rejected until it is reset", why=why)
        self._reject(GateReason.FAULT)

    def _reject(self, why: GateReason) -> None:
        """Whatever is under way is rejected, whatever its verdicts say."""
        for part in self._roll.open():
            part.reject(why)

    # -- the gate as a whole -----------------------------------------------------------------------------------------

    def hear_clock(self, offset_us: int, now_us: int, *, unsure_us: int = 0) -> None:
        """Redis's clock is at most so far ahead of the monotonic one, and at least by `unsure_us` less."""
        stepped_us = self._clock.hear(offset_us, now_us, unsure_us=unsure_us)
        if stepped_us:
            self.lose_step(Cause.CLOCK, f"Redis's clock was set, by {stepped_us / 1000:.0f} ms or more")

    def go_online(self) -> None:
        """The gate's lease is held, and verdicts are read, from now on."""
        self.standing.online = True

    def go_offline(self, cause: Cause, why: str) -> None:
        """Verdicts don't come any more, or another gateway may show results: whatever is under way is rejected."""
        if self.standing.online:
            self.standing.online = False
            self.lose_step(cause, why)
            self._reject(GateReason.OFFLINE)

    def lose_step(self, cause: Cause, why: str) -> None:
        """Parts and verdicts may not belong together any more: whatever is under way is rejected."""
        self.causes[cause] += 1
        level = "warning" if self.standing.synchronised else "debug"
        self._say(level, "out of step: every part is rejected", cause=cause.value, why=why)
        self.standing.lose_step()
        self._reject(GateReason.UNSYNCHRONISED)

    def lose_link(self, why: str) -> None:
        """The PLC was away: which part is where is not known any more, and its numbers may begin anew."""
        self.lose_step(Cause.LINK, why)
        self._belt.clear()
        self._numbering.restart()

    def synchronise(self) -> None:
        """No part is under way, says the PLC: any number may come next, and what was left is rejected."""
        self._reject(GateReason.UNSYNCHRONISED)
        self._decide(*self._roll.open())
        self._belt.clear()
        self._numbering.restart()
        self.standing.gain_step()
        if self.standing.synchronised:
            self._say("info", "in step: the PLC says so")
        else:
            self._say(
                "warning", "the PLC says that no part is under way, but the gateway is not online: it must say so again"
            )

    def start_challenge(self) -> None:
        """The next part is a known bad one."""
        self.standing.start_challenge()
        self._say("warning", "challenge", outcome="awaited")

    def reset_fault(self) -> None:
        """A person has seen to the line fault."""
        self._say("warning", "fault reset", was=self.standing.fault)
        self.standing.reset_fault()

    def set_bypass(self, *, on: bool) -> None:
        """A lamp. No decision changes."""
        if on is not self.standing.bypass:
            self.counts["bypass_switches"] += 1
            self._say("warning", "bypass: the PLC lets every part pass" if on else "bypass is over", on=on)
        self.standing.bypass = on

    def acknowledge(self, counter: int) -> None:
        """The PLC has taken every result up to this one."""
        if not self.ring.acknowledge(counter):
            self.counts["acknowledgements_ignored"] += counter != self.ring.acknowledged

    def status(self, heartbeat: int) -> Status:
        """All that a PLC is shown."""
        standing, ring, at_gate = self.standing, self.ring, self._belt.at_gate
        return Status(
            heartbeat=heartbeat,
            online=standing.online,
            synchronised=standing.synchronised,
            fault=standing.fault,
            bypass=standing.bypass,
            challenge=standing.challenge,
            overrun=ring.overrun,
            counter=ring.counter,
            acknowledged=ring.acknowledged,
            fifo_depth=self._belt.depth,
            late=min(MAX_COUNT, self.counts["late"]),
            missed_triggers=min(MAX_COUNT, self.counts["missed"]),
            at_gate=at_gate.result if at_gate is not None else None,
            results=tuple(ring.results),
        )
