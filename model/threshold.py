"""A bundle's threshold anew: from good pictures it has never seen, perhaps with another score rule or mask."""

import hashlib
import json
from collections.abc import Callable, Iterable
from pathlib import Path

from model import charts
from model.bundle import RECORDS, SCORES, TRAINING, Architecture, Bundle, read_bundle, write_bundle
from model.calibration import calibrate, rate_and_rank
from model.dataset import good_pictures, read_image, read_mask
from model.engine import Engine
from model.errors import DataError
from model.features import Progress
from model.gate import measure_modes
from model.images import Image
from model.modes import choose_device
from model.preprocessing import Preprocessing
from model.scoring import Scoring, ignored_cells


def recalibrate(
    path: Path,
    data: Path,
    *,
    false_reject_rate: float | None = None,
    top_k: int | None = None,
    min_area: int | None = None,
    ignore: Path | None = None,
    device: str = "auto",
    progress: Progress = lambda what, done, total: None,
    tell: Callable[[str], None] = lambda sentence: None,
) -> Bundle:
    """Scores fresh good pictures with the bundle's own engine and replaces its threshold, whole or not at all.

    The contract stays as training made it; a picture that looks too different for it counts as rejected.

    Args:
        path: of the bundle.
        data: good pictures, see `good_pictures`; those that the network has learned from are left out.
        false_reject_rate: see `calibrate`.
        top_k: of the score rule; None leaves the bundle's.
        min_area: likewise.
        ignore: picture of what is never judged; None leaves the bundle's mask.
        device: `auto`, `cpu` or `cuda`.
        progress: told what is going on.
        tell: told what a person should know, a sentence each.

    Raises:
        BundleError: no bundle, or it can't be written.
        DataError: too few pictures for the rate, or none that can be used.
    """
    bundle = read_bundle(path)
    images = unseen_pictures(path, data, bundle, tell=tell)
    manifest = bundle.manifest
    rate_and_rank(len(images), false_reject_rate)  # refused now, not after the work
    changes = {key: value for key, value in (("top_k", top_k), ("min_area", min_area)) if value is not None}
    scoring = manifest.scoring.model_copy(update=changes)
    scoring = with_mask(scoring, ignore, manifest.architecture, manifest.preprocessing, images[0])
    engine, scores, judged = Engine(bundle.network, manifest.preprocessing, scoring, device=device), [], []
    for done, image in enumerate(images):
        fault = manifest.contract.appearance_fault(image)
        if fault is None:
            scores.append(engine.inspect([image])[0].score)
            judged.append(image)
        else:
            tell(f"rejected whatever the threshold: {fault}")
        progress("threshold", done + 1, len(images))
    calibration = calibrate(scores, rejected=len(images) - len(scores), false_reject_rate=false_reject_rate)
    modes = measure_modes(
        bundle.network, manifest.preprocessing, scoring, judged, scores, calibration, choose_device(device)
    )
    records = {name: (path / name).read_bytes() for name in RECORDS if (path / name).is_file()}
    histogram = charts.score_histogram({"good pictures": scores}, threshold=calibration.threshold)
    fields = {name: getattr(manifest, name) for name in type(manifest).model_fields if name != "weights_sha256"}
    return write_bundle(
        path,
        bundle.network.cpu(),
        records={**records, SCORES: histogram},
        **{**fields, "scoring": scoring, "calibration": calibration, "modes": modes},
    )


def with_mask(
    scoring: Scoring, ignore: Path | None, architecture: Architecture, preprocessing: Preprocessing, image: Image
) -> Scoring:
    """A score rule with a mask laid over the network's cells.

    Args:
        scoring: without it, or with an older one.
        ignore: a picture of the frame's size; None leaves the rule as it is.
        architecture: of the network.
        preprocessing: from picture to input.
        image: one that will be judged.

    Raises:
        DataError: the mask is not of the frame's size, or covers everything.
    """
    if ignore is None:
        return scoring
    mask = read_mask(ignore)
    (height, width), (high, wide) = mask.shape, image.shape[:2]
    if (height, width) != (high, wide):
        raise DataError(f"{ignore} is {width} x {height} pixels, the good pictures are {wide} x {high}")
    cells = ignored_cells(mask, box=preprocessing.box(height, width), shape=architecture.grid(preprocessing.crop))
    return scoring.model_copy(update={"ignore": cells})


def digest(image: Image) -> str:
    """A picture's name by its pixels: whether a network has learned from it can be told after it was moved."""
    return hashlib.sha256(repr((image.shape, image.dtype.str)).encode() + image.tobytes()).hexdigest()[:16]


def unseen_pictures(path: Path, data: Path, bundle: Bundle, *, tell: Callable[[str], None]) -> list[Image]:
    """The good pictures that can be judged and that the network has not learned from.

    Args:
        path: of the bundle.
        data: see `good_pictures`.
        bundle: read from there.
        tell: told what was left out, a sentence each.

    Raises:
        DataError: there is none.
    """
    learned, images = _learned_from(path), judgeable(good_pictures(data), bundle, tell=tell)
    unseen = [image for image in images if digest(image) not in learned]
    seen = len(images) - len(unseen)
    if seen:
        tell(f"left out {seen} picture(s) that the network has learned from: their scores would flatter the threshold")
    if not unseen:
        raise DataError(f"not one picture in {data} can set a threshold")
    return unseen


def judgeable(paths: Iterable[Path], bundle: Bundle, *, tell: Callable[[str], None]) -> list[Image]:
    """The pictures that can be read and are of the bundle's format; the others are told, a sentence each."""
    images = []
    for path in paths:
        try:
            image = read_image(path)
            bundle.manifest.contract.check_format(image)
            images.append(image)
        except DataError as error:
            tell(f"skipped: {error}" if str(path) in str(error) else f"skipped: {path}: {error}")
    return images


def _learned_from(path: Path) -> set[str]:
    try:
        return set(json.loads((path / TRAINING).read_text(encoding="utf-8"))["learned_from"])
    except (OSError, ValueError, KeyError, TypeError):  # a bundle without a record is a bundle all the same
        return set()
