"""Training: from good pictures to a network and its threshold."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Generator

from model.calibration import Calibration, calibrate, rate_and_rank
from model.engine import Engine, choose_device
from model.errors import DataError
from model.features import CACHE_BYTES, Progress, extract_features, spread
from model.fitting import HeadTraining, fit
from model.images import Image
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
        settings: as they were used.
        losses: of each step.
        scores: of the held-out pictures.
        learned_from: indices of the pictures that trained the network.
    """

    network: SimpleNet
    calibration: Calibration
    settings: TrainSettings
    losses: list[float]
    scores: list[float]
    learned_from: list[int]


def split(count: int, *, holdout: float, seed: int) -> tuple[list[int], list[int]]:
    """A seeded split of `count` pictures into (training, held out), each in order.

    Raises:
        DataError: fewer than three pictures: one to learn from and two for the threshold.
    """
    if count < 3:
        raise DataError(f"{count} readable good picture(s): training needs one and the threshold two more, at least")
    order = torch.randperm(count, generator=Generator().manual_seed(seed)).tolist()
    held = min(max(2, round(count * holdout)), count - 1)
    return sorted(order[held:]), sorted(order[:held])


def train(
    images: Sequence[Image],
    plan: Plan,
    *,
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
        scoring: the score rule with its mask; by default the plan's, without one.
        device: `auto`, `cpu` or `cuda`.
        cache_bytes: features beyond this lie in a file.
        scratch: folder for that file, and for the checkpoint that an interrupted training goes on from.
        progress: told what is going on.

    Raises:
        DataError: too few pictures, weights that don't fit, features that are not finite.
    """
    chosen = choose_device(device)
    training, held = split(len(images), holdout=plan.settings.holdout, seed=plan.settings.seed)
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
    return Trained(network.cpu(), calibration, settings, head.losses, scores, training)
