"""One picture out of a camera or a video, and what is known of it."""

from dataclasses import dataclass, replace

from producers.errors import BadFrame
from producers.frame import Color, FrameId, Image, PartTag
from producers.publisher import FramePublisher
from producers.transform import Transform

NOBODY_KNOWS = PartTag()


@dataclass(frozen=True)
class Snapshot:
    """A picture, or the place of one that should be here and isn't: either ends as one verdict.

    Attributes:
        image: `(H, W)` or `(H, W, 3)`, uint8, or uint16 with one channel; nobody writes to it any more. None: it is
            incomplete, or never came.
        captured: monotonic seconds.
        color: order of its channels, or its Bayer pattern.
        part: what is known of the part.
        flaw: why there is no picture, a sentence for the log.
        transform: from its pixels to the sensor's; None: they are the same.
        came: false for one that the camera took, and of which nothing came.
    """

    image: Image | None
    captured: float
    color: Color = "bgr"
    part: PartTag = NOBODY_KNOWS
    flaw: str = ""
    transform: Transform | None = None
    came: bool = True

    def of(self, part: PartTag) -> "Snapshot":
        """The same picture, of this part."""
        return replace(self, part=part)

    def publish(self, publisher: FramePublisher) -> FrameId:
        """Publishes its pixels, its age counted from when it was captured.

        Raises:
            BadFrame: there are none, or no frame can hold them.
        """
        if self.image is None:
            raise BadFrame(self.flaw)
        return publisher.publish(
            self.image,
            color=self.color,
            part_id=self.part.part_id,
            trigger=self.part.trigger,
            view=self.part.view,
            copy=False,
            transform=self.transform,
            captured=self.captured,
        )


def missing(flaw: str, *, captured: float, part: PartTag = NOBODY_KNOWS, came: bool = True) -> Snapshot:
    """The place of a picture that should be here and isn't."""
    return Snapshot(None, captured, part=part, flaw=flaw, came=came)
