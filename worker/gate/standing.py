"""What holds for the gate as a whole: online, in step, at fault, challenged, bypassed. Pure.

| what happens                                              | then                                                     |
|-----------------------------------------------------------|----------------------------------------------------------|
| start; results lost; lease lost; link lost; a new session | out of step: every part is rejected, `unsynchronised`,   |
| of a camera; a jump of the trigger's number; Redis's      | also those under way                                     |
| clock is set; events that found no room                   |                                                          |
| `Synchronise`, or three parts in a row, armed since, with | in step: parts that are armed from now on are decided by |
| a word of every view in time, whatever it says            | their verdicts                                           |
| three parts in a row late or missing                      | a line fault: every part is rejected, `fault`            |
| `StartChallenge`                                          | the next part is a known bad one; those that come behind |
|                                                           | it before it is judged are rejected, `fault`             |
| the known bad part is judged a defect                     | the challenge is passed                                  |
| anything else becomes of it                               | the challenge has failed: a line fault                   |
| `ResetFault`                                              | the fault is over, and a failed challenge with it        |

`Synchronise` while the gateway is not online puts nothing in step: it must come again.
"In a row" is in the order of the triggers, whatever was decided first. Nothing that is armed while the gateway is not
online, or while a fault stands, counts towards another fault.
"""

from worker.gate.parts import Part
from worker.gate.rules import Rules
from worker.gate.status import Challenge, GateReason


class Standing:
    """The gate's state apart from its parts.

    Args:
        rules: of the gate.

    Attributes:
        age: one more each time the gate falls out of step.
        due: whether the next part is the known bad one.
    """

    def __init__(self, rules: Rules) -> None:
        self.online = self.synchronised = self.fault = self.bypass = self.due = False
        self.challenge = Challenge.IDLE
        self.age = 0
        self._rules = rules
        self._in_time = self._missing = 0  # parts in a row

    def taint(self, *, challenge: bool) -> GateReason | None:
        """Why a part that is armed now is rejected whatever its verdicts say; None: they decide.

        Args:
            challenge: it is the known bad part itself.
        """
        if not self.online:
            return GateReason.OFFLINE
        if not self.synchronised:
            return GateReason.UNSYNCHRONISED
        behind = self.challenge is Challenge.AWAITED and not challenge
        return GateReason.FAULT if self.fault or behind else None

    def lose_step(self) -> None:
        """Parts and verdicts may not belong together any more."""
        self.synchronised, self._in_time = False, 0
        self.age += 1

    def gain_step(self) -> None:
        """Parts that are armed from here on, and their verdicts, belong together; if verdicts are read at all."""
        self.synchronised = self.online

    def start_challenge(self) -> None:
        """The next part is a known bad one."""
        if self.challenge is not Challenge.AWAITED:
            self.challenge, self.due = Challenge.AWAITED, True

    def end_challenge(self, *, judged_bad: bool) -> None:
        """The known bad part was decided."""
        self.challenge = Challenge.PASSED if judged_bad else Challenge.FAILED
        self.fault = self.fault or not judged_bad

    def reset_fault(self) -> None:
        """A person has seen to it."""
        self.fault, self._missing = False, 0
        if self.challenge is Challenge.FAILED:
            self.challenge = Challenge.IDLE

    def account(self, part: Part) -> None:
        """Takes a decided part into account; in the order of the triggers."""
        if part.age == self.age:
            in_time = part.complete and part.taint is not GateReason.OFFLINE
            self._in_time = self._in_time + 1 if in_time else 0
            if not self.synchronised and self._in_time >= self._rules.sync_after:
                self.gain_step()
        if part.taint not in (GateReason.OFFLINE, GateReason.FAULT):
            self._missing = self._missing + 1 if part.missed else 0
            self.fault = self.fault or self._missing >= self._rules.fault_after
