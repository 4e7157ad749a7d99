"""What the gate goes by: its views, its times, and the view of a part as it is filled in. Pure."""

from dataclasses import dataclass
from typing import Literal

from worker.verdict import Verdict

Match = Literal["trigger", "part_id"]
Key = int | str
"""By what a verdict and a part are matched: a trigger's number, or a part's id."""
Arm = Literal["plc", "live"]


@dataclass(frozen=True)
class View:
    """One picture that every part must have.

    Attributes:
        camera: that takes it.
        view: its name, where a camera takes more than one; empty: whatever that camera takes.
    """

    camera: str
    view: str = ""

    def shows(self, camera: str, view: str | None) -> bool:
        """Whether a frame is a picture of this view."""
        return camera == self.camera and self.view in ("", view)


@dataclass(frozen=True)
class Rules:
    """What does not change while the gate works.

    Attributes:
        views: that every part must have.
        window_us: how long a part's timer runs.
        match: by what a verdict belongs to a part.
        arm: what starts a part's timer: the PLC's trigger, or the first header on the live topic.
        part_distance: parts between camera and gate.
        skip: so many triggers may be missing in a row without putting the gate out of step.
        sync_after: parts in a row with every view in time put it in step again.
        fault_after: parts in a row late or missing are a line fault.
        lead_us: a frame that was taken so long before its part's timer began is of another part; None: any may be. A
            frame of the part behind, after a pulse that the camera missed, is found only by a window that is over.
    """

    views: tuple[View, ...]
    window_us: int
    match: Match = "trigger"
    arm: Arm = "plc"
    part_distance: int = 0
    skip: int = 3
    sync_after: int = 3
    fault_after: int = 3
    lead_us: int | None = None

    def place_of(self, verdict: Verdict) -> int | None:
        """Which view a verdict is about; None: none of this gate's."""
        tag = verdict.tag
        return next((at for at, view in enumerate(self.views) if view.shows(tag.camera, tag.view)), None)
