"""The gate's state machine: events in, with their times; results and a status out. Pure; the same for every protocol.

The one rule: a part's result opens the gate only if every view has a PASS that is matched by trigger or part id, taken
live by the camera's own session, read while the part's timer ran, and valid by Redis's clock when it is decided; and
the gate has been online, in step and without a fault since the part was armed. Everything else rejects.

| a verdict comes                                            | then                                                |
|------------------------------------------------------------|-----------------------------------------------------|
| for a part whose timer runs                                | `worker.gate.parts`                                 |
| for a part that is decided, of a view that said nothing    | late: counted and said, it changes nothing          |
| for a part that is decided, of a view that has spoken      | repeated, or contradicted: counted, changes nothing |
| for a part that nobody announced                           | remembered for a window: then a trigger was missed; |
|                                                            | if its trigger comes after all, it came too early   |
| without what verdicts are matched by                       | counted                                             |
| of a view that is none of this gate's                      | counted                                             |
| of a new session of a camera, taken live, still valid      | out of step; then as above                          |
| of another session, and not valid any more                 | its PASS is nothing, its FAIL counts                |

| a trigger comes                                     | then                                                       |
|-----------------------------------------------------|------------------------------------------------------------|
| with the next number                                | a part is armed                                            |
| with one that has come, or that was skipped         | ignored and counted                                        |
| a few numbers on                                    | those between are missed; a part is armed                  |
| with any other number                               | out of step; a part is armed                               |
| with an id that a part under way, or a moment ago,  | both are rejected: their verdicts can't be told apart      |
| has as well                                         |                                                            |
"""

from producers.frame import FrameTag
from worker.gate.deciding import Cause, Decider, Say
from worker.gate.parts import Part
from worker.gate.plc import (
    Acknowledge,
    LinkDown,
    LinkUp,
    Request,
    ResetFault,
    SetBypass,
    StartChallenge,
    Synchronise,
    Trigger,
)
from worker.gate.rules import Rules
from worker.gate.status import MAX_TRIGGER, GateReason
from worker.gate.strangers import Key
from worker.gate.takes import Takes
from worker.verdict import Verdict

UNDER_WAY = 1024  # parts whose timers run, at most
AGAIN_WINDOWS = 10  # a part id that comes back sooner can't be told from its first time


class Machine(Decider):
    """Takes in what the PLC, the cameras and the workers say. Owns no thread and never sleeps.

    Args:
        rules: of the gate.
        say: told of what a person may want to know.
    """

    def __init__(self, rules: Rules, say: Say = lambda *_, **__: None) -> None:
        super().__init__(rules, say)
        self._takes = Takes()

    # -- the PLC says ------------------------------------------------------------------------------------------------

    def request(self, request: Request, now_us: int) -> None:
        """Does what the PLC asks for."""
        self.tick(now_us)
        match request:
            case Trigger(number, part_id):
                self._trigger(number, part_id)
            case Acknowledge(counter):
                self.acknowledge(counter)
            case ResetFault():
                self.reset_fault()
            case SetBypass(on):
                self.set_bypass(on=on)
            case StartChallenge():
                self.start_challenge()
            case Synchronise():
                self.synchronise()
            case LinkUp():
                self._say("info", "the PLC is there")
            case LinkDown(why):
                self.lose_link(why)

    def _trigger(self, number: int, part_id: str) -> None:
        if self.rules.arm == "plc":
            self._arm(number, part_id)
        else:
            self.counts["triggers_ignored"] += 1

    # -- the cameras say ---------------------------------------------------------------------------------------------

    def header(self, tag: FrameTag, now_us: int) -> None:
        """A frame was seen on the live topic. The first of a part arms it, if the PLC does not."""
        self.tick(now_us)
        key = self._key(tag.trigger, tag.part_id)
        ours = any(view.shows(tag.camera, tag.view) for view in self.rules.views)
        numbered = tag.trigger is None or tag.trigger <= MAX_TRIGGER
        if self.rules.arm != "live" or not ours or tag.simulated or key is None or not numbered:
            self.counts["headers_ignored"] += 1
            return
        self._see_session(tag)
        if self._roll.under_way(key) is None and self._roll.decided(key) is None:
            number = self.counts["triggers"] & MAX_TRIGGER if tag.trigger is None else tag.trigger
            self._arm(number, tag.part_id or "")

    def _see_session(self, tag: FrameTag) -> None:
        """A frame that was taken just now shows which session its camera has."""
        if self._takes.see(tag.camera, tag.session):
            self.lose_step(Cause.SESSION, f"camera {tag.camera} has started anew")
            self._roll.forget_decided()  # its own count of triggers may have begun anew

    # -- a part comes ------------------------------------------------------------------------------------------------

    def _arm(self, number: int, part_id: str) -> None:
        step = self._numbering.step(number)
        if step.doubled:
            self.counts["doubled"] += 1
            return
        self.counts["triggers"] += 1
        if step.jump:
            self.lose_step(Cause.TRIGGER, f"trigger {number} does not follow the one before it")
            self._belt.clear()
        for back in range(step.skipped, 0, -1):
            self._belt.move(None)
            self.counts["missed"] += 1
            if self.rules.match == "trigger":
                self._strangers.skipped((number - back) & MAX_TRIGGER)
        part = Part(number, part_id, self.rules, armed_us=self._now_us, age=self.standing.age)
        self._announce(part, self._key(number, part_id))
        self._belt.move(part)
        if len(self._roll) > UNDER_WAY:
            self.lose_step(Cause.CROWD, f"more than {UNDER_WAY} parts are under way")
            self._decide(*self._roll.open()[:1])

    def _announce(self, part: Part, key: Key | None) -> None:
        """From here on verdicts can find the part."""
        part.challenge, self.standing.due = self.standing.due, False
        if (taint := self.standing.taint(challenge=part.challenge)) is not None:
            part.reject(taint)
        if key is None:
            self.counts["nameless"] += 1
        elif self._strangers.announced(key):
            self.counts["early"] += 1
            self._say("debug", "a verdict came before its part's trigger: trigger before the camera", part=key)
        twin = self._roll.under_way(key) or self._roll.decided(key)
        if twin is not None and self._now_us - twin.armed_us < AGAIN_WINDOWS * self.rules.window_us:
            self.counts["twins"] += 1
            self._say("debug", "a part came again before its first time was over: both are rejected", part=key)
            part.reject(GateReason.UNSYNCHRONISED)
            if twin.result is None:
                twin.reject(GateReason.UNSYNCHRONISED)
                self._decide(twin)
        self._roll.enter(part, key)

    # -- the workers say ---------------------------------------------------------------------------------------------

    def verdict(self, verdict: Verdict, now_us: int) -> None:
        """A verdict was read. The time is that of its reading."""
        self.tick(now_us)
        tag, place = verdict.tag, self.rules.place_of(verdict)
        if place is None:
            self.counts["foreign"] += 1
            return
        self.counts["verdicts"] += 1
        self.counts["simulated"] += tag.simulated
        key = self._key(tag.trigger, tag.part_id)
        part = self._roll.under_way(key)
        if self._speaks_for_now(verdict, matched=part is not None):
            self._see_session(tag)
        own = not tag.simulated and self._takes.counts(tag.camera, tag.session)
        if part is None:
            self._without_timer(verdict, key, place, own=own)
            return
        if self._names_another(verdict, part):
            self.counts["mismatched"] += 1
            self._say("debug", "a verdict has the trigger of one part and the id of another", frame=str(tag.id))
            if verdict.passed:
                return
        part.slots[place].take(verdict, own=own)
        if part.settled(self._clock.at(self._now_us)):
            self._decide(part)

    def _speaks_for_now(self, verdict: Verdict, *, matched: bool) -> bool:
        """Whether a verdict is of a frame that was taken just now: live, and still valid.

        Without a validity that can't be told: it is believed of the frame of a part whose timer runs.
        """
        if verdict.tag.simulated:
            return False
        if verdict.valid_until_us is None:
            return matched
        redis_us = self._clock.at(self._now_us)
        return redis_us is not None and redis_us <= verdict.valid_until_us

    def _names_another(self, verdict: Verdict, part: Part) -> bool:
        """Whether trigger and part id contradict each other. Where ids match, a trigger may count something else."""
        named = verdict.tag.part_id
        return self.rules.match == "trigger" and bool(named) and bool(part.part_id) and named != part.part_id

    def _without_timer(self, verdict: Verdict, key: Key | None, place: int, *, own: bool) -> None:
        """Of a verdict for which no timer runs nothing comes but a number."""
        decided = self._roll.decided(key)
        if key is None:
            self.counts["nameless"] += 1
        elif decided is None or decided.result is None:
            if own and self._speaks_for_now(verdict, matched=False):
                self.counts["missed"] += self._strangers.meet(key, self._now_us)
        elif own and not decided.slots[place].seen:
            decided.slots[place].seen = True
            self.counts["late"] += 1
            self._say("debug", "late", part=key, camera=verdict.tag.camera, decision=verdict.decision.value)
        elif not verdict.passed and decided.result.opens:
            self.counts["contradicted"] += 1
            self._say(
                "warning", "a FAIL came after the gate was opened for its part", part=key, frame=str(verdict.tag.id)
            )
        else:
            self.counts["repeated"] += 1
