"""Making a bundle: read the good pictures, train, write everything at once; an interrupted training goes on."""

import json
import shutil
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

from model import charts
from model.backbone import describe_weights
from model.bundle import SCORES, TRAINING, Bundle, refuse_foreign, write_bundle
from model.contract import InputContract
from model.dataset import good_pictures, lots_of, read_each
from model.errors import BundleError, DataError
from model.features import CACHE_BYTES, Progress
from model.images import Image
from model.plan import Plan
from model.threshold import digest, with_mask
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
    found = read_each(good_pictures(data), skipped.append)
    images, lots = list(found.values()), lots_of(data, list(found))
    for error in skipped:
        tell(f"skipped: {error}")
    tell(describe_weights(plan.settings.weights))
    contract = InputContract.of(images)
    scoring = with_mask(plan.scoring, plan.ignore, plan.architecture, plan.preprocessing, images[0])
    scratch = _scratch(out)
    try:
        trained = train(
            images,
            plan,
            lots=lots,
            scoring=scoring,
            device=device,
            cache_bytes=cache_bytes,
            scratch=scratch,
            progress=progress,
        )
        bundle = write_bundle(
            out,
            trained.network,
            records=_records(trained, images),
            name=name or out.resolve().name,
            architecture=plan.architecture,
            preprocessing=plan.preprocessing,
            contract=contract,
            scoring=scoring,
            calibration=trained.calibration,
            modes=trained.modes,
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


def _records(trained: Trained, images: list[Image]) -> dict[str, bytes]:
    record = {
        "settings": asdict(trained.settings),
        "losses": trained.losses,
        "held_out_scores": trained.scores,
        "learned_from": [digest(images[index]) for index in trained.learned_from],
    }
    groups = {"held-out good pictures": trained.scores}
    return {
        TRAINING: json.dumps(record).encode(),
        "loss.png": charts.loss_curve(trained.losses),
        SCORES: charts.score_histogram(groups, threshold=trained.calibration.threshold),
    }
