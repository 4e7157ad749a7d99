"""What is kept of a frame until its verdict is stored, and what is known of a worker meanwhile."""

import math
from dataclasses import dataclass, field

from producers.frame import Frame, FrameTag
from producers.protocol import GoneReason, Hello
from producers.states import State

Peer = bytes
"""A worker's routing id on the work socket."""


@dataclass
class Entry:
    """One frame that is kept.

    Attributes:
        tag: what outlives the pixels.
        frame: with its pixels, while they are kept.
        deadline: monotonic seconds; infinite if it has no budget.
        state: see there.
        reason: why it was given up, if it was.
        peer: the worker that has it, or is asked for its verdict.
        sent_at: monotonic seconds, when that one was sent it.
        attempt: from 1.
        refused_by: names of workers that handed it back or never answered.
        size: of its payload, bytes, whether it is still kept or not.
        id: its tag's, written out.
    """

    tag: FrameTag
    frame: Frame | None
    deadline: float = math.inf
    state: State = State.WAITING
    reason: GoneReason = "lost"
    peer: Peer | None = None
    sent_at: float = 0.0
    attempt: int = 1
    refused_by: set[str] = field(default_factory=set)
    size: int = 0
    id: str = field(init=False)

    def __post_init__(self) -> None:
        self.id = str(self.tag.id)  # once: it is asked for at every step

    @property
    def payload_bytes(self) -> int:
        """Of the pixels still held."""
        return len(self.frame.payload) if self.frame else 0


@dataclass
class Worker:
    """A worker that has said HELLO and is believed to live.

    Attributes:
        hello: what it said.
        last_heard: monotonic seconds.
        credit: frames it will take in all.
        least_s: of its budget that a frame must have left to be worth sending.
        sent: frames it was sent.
        order: the ids of the last of them, by their number.
        leaving: whether it has said BYE.
    """

    hello: Hello
    last_heard: float
    credit: int = 0
    least_s: float = 0.0
    sent: int = 0
    order: dict[int, str] = field(default_factory=dict)
    leaving: bool = False

    def offers(self, entry: Entry) -> bool:
        """Whether this worker knows the frame's recipe."""
        return entry.tag.recipe is None or entry.tag.recipe in self.hello.recipes

    def takes(self, entry: Entry) -> bool:
        """Whether this worker knows the frame's recipe, is not about to leave, and takes frames of this size."""
        return not self.leaving and self.offers(entry) and entry.payload_bytes <= self.hello.max_frame_bytes
