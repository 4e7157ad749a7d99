"""Which faster ways to compute a bundle bears: each is tried on the pictures that set the threshold."""

from collections.abc import Sequence

from model.calibration import Calibration, calibrate
from model.engine import Engine
from model.errors import DataError
from model.images import Image
from model.modes import EXACT, ModeRecord, modes_here
from model.preprocessing import Preprocessing
from model.scoring import Scoring
from model.simplenet import SimpleNet


def measure_modes(
    network: SimpleNet,
    preprocessing: Preprocessing,
    scoring: Scoring,
    images: Sequence[Image],
    exact: Sequence[float],
    calibration: Calibration,
    device: str,
) -> dict[str, ModeRecord]:
    """Every mode of this machine but float32, with its own threshold and what it changes.

    Args:
        network: trained.
        preprocessing: from picture to input.
        scoring: from map to score.
        images: the held-out good pictures that were scored.
        exact: their scores in float32.
        calibration: the threshold from `exact`.
        device: `cpu`, `cuda` or `cuda:1`.

    Returns:
        By `str(Mode)`. A mode that can't compute this network, or leaves it without a threshold, is not in it.
    """
    records = {}
    for mode in modes_here(device):
        if mode in EXACT.values():
            continue
        try:
            engine = Engine(network, preprocessing, scoring, device=device, mode=mode)
            scores = [engine.inspect([image])[0].score for image in images]
            own = calibrate(
                scores, rejected=calibration.images - len(scores), false_reject_rate=calibration.false_reject_rate
            )
        except DataError:
            continue
        records[str(mode)] = ModeRecord.of(exact, scores, calibration, own)
    return records
