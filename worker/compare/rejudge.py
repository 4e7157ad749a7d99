"""A bundle judges recorded frames as a worker would, one at a time: the same frames, the same scores, every time."""

from collections.abc import Iterable
from pathlib import Path

from model.bundle import Bundle, read_bundle
from model.engine import Engine
from model.errors import ContractError
from producers.errors import BadFrame
from producers.frame import decode
from producers.recording.replay import RecordedCapture
from worker.batcher import ReceivedFrame
from worker.compare.opinion import Opinion
from worker.judge import judge
from worker.verdict import Decision, Reason

BAD = Opinion(Decision.FAIL.value, Reason.BAD_FRAME.word)
UNNAMED = "unnamed"
"""A verdict names its recipe; an opinion need not, and the header may leave it to the worker."""


def of_bundle(path: Path, frames: Iterable[RecordedCapture], *, device: str) -> dict[str, Opinion]:
    """What a bundle says of frames, by their ids. Time is none of its business: nothing is late.

    Args:
        path: of the bundle.
        frames: recorded.
        device: `auto`, `cpu` or `cuda`.

    Raises:
        BundleError: it is damaged.
        DataError: no such device here.
    """
    bundle = read_bundle(path).on(device)
    engine = Engine.of(bundle, device=device)
    return {str(capture.header.id): _opinion(bundle, engine, capture) for capture in frames}


def _opinion(bundle: Bundle, engine: Engine, capture: RecordedCapture) -> Opinion:
    manifest = bundle.manifest
    try:
        manifest.contract.check_size(*capture.header.shape[:2])
        image = decode(capture.header, capture.payload)
        manifest.contract.check(image)
    except (BadFrame, ContractError):
        return BAD
    verdict = judge(
        ReceivedFrame(capture.header, b"", capture.header.recipe or UNNAMED, received=0.0, wire_us=0),
        engine.inspect([image])[0],
        manifest.calibration,
        model=bundle.label,
        worker="",
        late=False,
        valid_until_us=None,
        inspected_ns=0,
        latency_us={},
    )
    return Opinion.of(verdict.to_json())
