"""A part under way: what was seen of it while its timer runs, and what that comes to. Pure.

What becomes of the verdicts of one view:

| verdicts, in order                          | the view                                                         |
|---------------------------------------------|------------------------------------------------------------------|
| none                                        | fails, `silence`                                                 |
| a PASS that is valid                        | passes                                                           |
| a FAIL                                      | fails, with its reason                                           |
| a PASS and a FAIL, whichever is first       | fails: any FAIL that is seen before the decision does            |
| a FAIL of a simulated frame                 | fails: whatever speaks against a part counts                     |
| a PASS twice                                | passes while the one that is valid longer is                     |
| a PASS that is not valid (any more)         | waits for a better one until the timer ends, then `stale`        |
| a PASS of a simulated frame                 | likewise, then `simulated`                                       |
| a PASS of another session, valid no more    | likewise, then `stale`                                           |
| a PASS that names another part as well, or  | as if it had not come                                            |
| is older than the part's trigger            |                                                                  |
| a FAIL of any of these                      | fails                                                            |
| anything after the decision                 | counted as late, as a repetition or as a contradiction: no more  |
"""

import math
from dataclasses import dataclass

from worker.gate.rules import Rules
from worker.gate.status import GateReason, PartResult
from worker.verdict import Reason, Verdict

WORST_FIRST = (
    GateReason.DEFECT,
    GateReason.BAD_FRAME,
    GateReason.NO_RECIPE,
    GateReason.WORKER_ERROR,
    GateReason.LOST,
    GateReason.EXPIRED,
    GateReason.LATE,
    GateReason.STALE,
    GateReason.SIMULATED,
    GateReason.SILENCE,
    GateReason.OK,
)
MISSING = frozenset({GateReason.SILENCE, GateReason.LATE, GateReason.EXPIRED, GateReason.LOST})
"""What counts towards a line fault."""
GRAVEST_FIRST = (GateReason.OFFLINE, GateReason.UNSYNCHRONISED, GateReason.FAULT)
"""Why a part is rejected whatever its verdicts say."""


@dataclass
class Slot:
    """One view of one part.

    Attributes:
        failed: the first FAIL.
        passed: of the PASSes of a live camera the one that is valid longest.
        worthless: a PASS that can't open, of a simulated frame or of another session.
        seen: whether the camera's own session has said anything.
        defect: whether it has said `defect`.
    """

    failed: Verdict | None = None
    passed: Verdict | None = None
    worthless: Verdict | None = None
    seen: bool = False
    defect: bool = False

    def take(self, verdict: Verdict, *, own: bool) -> None:
        """Takes in a verdict of this view.

        Args:
            verdict: any.
            own: whether it is of this part for sure: of a frame that was taken live, in the session that is its
                camera's now, and names no other part.
        """
        self.seen = self.seen or own
        if not verdict.passed:
            self.failed = self.failed or verdict
            self.defect = self.defect or (own and verdict.reason is Reason.DEFECT)
        elif not own:
            self.worthless = self.worthless or verdict
        elif self.passed is None or (verdict.valid_until_us or 0) > (self.passed.valid_until_us or 0):
            self.passed = verdict

    def reason(self, redis_us: int | None) -> GateReason:
        """What it comes to at this time of Redis's clock."""
        if self.failed is not None:
            # a FAIL that claims to be `ok` was written by a stranger; it fails all the same
            return GateReason(int(self.failed.reason)) if self.failed.reason else GateReason.WORKER_ERROR
        if self.passed is not None:
            return GateReason.OK if _valid(self.passed, redis_us) else GateReason.STALE
        if self.worthless is not None:
            return GateReason.SIMULATED if self.worthless.tag.simulated else GateReason.STALE
        return GateReason.SILENCE

    @property
    def shown(self) -> Verdict | None:
        """The verdict that its reason comes from."""
        return self.failed or self.passed or self.worthless


class Part:
    """A part from its trigger to its decision.

    Args:
        trigger: its number, or `NO_TRIGGER`.
        part_id: its own identity; empty: it has none.
        rules: of the gate.
        armed_us: when its timer began, monotonic microseconds.
        age: which time of being in step it belongs to.

    Attributes:
        taint: why it is rejected whatever its verdicts say; None: they decide.
        challenge: whether it is a known bad part.
        result: what was decided; None: its timer runs.
        missed: whether a view came late, or not at all; known once it is decided.
        complete: whether the camera of every view had said something by then.
        pictures: camera and view of each header that was seen of it.
    """

    def __init__(self, trigger: int, part_id: str, rules: Rules, *, armed_us: int, age: int) -> None:
        self.trigger, self.part_id, self.age = trigger, part_id, age
        self.armed_us, self.ends_us = armed_us, armed_us + rules.window_us
        self.taint: GateReason | None = None
        self.challenge = False
        self.result: PartResult | None = None
        self.missed = self.complete = False
        self.pictures: set[tuple[str, str | None]] = set()
        self._views = rules.views
        self.slots = [Slot() for _ in rules.views]

    def reject(self, why: GateReason) -> None:
        """Whatever its verdicts say, it is rejected; of several reasons the gravest is shown."""
        if self.taint is None or GRAVEST_FIRST.index(why) < GRAVEST_FIRST.index(self.taint):
            self.taint = why

    def settled(self, redis_us: int | None) -> bool:
        """Whether every view has said a word that nothing later could better."""
        return all(slot.failed or slot.reason(redis_us) is GateReason.OK for slot in self.slots)

    def judged_bad(self) -> bool:
        """Whether a view was judged a defect, by a verdict that is of this part for sure."""
        return any(slot.defect for slot in self.slots)

    def decide(self, counter: int, redis_us: int | None) -> PartResult:
        """What it comes to. It opens only if every view has a PASS that is valid and nothing speaks against it."""
        reasons = [slot.reason(redis_us) for slot in self.slots]
        self.missed = any(reason in MISSING for reason in reasons)
        self.complete = all(slot.seen for slot in self.slots)  # words that come later mark a slot, too: as late
        every_view_passes = bool(reasons) and all(reason is GateReason.OK for reason in reasons)
        opens = every_view_passes and self.taint is None and not self.challenge
        worst = min(range(len(reasons)), key=lambda at: (WORST_FIRST.index(reasons[at]), -self._severity(at)))
        shown, view = self.slots[worst].shown, self._views[worst]
        self.result = PartResult(
            counter=counter,
            trigger=self.trigger,
            part_id=self.part_id,
            opens=opens,
            reason=self.taint or (GateReason.FAULT if every_view_passes and not opens else reasons[worst]),
            severity=_finite(shown.severity if shown else None),
            score=_finite(shown.score if shown else None),
            camera=view.camera,
            view=(shown.tag.view if shown else None) or view.view,
        )
        return self.result

    def _severity(self, place: int) -> float:
        """Of a view's verdict; what is no number is worst."""
        shown = self.slots[place].shown
        severity = shown.severity if shown else None
        return -math.inf if severity is None else math.inf if math.isnan(severity) else severity


def _valid(verdict: Verdict, redis_us: int | None) -> bool:
    """Whether a PASS may still open: by Redis's clock, which must be known. Without a validity it opens nothing."""
    return redis_us is not None and verdict.valid_until_us is not None and redis_us <= verdict.valid_until_us


def _finite(number: float | None) -> float | None:
    return number if number is not None and math.isfinite(number) else None
