"""What somebody says of a frame: as much of a verdict as can be compared. No torch."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

Box = tuple[int, int, int, int]
"""x, y, width, height in frame pixels."""


@dataclass(frozen=True)
class Opinion:
    """What one judge says of one frame.

    Attributes:
        decision: `pass` or `fail`.
        reason: its word.
        score: None if the frame was not judged.
        severity: 0 at the median good score, 1 at the threshold; likewise.
        boxes: of its defects.
        model: bundle name and digest; empty if the frame was not judged.
    """

    decision: str
    reason: str
    score: float | None = None
    severity: float | None = None
    boxes: tuple[Box, ...] = ()
    model: str = ""

    @classmethod
    def of(cls, verdict: Mapping[str, Any]) -> "Opinion":
        """Of a verdict as JSON has it.

        Raises:
            KeyError: a field is missing; ValueError or TypeError: it is of another kind.
        """
        return cls(
            decision=str(verdict["decision"]),
            reason=str(verdict["reason"]),
            score=_number(verdict.get("score")),
            severity=_number(verdict.get("severity")),
            boxes=tuple(_box(region["box"]) for region in verdict.get("regions") or ()),
            model=str(verdict.get("model") or ""),
        )

    @property
    def word(self) -> str:
        """The decision, and why if it is no pass."""
        return self.decision if self.decision == "pass" else f"fail {self.reason}"

    @property
    def text(self) -> str:
        """For people: the decision, why, and how far from the threshold."""
        return self.word if self.severity is None else f"{self.word} {self.severity:.3g}"

    def says_as(self, other: "Opinion") -> bool:
        """Whether both say the same of the part."""
        return (self.decision, self.reason) == (other.decision, other.reason)


def _number(value: Any) -> float | None:
    return None if value is None else float(value)


def _box(values: Any) -> Box:
    x, y, width, height = (int(value) for value in values)
    return x, y, width, height
