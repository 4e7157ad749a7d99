"""Training: from good pictures to a network and its threshold."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Generator

from model.calibration import Calibration, calibrate, rate_and_rank
from model.engine import Engine
from model.errors import DataError
from model.features import CACHE_BYTES, Progress, extract_features, spread
from model.fitting import HeadTraining, fit
from model.gate import measure_modes
from model.images import Image
from model.modes import ModeRecord, choose_device
from model.plan import Plan
from model.scoring import Scoring
from model.settings import TrainSettings
from model.simplenet import SimpleNet


@dataclass(frozen=True)
class Trained:
    """What came of a training.

    Attributes:
        network: ready for a bundle, on the CPU.
        calibration: the threshold, from the held-out pictures.
        modes: what faster ways to compute did on them.
        settings: as they were used.
        losses: of each step.
        scores: of the held-out pictures.
        learned_from: indices of the pictures that trained the network.
    """

    network: SimpleNet
    calibration: Calibration
    modes: dict[str, ModeRecord]
    settings: TrainSettings
    losses: list[float]
    scores: list[float]
    learned_from: list[int]


def split(count: int, *, holdout: float, seed: int, lots: Sequence[str] | None = None) -> tuple[list[int], list[int]]:
    """A seeded split of pictures into (training, held out), each in order.

    Args:
        count: of the pictures.
        holdout: share to hold out; with lots it may become more, because a lot is never divided.
        seed: of the order in which they are taken.
        lots: of the pictures, where they are known. Pictures of one lot look alike: if some of them were learned, the
            others' scores would flatter the threshold.

    Raises:
        DataError: fewer than three pictures: one to learn from and two for the threshold; or one lot has them all.
    """
    if count < 3:
        raise DataError(f"{count} readable good picture(s): training needs one and the threshold two more, at least")
    members: dict[object, list[int]] = {}
    for index in torch.randperm(count, generator=Generator().manual_seed(seed)).tolist():
        members.setdefault(index if lots is None else lots[index], []).append(index)
    wanted, held = min(max(2, round(count * holdout)), count - 1), list[int]()
    for lot in members.values():
        if len(held) < wanted and len(held) + len(lot) < count:  # something is left to learn from
            held += lot
    if len(held) < 2:
        raise DataError(f"{count} good pictures of {len(members)} lot(s) can't be split: a lot is never divided")
    return sorted(set(range(count)) - set(held)), sorted(held)


def train(
    images: Sequence[Image],
    plan: Plan,
    *,
    lots: Sequence[str] | None = None,
    scoring: Scoring | None = None,
    device: str = "auto",
    cache_bytes: int = CACHE_BYTES,
    scratch: Path | None = None,
    progress: Progress = lambda what, done, total: None,
) -> Trained:
    """Trains a head on a frozen backbone's features and takes the threshold from pictures it never saw.

    Args:
        images: good pictures, `(H, W)` grey or `(H, W, 3)` RGB.
        plan: what to train and how.
        lots: of the pictures, see `split`.
        scoring: the score rule with its mask; by default the plan's, without one.
        device: `auto`, `cpu` or `cuda`.
        cache_bytes: features beyond this lie in a file.
        scratch: folder for that file, and for the checkpoint that an interrupted training goes on from.
        progress: told what is going on.

    Raises:
        DataError: too few pictures, weights that don't fit, features that are not finite.
    """
    chosen = choose_device(device)
    training, held = split(len(images), holdout=plan.settings.holdout, seed=plan.settings.seed, lots=lots)
    rate_and_rank(len(held), plan.false_reject_rate)  # refused now, not after the training
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(plan.settings.seed)
        network = plan.architecture.build(weights=plan.settings.weights, seed=plan.settings.seed)
    features = extract_features(
        network.extractor,
        plan.preprocessing,
        [images[index] for index in training],
        device=chosen,
        progress=progress,
        budget_bytes=cache_bytes,
        folder=scratch,
    )
    settings = plan.settings_for(*features.shape[:2]).resolved(spread(features))
    head = HeadTraining(network.head, features, settings, device=chosen)
    network.head = fit(head, progress=progress, checkpoint=scratch and scratch / "checkpoint.pt")
    engine = Engine(network, plan.preprocessing, scoring or plan.scoring, device=chosen)
    scores = []
    for done, index in enumerate(held):
        scores.append(engine.inspect([images[index]])[0].score)
        progress("threshold", done + 1, len(held))
    calibration = calibrate(scores, false_reject_rate=plan.false_reject_rate)
    pictures = [images[index] for index in held]
    modes = measure_modes(network, plan.preprocessing, engine.scoring, pictures, scores, calibration, chosen)
    return Trained(network.cpu(), calibration, modes, settings, head.losses, scores, training)
