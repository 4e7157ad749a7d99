"""How long it takes from here until a verdict is stored: learnt while the line runs. Pure, the time is passed in."""

SLOWER, FASTER = 0.1, 0.01  # steps up and down: settles where one batch in eleven takes longer
LEAST_FACTOR = 0.1  # no warm-up is further off than that, whatever ran beside it
MOST_FACTOR, MOST_AFTER_S = 3.0, 0.05  # one hiccup, or Redis away, must not make every frame look hopeless
FORGOTTEN_S = 1.0


class Pace:
    """What batches take beside what was measured at warm-up, and what comes after the engine.

    A frame that can just be inferred within its budget is late by the time that its verdict is stored, and a machine
    that has more or less to do than at warm-up is slower or quicker: one that boots may take twice as long. At
    overload, where the earliest deadline goes first, each frame would be met or missed by a hair. So frames are given
    up by these figures. What makes frames look hopeless is forgotten when no batch comes any more: it would never be
    put right. Any thread may tell and ask.

    Attributes:
        factor: batches take this many times as long as at warm-up, 0.1 to 3.
        after_s: seconds from the end of a batch until its verdicts are stored, 0 to 0.05.
    """

    def __init__(self) -> None:
        self.factor, self.after_s = 1.0, 0.0
        self._learnt_at = 0.0

    def inferred(self, *, predicted_s: float, actual_s: float, now: float) -> None:
        """A batch took this long; `predicted_s` by the warm-up's figures."""
        self._learnt_at = now
        if predicted_s > 0:
            self.factor = _towards(self.factor, min(MOST_FACTOR, max(LEAST_FACTOR, actual_s / predicted_s)))

    def stored(self, seconds: float) -> None:
        """Verdicts were stored this long after their batch had left the engine."""
        self.after_s = _towards(self.after_s, min(MOST_AFTER_S, seconds))

    def needs_s(self, predicted_s: float, now: float) -> float:
        """Seconds that a frame needs from now on whose batch takes `predicted_s` by the warm-up's figures."""
        if now - self._learnt_at > FORGOTTEN_S:
            self.factor, self.after_s = min(self.factor, 1.0), 0.0
        return predicted_s * self.factor + self.after_s


def _towards(value: float, seen: float) -> float:
    return value + (SLOWER if seen > value else FASTER) * (seen - value)
