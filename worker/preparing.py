"""From bytes to pixels: what happens to a frame before it waits for the engine. Any thread."""

import time
from collections.abc import Mapping
from dataclasses import dataclass

from model.errors import ContractError
from model.images import Image
from producers.errors import BadFrame
from producers.frame import decode
from worker.batcher import ReceivedFrame
from worker.recipes import Recipe
from worker.verdict import Reason


@dataclass(frozen=True, kw_only=True)
class PreparedFrame(ReceivedFrame):
    """A frame that can go into the engine; its payload is gone, the picture is here.

    Attributes:
        image: `(H, W)` grey or `(H, W, 3)` RGB, uint8 or uint16.
        bundle: that judges it from here on, though its recipe may have a newer one by then.
        prepare_s: seconds that the decoding and checking took.
    """

    image: Image
    bundle: Recipe
    prepare_s: float


class Unfit(Exception):
    """A frame that no engine is asked about; the text is a sentence for people.

    Args:
        reason: of its verdict.
        note: that sentence.
        image: the picture, if there is one.
    """

    def __init__(self, reason: Reason, note: str, image: Image | None = None) -> None:
        super().__init__(note)
        self.reason, self.image = reason, image


def prepare(frame: ReceivedFrame, recipes: Mapping[str, Recipe]) -> PreparedFrame:
    """Decodes a frame and holds it to the contract of its bundle.

    Args:
        frame: as received.
        recipes: in use, by name.

    Raises:
        Unfit: its recipe has no bundle here, its budget is over, or it is no picture that the bundle can judge.
    """
    started = time.monotonic()
    if frame.deadline < started:
        raise Unfit(Reason.EXPIRED, "its budget ran out before it could be judged")
    bundle = recipes.get(frame.recipe)
    if bundle is None:
        raise Unfit(Reason.NO_RECIPE, f"no bundle for recipe {frame.recipe}")
    contract, image = bundle.manifest.contract, None
    try:
        contract.check_size(*frame.header.shape[:2])  # a small file may claim to be a huge picture
        image = decode(frame.header, frame.payload)
        contract.check(image)
    except (BadFrame, ContractError) as error:  # one bad frame never harms its neighbours
        raise Unfit(Reason.BAD_FRAME, str(error), image) from error
    return PreparedFrame(
        frame.header,
        b"",
        frame.recipe,
        frame.received,
        frame.wire_us,
        frame.deadline,
        image=image,
        bundle=bundle,
        prepare_s=time.monotonic() - started,
    )
