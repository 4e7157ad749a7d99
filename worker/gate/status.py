"""What a PLC is shown: the result of each part, and the state of the gateway. Pure; the same for every protocol."""

from dataclasses import dataclass, field
from enum import IntEnum

RING = 16
"""So many results are shown at once: a PLC that scans slowly loses none."""
MAX_COUNTER = 65_535
"""Counters of results run from 1 to here, and then from 1 again; 0 says that there is none yet."""
MAX_TRIGGER = 2**32 - 1
NO_TRIGGER = MAX_TRIGGER
"""In the place of a trigger: the part is known by its id alone. Never a number that a PLC could take for its own."""
MAX_COUNT = 65_535
"""Counts that are shown stop here."""


class GateReason(IntEnum):
    """Why a part was decided so. The numbers are stable: PLC programs hold them. The first eight are a verdict's."""

    OK = 0
    DEFECT = 1
    LATE = 2
    EXPIRED = 3
    BAD_FRAME = 4
    NO_RECIPE = 5
    WORKER_ERROR = 6
    LOST = 7
    SILENCE = 20
    """No verdict came while the part's timer ran."""
    UNSYNCHRONISED = 21
    """Parts and verdicts may be out of step."""
    SIMULATED = 22
    """A PASS of a frame that no live camera took."""
    STALE = 23
    """A PASS whose validity had passed, or that has none, or that can't be held against Redis's clock."""
    FAULT = 24
    """A line fault stands, or a challenge is pending or has failed."""
    OFFLINE = 25
    """The gateway is not online."""

    @property
    def word(self) -> str:
        """For logs and people: `ok`, `unsynchronised`..."""
        return self.name.lower()


class Challenge(IntEnum):
    """Where the challenge stands: a known bad part that must be rejected."""

    IDLE = 0
    AWAITED = 1
    """The next part is it."""
    PASSED = 2
    FAILED = 3
    """A line fault, until it is reset."""


@dataclass(frozen=True)
class PartResult:
    """What was decided about one part.

    Attributes:
        counter: 1 to 65535, and then from 1 again; 0: none yet.
        trigger: of the part, 0 to 2**32 - 1; `NO_TRIGGER`: it has none, and is never at the gate.
        part_id: of the part; empty: it has none.
        opens: true only for an explicit PASS of every view.
        reason: why; `OK` if and only if it opens.
        severity: of the view that decided, the worst; None: it was not judged.
        score: of the same view.
        camera: of the same view; empty: there was none.
        view: its name; empty: it has none.
    """

    counter: int
    trigger: int
    part_id: str
    opens: bool
    reason: GateReason
    severity: float | None = None
    score: float | None = None
    camera: str = ""
    view: str = ""


@dataclass(frozen=True)
class Status:
    """All that a PLC is shown, at one moment.

    Attributes:
        heartbeat: 0 to 65535 and round again, one more with each turn of the gateway's loop that did its work.
        online: this gateway holds the gate's lease and reads the results.
        synchronised: parts and verdicts are in step.
        fault: a line fault stands, or a challenge has failed.
        bypass: a lamp: the PLC lets everything pass. No decision changes.
        challenge: a known bad part that must be rejected.
        overrun: a result left the ring before it was acknowledged.
        counter: of the newest result; 0: none yet.
        acknowledged: counter of the newest result that the PLC says it has taken.
        fifo_depth: parts between camera and gate.
        late: verdicts that came after their part was decided, up to 65535.
        missed_triggers: triggers that were skipped, up to 65535.
        at_gate: the part that stands at the gate now, by part distance; None: none, or not decided.
        results: newest last, at most 16.
    """

    heartbeat: int = 0
    online: bool = False
    synchronised: bool = False
    fault: bool = False
    bypass: bool = False
    challenge: Challenge = Challenge.IDLE
    overrun: bool = False
    counter: int = 0
    acknowledged: int = 0
    fifo_depth: int = 0
    late: int = 0
    missed_triggers: int = 0
    at_gate: PartResult | None = None
    results: tuple[PartResult, ...] = field(default=())
