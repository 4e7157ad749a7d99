"""Making a bundle: read the good pictures, train, write everything at once; an interrupted training goes on."""

import json
import shutil
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

from model import charts
from model.bundle import Bundle, refuse_foreign, write_bundle
from model.dataset import good_pictures, read_all, read_mask
from model.errors import BundleError, DataError
from model.features import CACHE_BYTES, Progress
from model.plan import Plan
from model.preprocessing import Image, InputContract
from model.scoring import Scoring, ignored_cells
from model.training import Trained, train


def make_bundle(
    data: Path,
    out: Path,
    plan: Plan,
    *,
    name: str | None = None,
    device: str = "auto",
    cache_bytes: int = CACHE_BYTES,
    progress: Progress = lambda what, done, total: None,
    tell: Callable[[str], None] = lambda sentence: None,
) -> Bundle:
    """Trains on the good pictures of `data` and writes the bundle, whole or not at all.

    Args:
        data: see `good_pictures`.
        out: the bundle's directory.
        plan: what to train and how.
        name: of the recipe; by default the directory's name.
        device: `auto`, `cpu` or `cuda`.
        cache_bytes: features beyond this lie in a file beside `out`.
        progress: told what is going on.
        tell: told what a person should know, a sentence each.

    Raises:
        DataError: pictures, weights or numbers that can't be used.
        BundleError: `out` is something else, or can't be written.
    """
    refuse_foreign(out)
    skipped: list[DataError] = []
    images = read_all(good_pictures(data), skipped.append)
    for error in skipped:
        tell(f"skipped: {error}")
    if plan.settings.weights == "random":
        tell("backbone weights are random (seeded): good enough to try, pass --weights for real work")
    contract, scoring = InputContract.of(images), _scoring(plan, images)
    scratch = _scratch(out)
    try:
        trained = train(
            images, plan, scoring=scoring, device=device, cache_bytes=cache_bytes, scratch=scratch, progress=progress
        )
        bundle = write_bundle(
            out,
            trained.network,
            records=_records(trained),
            name=name or out.resolve().name,
            architecture=plan.architecture,
            preprocessing=plan.preprocessing,
            contract=contract,
            scoring=scoring,
            calibration=trained.calibration,
            provenance={
                **trained.settings.provenance(),
                "preset": plan.preset,
                "good_pictures": len(images),
                "skipped": len(skipped),
            },
        )
    except BaseException:
        if not any(scratch.iterdir()):  # there is nothing to go on from
            scratch.rmdir()
        raise
    shutil.rmtree(scratch)
    return bundle


def _scratch(out: Path) -> Path:
    """The folder beside the bundle that holds what an interrupted training goes on from."""
    scratch = out.parent / f".{out.name}.training"
    try:
        scratch.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise BundleError(f"{scratch} can't be made: {error.strerror}") from error
    return scratch


def _scoring(plan: Plan, images: list[Image]) -> Scoring:
    """The plan's score rule, with its mask laid over the network's cells."""
    if plan.ignore is None:
        return plan.scoring
    mask = read_mask(plan.ignore)
    height, width = mask.shape
    if (height, width) != images[0].shape[:2]:
        raise DataError(
            f"{plan.ignore} is {width} x {height} pixels, the good pictures are "
            f"{images[0].shape[1]} x {images[0].shape[0]}"
        )
    shape = plan.architecture.grid(plan.preprocessing.crop)
    cells = ignored_cells(mask, box=plan.preprocessing.box(height, width), shape=shape)
    return plan.scoring.model_copy(update={"ignore": cells})


def _records(trained: Trained) -> dict[str, bytes]:
    record = {"settings": asdict(trained.settings), "losses": trained.losses, "held_out_scores": trained.scores}
    groups = {"held-out good pictures": trained.scores}
    return {
        "training.json": json.dumps(record).encode(),
        "loss.png": charts.loss_curve(trained.losses),
        "scores.png": charts.score_histogram(groups, threshold=trained.calibration.threshold),
    }
