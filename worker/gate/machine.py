"""The gate's state machine: events in, with their times; results and a status out. Pure; the same for every protocol.

The one rule: a part's result opens the gate only if every view has a PASS that is matched by trigger or part id, taken
live by the camera's own session, stored and read while the part's timer ran, and valid by Redis's clock when it is
decided; and the gate has been online, in step and without a fault since the part was armed. Everything else rejects.

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
| with the last number once more, within two seconds  | ignored and counted                                        |
| a few numbers on                                    | those between are missed; a part is armed                  |
| with any other number                               | out of step; a part is armed                               |
| with an id that a part under way, or a moment ago,  | both are rejected: their verdicts can't be told apart      |
| has as well                                         |                                                            |

| a header comes, with `arm = "live"`                 | then                                                       |
|-----------------------------------------------------|------------------------------------------------------------|
| of a part that no header was seen of lately         | as a trigger; matched by part id the part has `NO_TRIGGER` |
|                                                     | (a number is the camera's own), and is never at the gate   |
| of a part under way, or a moment ago: another view  | nothing                                                    |
| likewise, of a view that was seen                   | matched by part id: both are rejected; else counted        |
"""

from producers.frame import FrameTag
from worker.gate.capture import stored_us, taken_us
from worker.gate.clock import STEP_US
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
from worker.gate.rules import Key, Rules
from worker.gate.sessions import Sessions
from worker.gate.status import MAX_TRIGGER, NO_TRIGGER, GateReason
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
        self._sessions = Sessions()

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
        part, picture = self._lately(key), (tag.camera, tag.view)
        if part is not None and picture not in part.pictures:
            part.pictures.add(picture)  # another view of it
            return
        if self.rules.match == "part_id" or tag.trigger is None:
            self._arm_unnumbered(tag.part_id or "", picture)
        elif part is not None or self._numbering.gave_up(tag.trigger):
            self.counts["doubled"] += 1  # or not seen in time: its place on the belt is behind others by now
        else:
            self._arm(tag.trigger, tag.part_id or "", picture)

    def _lately(self, key: Key | None) -> Part | None:
        """The part under way, or decided a moment ago, that has this key."""
        part = self._roll.under_way(key) or self._roll.decided(key)
        young = part is not None and self._now_us - part.armed_us < AGAIN_WINDOWS * self.rules.window_us
        return part if young else None

    def _see_session(self, tag: FrameTag) -> None:
        """A frame that was taken just now shows which session its camera has."""
        if self._sessions.see(tag.camera, tag.session):
            self.lose_step(Cause.SESSION, f"camera {tag.camera} has started anew")
            self._roll.forget_decided()  # its own count of triggers may have begun anew

    # -- a part comes ------------------------------------------------------------------------------------------------

    def _arm(self, number: int, part_id: str, *pictures: tuple[str, str | None]) -> None:
        step = self._numbering.step(number, self._now_us)
        if step.doubled:
            self.counts["doubled"] += 1
            return
        if step.jump:
            self.lose_step(Cause.TRIGGER, f"trigger {number} does not follow the one before it")
            self._belt.clear()
        for skipped in step.skipped:
            self._belt.move(None)
            self.counts["missed"] += 1
            if self.rules.match == "trigger":
                self._strangers.skipped(skipped)
        self._belt.move(self._begin(number, part_id, *pictures))

    def _arm_unnumbered(self, part_id: str, picture: tuple[str, str | None]) -> None:
        """A part known by its id is never shown at the gate: the PLC gave it no number, it would be by order alone."""
        self._begin(NO_TRIGGER, part_id, picture)
        self._belt.move(None)

    def _begin(self, number: int, part_id: str, *pictures: tuple[str, str | None]) -> Part:
        """A part's timer starts."""
        self.counts["triggers"] += 1
        part = Part(number, part_id, self.rules, armed_us=self._now_us, age=self.standing.age)
        part.pictures.update(pictures)
        self._announce(part, self._key(number, part_id))
        if len(self._roll) > UNDER_WAY:
            self.lose_step(Cause.CROWD, f"more than {UNDER_WAY} parts are under way")
            self._decide(*self._roll.open()[:1])
        return part

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
        if (twin := self._lately(key)) is not None:
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
        own = not tag.simulated and self._sessions.is_current(tag.camera, tag.session)
        if part is None:
            self._without_timer(verdict, key, place, own=own)
            return
        another = self._names_another(verdict, part) or self._is_older_than(verdict, part)
        if not (another and verdict.passed):
            part.slots[place].take(verdict, own=own and not another)
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
        named, ours = verdict.tag.part_id, part.part_id
        if self.rules.match == "part_id" or not named or not ours or named == ours:
            return False
        self.counts["mismatched"] += 1
        self._say("debug", "a verdict has the trigger of one part and the id of another", frame=str(verdict.tag.id))
        return True

    def _is_older_than(self, verdict: Verdict, part: Part) -> bool:
        """Whether it was stored before the part's timer began, or its frame was taken too long before.

        It was read since: but when that is may depend on how busy this machine is.
        """
        stored, taken, lead_us = stored_us(verdict), taken_us(verdict), self.rules.lead_us
        redis_us = self._clock.at(self._now_us)
        if redis_us is None or stored is None:
            self.counts["too_old"] += lead_us is not None  # it can't be told
            return lead_us is not None
        if self._clock.here(stored) < part.armed_us or stored > redis_us + STEP_US:
            self.counts["early"] += 1  # from the future: Redis's clock was set back, and when it was can't be told
        elif lead_us is not None and (taken is None or self._clock.here(taken) < part.armed_us - lead_us):
            self.counts["too_old"] += 1
        else:
            return False
        self._say("debug", "a verdict or its frame is older than its part's trigger", frame=str(verdict.tag.id))
        return True

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
