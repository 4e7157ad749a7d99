"""What differs between two judges, frame by frame. Pure."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from producers.frame import FrameTag
from worker.compare.opinion import Opinion


@dataclass(frozen=True)
class Change:
    """A frame of which they say different things: another decision, or another reason."""

    frame: FrameTag
    before: Opinion
    after: Opinion

    def to_json(self) -> dict[str, Any]:
        """For machines."""
        said = {"before": vars(self.before), "after": vars(self.after)}
        return {"id": str(self.frame.id), "part_id": self.frame.part_id, "captured_ns": self.frame.captured_ns, **said}


@dataclass(frozen=True)
class Comparison:
    """What came of it.

    Attributes:
        frames: recorded.
        compared: of them, those that both say something of.
        changes: in the recording's order.
        rescored: frames with another score, whatever is said of them.
        largest_score_change: between two scores of a frame.
        without_before: frames that the first has no verdict for.
        without_after: likewise, the second.
    """

    frames: int
    compared: int
    changes: tuple[Change, ...]
    rescored: int
    largest_score_change: float
    without_before: int
    without_after: int

    @property
    def kinds(self) -> Counter[str]:
        """Changes by what became what."""
        return Counter(f"{change.before.word} -> {change.after.word}" for change in self.changes)

    @property
    def same(self) -> bool:
        """Whether both say the same of every frame."""
        return not self.changes and not self.without_before and not self.without_after

    def to_json(self) -> dict[str, Any]:
        """For machines."""
        flat = {name: value for name, value in vars(self).items() if name != "changes"}
        changed = {"changed": len(self.changes), "kinds": dict(self.kinds)}
        return {**flat, **changed, "same": self.same, "changes": [change.to_json() for change in self.changes]}


def compare(frames: Iterable[FrameTag], before: Mapping[str, Opinion], after: Mapping[str, Opinion]) -> Comparison:
    """Compares what two say of the same frames.

    Args:
        frames: recorded.
        before: what the first says, by the frame's id.
        after: what the second says.
    """
    changes: list[Change] = []
    count = compared = rescored = without_before = without_after = 0
    largest = 0.0
    for frame in frames:
        count += 1
        one, other = before.get(str(frame.id)), after.get(str(frame.id))
        without_before += one is None
        without_after += other is None
        if one is None or other is None:
            continue
        compared += 1
        if one.score != other.score:
            rescored += 1
            largest = max(largest, abs((one.score or 0.0) - (other.score or 0.0)))
        if not one.says_as(other):
            changes.append(Change(frame, one, other))
    return Comparison(count, compared, tuple(changes), rescored, largest, without_before, without_after)
