"""The gate's machine against a model: whatever happens in whatever order, it opens for entitled parts and no others.

The model shares no code with the machine. It keeps a list of parts and of what was said about each, and works out
from the lists alone, at each step, which parts must be decided by now and which of them may open.
"""

import os
from dataclasses import dataclass, field
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from tests.worker.gate.driven import CLOCK_US, WINDOW_MS, judged, rules
from worker.gate.deciding import Cause
from worker.gate.machine import Machine
from worker.gate.plc import (
    Acknowledge,
    LinkDown,
    ResetFault,
    SetBypass,
    StartChallenge,
    Synchronise,
    Trigger,
)
from worker.gate.status import MAX_COUNTER, Challenge, GateReason, PartResult

WINDOW_US = WINDOW_MS * 1000
SESSIONS = ("00000000-0000-0000-0000-000000000001", "00000000-0000-0000-0000-000000000002")
CAMERAS = ("top", "side")
TIMES_MS = st.sampled_from([0, 1, 5, 20, 45, 99, 100, 130])
TROUBLES = ("results", "lease", "link", "jump", "challenge", "bypass", "no bypass")
QUIRKS: list[dict[str, Any]] = [
    {},
    {"passed": False},
    {"simulated": True},
    {"simulated": True, "passed": False},
    {"valid_ms": 30},
    {"valid_ms": 0},
    {"valid_ms": -1},
    {"valid_ms": None},
    {"session": SESSIONS[0]},
    {"session": SESSIONS[1]},
    {"session": SESSIONS[1], "valid_ms": -1},
]
"""What a verdict may be besides a PASS that is valid for a second."""
MOSTLY_NONE: st.SearchStrategy[dict[str, Any]] = st.one_of(st.just({}), st.just({}), st.sampled_from(QUIRKS))


@dataclass
class Word:
    """A verdict that was read while the part's timer ran."""

    passed: bool
    own: bool
    valid_until_us: int | None


@dataclass
class ModelPart:
    number: int
    armed_us: int
    clean: bool
    """The gate was in service when it was armed, and nothing has happened since that rejects what is under way."""
    row: int
    """Parts of the same row may put the gate in step; those of -1 never do."""
    words: dict[str, list[Word]] = field(default_factory=lambda: {camera: [] for camera in CAMERAS})
    result: PartResult | None = None

    def failed(self, camera: str) -> bool:
        return any(not word.passed for word in self.words[camera])

    def passes(self, camera: str, redis_us: int) -> bool:
        return any(
            word.passed and word.own and word.valid_until_us is not None and redis_us <= word.valid_until_us
            for word in self.words[camera]
        )

    def settled(self, redis_us: int) -> bool:
        return all(self.failed(camera) or self.passes(camera, redis_us) for camera in CAMERAS)

    def entitled(self, redis_us: int) -> bool:
        return self.clean and not any(map(self.failed, CAMERAS)) and self.settled(redis_us)

    @property
    def complete(self) -> bool:
        return all(any(word.own for word in words) for words in self.words.values())


class GateModel(RuleBasedStateMachine):
    @initialize()
    def begin(self) -> None:
        self.machine = Machine(rules(part_distance=2))
        self.now_us = 1_000_000
        self.number = 100
        self.last: tuple[int, int] | None = None  # the last trigger's number and time
        self.parts: list[ModelPart] = []
        self.results: list[PartResult] = []
        self.current: dict[str, str] = {}
        self.losses = 0
        self.acknowledged = 0
        self.asked_to_synchronise = False
        self.machine.hear_clock(CLOCK_US, self.now_us)
        self.machine.go_online()
        self.ask(Synchronise())
        self.before = self.machine.status(0)

    @property
    def redis_us(self) -> int:
        return self.now_us + CLOCK_US

    def under_way(self) -> list[ModelPart]:
        return [part for part in self.parts if part.result is None]

    def lose(self) -> None:
        """Whatever is under way is rejected."""
        self.losses += 1
        for part in self.under_way():
            part.clean = False

    def expire(self) -> None:
        """Parts whose timers have ended are rejected: whoever was entitled is decided by now."""
        for part in self.under_way():
            if part.armed_us + WINDOW_US <= self.now_us:
                self.take(part, opens=False)

    def take(self, part: ModelPart, *, opens: bool) -> None:
        """The part must be decided by now, and so."""
        found = [result for result in self.machine.status(0).results if result.trigger == part.number]
        assert found, f"part {part.number} is not decided"
        part.result = found[-1]
        assert part.result.opens is opens, f"part {part.number}: {part.result}"
        assert (part.result.reason is GateReason.OK) is opens
        self.results.append(part.result)
        status = self.machine.status(0)
        if status.fault and not self.before.fault:
            for other in self.under_way():
                other.clean = False

    def ask(self, request: Any) -> None:
        self.machine.request(request, self.now_us)

    # -- what happens ------------------------------------------------------------------------------------------------

    @rule(ms=TIMES_MS)
    def time_passes(self, ms: int) -> None:
        self.now_us += ms * 1000
        self.machine.hear_clock(CLOCK_US, self.now_us)
        self.machine.tick(self.now_us)
        self.expire()

    @rule(on=st.sampled_from([1, 1, 1, 2, 4]))
    def a_part_comes(self, on: int) -> None:
        self.number += on
        follows = on <= 4 or self.last is None
        status = self.machine.status(0)
        in_service = status.online and status.synchronised and not status.fault
        clean = in_service and follows and status.challenge is not Challenge.AWAITED
        if not follows:
            self.lose()
        self.last = self.number, self.now_us
        self.ask(Trigger(self.number, ""))
        row = self.losses if status.online else -1
        self.parts.append(ModelPart(self.number, self.now_us, clean, row))

    @precondition(lambda self: self.last is not None and self.now_us - self.last[1] <= 2_000_000)
    @rule()
    def a_trigger_comes_again(self) -> None:
        before = self.machine.counts["triggers"]
        self.ask(Trigger(self.number, ""))
        assert self.machine.counts["triggers"] == before

    @rule(camera=st.sampled_from(CAMERAS), back=st.integers(0, 5), quirk=MOSTLY_NONE)
    def a_verdict_is_read(self, camera: str, back: int, quirk: dict[str, Any]) -> None:
        self.read(camera, max(0, self.number - back), quirk)

    @rule(
        said=st.lists(st.tuples(st.sampled_from(CAMERAS), MOSTLY_NONE), max_size=2),
        top=MOSTLY_NONE,
        ms=TIMES_MS,
        trouble=st.one_of(st.just(""), st.just(""), st.sampled_from(TROUBLES)),
        side=MOSTLY_NONE,
        again=st.sampled_from(CAMERAS),
    )
    def a_part_comes_and_every_view_is_judged(
        self,
        said: list[tuple[str, dict[str, Any]]],
        top: dict[str, Any],
        ms: int,
        trouble: str,
        side: dict[str, Any],
        again: str,
    ) -> None:
        """Something may be said besides, before and between; time or trouble may lie between the two views."""
        self.a_part_comes(1)
        for camera, quirk in said[1:]:
            self.read(camera, self.number, quirk)
        self.read("top", self.number, top)
        for camera, quirk in said[:1]:
            self.read(camera, self.number, quirk)
        self.time_passes(ms)
        if trouble:
            self.there_is_trouble(trouble)
        self.read("side", self.number, side)
        if said:
            self.read(again, self.number, {})

    @rule(silent=st.integers(1, 4))
    def silent_parts_come_and_then_a_good_one(self, silent: int) -> None:
        """Which is under way when the silent ones run out of time."""
        for _ in range(silent):
            self.a_part_comes(1)
        self.time_passes(20)
        self.a_part_comes(1)
        self.read("top", self.number, {})
        self.time_passes(99)
        self.every_view_passes()

    @rule()
    def every_view_passes(self) -> None:
        for camera in CAMERAS:
            self.read(camera, self.number, {})

    def read(self, camera: str, number: int, quirk: dict[str, Any]) -> None:
        """A verdict: a PASS of the camera's session that is valid for a second, but for its quirk."""
        given = {"session": self.current.get(camera, SESSIONS[0]), "valid_ms": 1_000, **quirk}
        valid_ms = given.pop("valid_ms")
        until = None if valid_ms is None else self.redis_us + valid_ms * 1000
        about = judged(camera, number, valid_until_us=until, **given)
        tag = about.tag
        part = next((part for part in self.under_way() if part.number == tag.trigger), None)
        fresh = part is not None if until is None else self.redis_us <= until
        if not tag.simulated and fresh:
            if self.current.get(tag.camera, tag.session) != tag.session:
                self.lose()
            self.current[tag.camera] = tag.session
        self.machine.verdict(about, self.now_us)
        if part is not None:
            own = not tag.simulated and self.current.get(tag.camera) == tag.session
            part.words[tag.camera].append(Word(about.passed, own, until))
            if part.settled(self.redis_us):
                self.take(part, opens=part.entitled(self.redis_us))

    def synchronise(self) -> None:
        self.ask(Synchronise())
        self.asked_to_synchronise = True
        for part in self.under_way():
            self.take(part, opens=False)
        self.last = None

    @rule(trouble=st.sampled_from(TROUBLES))
    def there_is_trouble(self, trouble: str) -> None:
        match trouble:
            case "results" | "lease":
                if self.machine.status(0).online:
                    self.lose()
                self.machine.go_offline(Cause(trouble), "Redis is away")
            case "link":
                self.ask(LinkDown("no answer"))
                self.lose()
                self.last = None
            case "jump":
                self.a_part_comes(50)
            case "challenge":
                self.ask(StartChallenge())
            case _:
                self.ask(SetBypass(on=trouble == "bypass"))
                assert self.machine.status(0).bypass is (trouble == "bypass")

    @rule(in_step=st.booleans())
    def it_is_seen_to(self, in_step: bool) -> None:
        self.machine.go_online()
        self.ask(ResetFault())
        if in_step:
            self.synchronise()

    @rule(back=st.integers(0, 20))
    def the_plc_acknowledges(self, back: int) -> None:
        made = len(self.results)
        if made - back > self.acknowledged:
            self.acknowledged = made - back
        if made - back >= 1:
            self.ask(Acknowledge((made - back - 1) % MAX_COUNTER + 1))

    # -- what always holds -------------------------------------------------------------------------------------------

    @invariant()
    def every_part_has_one_result_and_no_result_is_without_a_part(self) -> None:
        status = self.machine.status(0)
        assert status.counter == len(self.results)
        shown = [result.counter for result in status.results]
        assert shown == list(range(len(self.results) - len(shown) + 1, len(self.results) + 1))
        assert len(shown) == min(16, len(self.results))
        assert all(part.armed_us + WINDOW_US > self.now_us for part in self.under_way())

    @invariant()
    def a_result_that_left_unacknowledged_shows(self) -> None:
        status = self.machine.status(0)
        assert status.overrun is (len(self.results) - self.acknowledged > 16)
        assert status.acknowledged == self.acknowledged

    @invariant()
    def it_is_in_step_again_only_for_a_reason(self) -> None:
        status = self.machine.status(0)
        if status.synchronised and not self.before.synchronised and not self.asked_to_synchronise:
            ours = [part for part in self.parts if part.row == self.losses]
            runs = zip(ours, ours[1:], ours[2:], strict=False)
            assert any(all(part.result is not None and part.complete for part in run) for run in runs)
        self.before, self.asked_to_synchronise = status, False

    @invariant()
    def what_is_shown_at_the_gate_is_a_part_s_own_result(self) -> None:
        at_gate = self.machine.status(0).at_gate
        assert at_gate is None or at_gate in self.results


EXAMPLES = 3_000 if os.environ.get("SIGHTLINE_FAULTS") == "long" else 80
GateModel.TestCase.settings = settings(
    max_examples=EXAMPLES, stateful_step_count=40, deadline=None, suppress_health_check=list(HealthCheck)
)
TestGateModel = GateModel.TestCase
