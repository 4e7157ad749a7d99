"""What passes along the conveyor of `sightline bench gate`, and what is done to the line meanwhile: all from one seed.

Every process of the bench makes the same plan for itself: nothing but the seed and a time passes between them.
"""

import random
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from itertools import cycle

LINE = "bench-gate"
CAMERAS = {"top": "cam-top", "side": "cam-side"}
"""The camera of each view."""
PERIOD_MS = 40.0  # between two parts
WINDOW_MS = 400.0  # the gate's timer
TRAVEL_MS = 600.0  # from the light barrier to the gate
DISTANCE = 15  # parts between them
EXPOSES_MS = {"top": 30.0, "side": 45.0}  # after the light barrier
BUDGET_MS = 350.0
LONG_BUDGET_MS = 3000.0  # a verdict that comes too late for the part is still valid
GOOD, BAD = (0, 128), (128, 256)  # of a frame's pixels: the null engine's threshold lies between
CALM = 25  # parts at the start
FORGED_EVERY = 25  # parts
PARTS_A_BLOW = 400  # so many for each blow that stops the line for a moment
PARTS_A_STRETCH = 1500  # so many for each stretch in which results are not taken as they should be
SILENT_PARTS, BLIND_PARTS = 40, 24  # more than the ring holds


class Pulse(StrEnum):
    """What the PLC gets of a part's light barrier."""

    ONCE = "once"
    TWICE = "twice"
    NEVER = "never"


class Forgery(StrEnum):
    """What lies in the stream for a part whose side view no camera took, or, with `AGAIN`, beside what it took."""

    SIMULATED = "simulated"
    REPLAYED = "replayed"  # an earlier part's entry once more, as it is
    AGAIN = "again"  # the part's own entry once more
    EARLY = "early"  # before the part comes
    STALE = "stale"
    NO_VALIDITY = "no_validity"
    STRANGER = "stranger"  # of a camera that the gate does not expect
    OTHER_PART = "other_part"  # the right trigger, another part's id
    NAN = "nan"
    NO_PNG = "no_png"
    HUGE_ID = "huge_id"
    FOREIGN = "foreign"  # no verdict at all


class What(StrEnum):
    """What is done to the line."""

    GATEWAY = "gateway killed"
    REDIS = "Redis killed"
    PLC = "PLC restarted"
    LONG_STALL = "PLC scan stopped for long"
    CAMERA = "camera restarted"
    STALL = "PLC scan stopped"
    WORKER_KILL = "worker killed"
    WORKER_STOP = "worker stopped for a while"


STOPPING = (What.GATEWAY, What.REDIS, What.PLC, What.LONG_STALL, What.CAMERA)
LASTS_MS = {
    What.REDIS: (300, 1200),
    What.PLC: (50, 600),
    What.LONG_STALL: (900, 1400),  # more results than the ring holds
    What.STALL: (60, 200),  # some results at once
    What.WORKER_STOP: (500, 900),  # longer than a part's timer
}


@dataclass(frozen=True)
class Shot:
    """One picture of a part.

    Attributes:
        level: of all its pixels.
        after_ms: it is taken so long after the light barrier.
        budget_ms: of the frame; None: it has none.
    """

    level: int
    after_ms: float
    budget_ms: float | None = BUDGET_MS


@dataclass(frozen=True)
class Part:
    """One part.

    Attributes:
        number: what the encoder counts, for PLC and cameras alike.
        pulse: what the PLC sees of it.
        shots: by view; a view that no camera took is missing.
        forgery: what is forged for it.
        challenge: the PLC announces it as a known bad part.
    """

    number: int
    pulse: Pulse
    shots: Mapping[str, Shot]
    forgery: Forgery | None = None
    challenge: bool = False

    @property
    def id(self) -> str:
        """As PLC and cameras know it."""
        return f"P-{self.number:06d}"

    @property
    def light_ms(self) -> float:
        """When it crosses the light barrier, from the start of the run."""
        return self.number * PERIOD_MS

    @property
    def gate_ms(self) -> float:
        """When it stands at the gate, from the start of the run."""
        return self.light_ms + TRAVEL_MS


@dataclass(frozen=True)
class Blow:
    """One thing that is done to the line.

    Attributes:
        at: when this part crosses the light barrier.
        what: is done.
        which: of the workers, or cameras.
        lasts_ms: until it is undone; 0: at once.
    """

    at: int
    what: What
    which: int = 0
    lasts_ms: float = 0.0


@dataclass(frozen=True)
class Plan:
    """A whole run.

    Attributes:
        parts: by number.
        blows: in order.
        silent: parts during which the PLC acknowledges nothing.
        blind: parts during which it does not even look at results, and goes on triggering.
    """

    parts: tuple[Part, ...]
    blows: tuple[Blow, ...]
    silent: frozenset[int]
    blind: frozenset[int]


def make_plan(parts: int, seed: int) -> Plan:
    """The plan of so many parts. The same seed gives the same plan on every machine."""
    rng = random.Random(seed)  # noqa: S311 - parts and blows need no secrecy
    forgeries = cycle(rng.sample(list(Forgery), len(Forgery)))
    drawn = [_part(number, rng) for number in range(parts)]
    for number in range(CALM + rng.randrange(FORGED_EVERY), parts, FORGED_EVERY):
        drawn[number] = _forged(number, next(forgeries), rng)
    for number, bad in ((15, True), (parts // 2, True), (parts * 3 // 4, False)):
        levels = BAD if bad else GOOD  # the last one is not seen to be bad: a fault, until a person resets it
        shots = {view: Shot(rng.randrange(*levels), after_ms) for view, after_ms in EXPOSES_MS.items()}
        drawn[number] = Part(number, Pulse.ONCE, shots, challenge=True)
    silent, blind = (_stretches(parts, length, rng) for length in (SILENT_PARTS, BLIND_PARTS))
    return Plan(
        parts=tuple(drawn),
        blows=tuple(sorted(_blows(parts, rng), key=lambda blow: blow.at)),
        silent=silent | blind,
        blind=blind,
    )


def _stretches(parts: int, length: int, rng: random.Random) -> frozenset[int]:
    starts = [rng.randrange(CALM, parts) for _ in range(max(1, parts // PARTS_A_STRETCH))]
    return frozenset(start + more for start in starts for more in range(length))


def _part(number: int, rng: random.Random) -> Part:
    """A part as most are, or with one of the small mishaps of every line."""
    shots = {view: _shot(view, rng) for view in EXPOSES_MS}
    pulse = rng.choices(list(Pulse), (0.98, 0.01, 0.01))[0] if number >= CALM else Pulse.ONCE
    if number >= CALM and rng.random() < 0.007:
        del shots[rng.choice(list(shots))]
    return Part(number, pulse, shots)


def _shot(view: str, rng: random.Random) -> Shot:
    level = rng.randrange(*(BAD if rng.random() < 0.05 else GOOD))
    mishap = rng.random()
    if mishap < 0.006:  # it comes when the part's timer has about run out, or has
        return Shot(level, rng.uniform(300, 900), LONG_BUDGET_MS)
    if mishap < 0.009:
        return Shot(level, EXPOSES_MS[view], None)
    if mishap < 0.012:
        return Shot(level, EXPOSES_MS[view], rng.uniform(1, 20))
    return Shot(level, EXPOSES_MS[view], LONG_BUDGET_MS if mishap < 0.2 else BUDGET_MS)


def _forged(number: int, forgery: Forgery, rng: random.Random) -> Part:
    shots = {view: Shot(rng.randrange(*GOOD), after_ms) for view, after_ms in EXPOSES_MS.items()}
    if forgery is not Forgery.AGAIN:
        del shots["side"]
    return Part(number, Pulse.ONCE, shots, forgery=forgery)


def _blows(parts: int, rng: random.Random) -> list[Blow]:
    """Those that stop the line each have a stretch of their own; the others fall where they fall."""
    count = max(3, parts // PARTS_A_BLOW)
    stretch = (parts - CALM) // count
    kinds = cycle(STOPPING)
    blows = [_blow(CALM + part * stretch + rng.randrange(stretch // 3), next(kinds), rng) for part in range(count)]
    often = {What.WORKER_KILL: 120, What.WORKER_STOP: 500, What.STALL: 150}
    for what, every in often.items():
        blows += [_blow(rng.randrange(CALM, parts), what, rng) for _ in range(max(1, parts // every))]
    return blows


def _blow(at: int, what: What, rng: random.Random) -> Blow:
    return Blow(at, what, rng.randrange(2), rng.uniform(*LASTS_MS.get(what, (0, 0))))
