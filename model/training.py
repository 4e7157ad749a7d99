"""Training: the frozen backbone runs once over the good pictures, then the head learns on the cached features."""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import cast

import torch
from torch import Generator, Tensor
from torch.optim.swa_utils import AveragedModel

from model.bundle import Architecture
from model.calibration import Calibration, calibrate, rate_and_rank
from model.engine import Engine, choose_device
from model.errors import DataError
from model.preprocessing import Image, Preprocessing
from model.simplenet import AnomalousFeatureGenerator, Head, SimpleNet, truncated_l1

PAPER_SIGMA = 0.015
# Shares of the features' spread, chosen on drawn parts (`producers.parts`), never on anybody's test pictures.
RELATIVE_SIGMA = 0.3
RELATIVE_SIGMA_RANDOM = 0.2  # random features fill their space more evenly

Progress = Callable[[str, int, int], None]
"""Called with (what is going on, done, total)."""


@dataclass(frozen=True)
class TrainSettings:
    """How a head is trained. The defaults are ours; `paper()` is section 4.3 of the paper.

    Attributes:
        weights: of the backbone, as `build_backbone` takes them.
        sigma: standard deviation of the anomalous features' noise; None takes a fixed share of the features' spread.
        steps: optimiser steps.
        positions: feature positions a step, drawn over the whole cache; 0 draws `batch_images` whole pictures.
        batch_images: pictures a step when `positions` is 0.
        learning_rate_adaptor: of Adam.
        learning_rate_discriminator: of Adam.
        weight_decay: of Adam.
        th: truncation of the loss.
        ema_decay: of the moving average of the weights that is kept, reached from below as steps go by (see
            `moving_average`); 0 keeps the last iterate.
        holdout: share of the good pictures kept for the threshold alone.
        seed: of the split, the head's start, the positions and the noise; and of random backbone weights.
    """

    weights: str = "random"
    sigma: float | None = None
    steps: int = 1000
    positions: int = 1024
    batch_images: int = 4
    learning_rate_adaptor: float = 1e-4
    learning_rate_discriminator: float = 2e-4
    weight_decay: float = 1e-5
    th: float = 0.5
    ema_decay: float = 0.995
    holdout: float = 0.2
    seed: int = 0

    def paper(self, training_images: int) -> "TrainSettings":
        """Section 4.3: 160 epochs of batches of four pictures, sigma 0.015, the last weights kept."""
        steps = 160 * math.ceil(training_images / 4)
        return replace(self, sigma=PAPER_SIGMA, steps=steps, positions=0, batch_images=4, ema_decay=0.0)

    def provenance(self) -> dict[str, str | int | float | bool | None]:
        """The settings as a flat record for the manifest."""
        return asdict(self)


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


def extract_features(
    network: SimpleNet, preprocessing: Preprocessing, images: Sequence[Image], *, device: str, progress: Progress
) -> Tensor:
    """The extractor's features of every picture: `(N, h * w, C)` float32, on the CPU."""
    extractor = network.extractor.to(device)
    features = []
    with torch.inference_mode():
        for index, image in enumerate(images):
            maps = extractor(preprocessing(image)[None].to(device))  # (1, C, h, w)
            features.append(maps[0].flatten(1).T.contiguous().cpu())  # (h * w, C)
            progress("features", index + 1, len(images))
    return torch.stack(features).clone()


def spread(features: Tensor) -> float:
    """Standard deviation of the features, root mean square over channels. Features: (N, C)."""
    return float(features.var(dim=0).mean().sqrt())


def train_head(head: Head, features: Tensor, settings: TrainSettings, *, device: str, progress: Progress) -> Head:
    """Trains a head on cached features (section 3.5, Algorithm 1).

    Args:
        head: freshly initialised.
        features: `(N, h * w, C)` float32.
        settings: see `TrainSettings`; `sigma` must be set.
        device: where to train.
        progress: told after each step.

    Returns:
        The moving average of the head, or the last iterate where `ema_decay` is 0; in evaluation mode.

    Raises:
        DataError: a feature or the loss is not finite.
    """
    if settings.sigma is None or not torch.isfinite(features).all():
        raise DataError("the backbone's features are not finite: look at the pictures and the weights")
    generator = Generator().manual_seed(settings.seed)
    noise = AnomalousFeatureGenerator(settings.sigma, Generator(device).manual_seed(settings.seed))
    head = head.to(device).train()
    kept = AveragedModel(head, avg_fn=moving_average(settings.ema_decay), use_buffers=True)
    optimiser = torch.optim.Adam(
        [
            {"params": head.adaptor.parameters(), "lr": settings.learning_rate_adaptor},
            {"params": head.discriminator.parameters(), "lr": settings.learning_rate_discriminator},
        ],
        weight_decay=settings.weight_decay,
    )
    for step, drawn in enumerate(draw(features, settings, generator)):
        adapted = head.adaptor(drawn.to(device))
        normality = head.discriminator(torch.cat([adapted, noise(adapted)]))  # one batch for batch norm
        normal, anomalous = normality.chunk(2)
        loss = truncated_l1(normal, anomalous, th=settings.th)
        if not math.isfinite(loss.item()):
            raise DataError(f"training diverged at step {step + 1}: the loss is not finite")
        optimiser.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        kept.update_parameters(head)
        progress("training", step + 1, settings.steps)
    return cast(Head, kept.module).eval().cpu()


def moving_average(decay: float) -> Callable[[Tensor, Tensor, Tensor | int], Tensor]:
    """An exponential moving average that forgets its start.

    The decay at step t is the smaller of `decay` and (1 + t) / (10 + t): a short training would otherwise keep mostly
    the weights that it began with.
    """

    def average(kept: Tensor, fresh: Tensor, step: Tensor | int) -> Tensor:
        at_step = min(decay, (1 + int(step)) / (10 + int(step)))
        return torch.lerp(fresh, kept, at_step) if fresh.is_floating_point() else fresh

    return average


def draw(features: Tensor, settings: TrainSettings, generator: Generator) -> Iterable[Tensor]:
    """The positions of each step: `(positions, C)` at random over all of the cache, or whole pictures."""
    images, _, channels = features.shape
    flat = features.reshape(-1, channels)
    for _ in range(settings.steps):
        if settings.positions:
            yield flat[torch.randint(len(flat), (settings.positions,), generator=generator)]
        else:
            chosen = torch.randperm(images, generator=generator)[: settings.batch_images]
            yield features[chosen].reshape(-1, channels)


def train(
    images: Sequence[Image],
    *,
    architecture: Architecture,
    preprocessing: Preprocessing,
    settings: TrainSettings,
    paper: bool = False,
    false_reject_rate: float | None = None,
    device: str = "auto",
    progress: Progress = lambda what, done, total: None,
) -> tuple[SimpleNet, Calibration, TrainSettings]:
    """From good pictures to a network and its threshold.

    Args:
        images: good pictures, `(H, W)` grey or `(H, W, 3)` RGB.
        architecture: what to build.
        preprocessing: from picture to input.
        settings: see `TrainSettings`.
        paper: replace the recipe's numbers by those of the paper.
        false_reject_rate: see `calibrate`.
        device: `auto`, `cpu` or `cuda`.
        progress: told what is going on.

    Returns:
        The network, the threshold taken from the held-out pictures, and the settings as they were used.

    Raises:
        DataError: too few pictures, weights that don't fit, features that are not finite.
    """
    chosen = choose_device(device)
    training, held = split(len(images), holdout=settings.holdout, seed=settings.seed)
    rate_and_rank(len(held), false_reject_rate)  # refused now, not after the training
    if paper:
        settings = settings.paper(len(training))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(settings.seed)
        network = architecture.build(weights=settings.weights, seed=settings.seed)
    features = extract_features(
        network, preprocessing, [images[index] for index in training], device=chosen, progress=progress
    )
    if settings.sigma is None:
        share = RELATIVE_SIGMA_RANDOM if settings.weights == "random" else RELATIVE_SIGMA
        settings = replace(settings, sigma=share * spread(features.flatten(0, 1)))
    network.head = train_head(network.head, features, settings, device=chosen, progress=progress)
    engine = Engine(network, preprocessing, device=chosen)
    scores = []
    for done, index in enumerate(held):
        scores.append(engine.inspect([images[index]])[0].score)
        progress("threshold", done + 1, len(held))
    return network.cpu(), calibrate(scores, false_reject_rate=false_reject_rate), settings
