"""Fitting the head to cached features (paper, section 3.5 and Algorithm 1), interruptible at every step."""

import hashlib
import json
import math
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any, cast

import torch
from torch import Generator, Tensor
from torch.optim.swa_utils import AveragedModel

from model.errors import DataError
from model.features import Progress
from model.settings import TrainSettings
from model.simplenet import AnomalousFeatureGenerator, Head, cross_entropy, truncated_l1

CHECKPOINT_EVERY_S = 15.0


class HeadTraining:
    """A head in training: everything that the next step depends on, as one state that can be stored and taken up.

    Args:
        head: freshly initialised; its adaptor starts anew where the settings say so.
        features: `(N, h * w, C)` float32, finite.
        settings: `sigma` must be set.
        device: where to train.
    """

    def __init__(self, head: Head, features: Tensor, settings: TrainSettings, *, device: str) -> None:
        if settings.sigma is None:
            raise DataError("the anomaly noise sigma is not set")
        self.settings, self.features, self.device = settings, features, device
        if settings.adaptor_start == "identity":
            head.adaptor.start_as_identity()
        self.head = head.to(device).train()
        self.kept = AveragedModel(self.head, avg_fn=moving_average(settings.ema_decay), use_buffers=True)
        self.optimiser = torch.optim.Adam(
            [
                {"params": self.head.adaptor.parameters(), "lr": settings.learning_rate_adaptor},
                {"params": self.head.discriminator.parameters(), "lr": settings.learning_rate_discriminator},
            ],
            weight_decay=settings.weight_decay,
        )
        self.positions = Generator().manual_seed(settings.seed)
        self.noise = AnomalousFeatureGenerator(settings.sigma, Generator(device).manual_seed(settings.seed))
        self.losses: list[float] = []

    @property
    def done(self) -> bool:
        """Whether all steps are taken."""
        return len(self.losses) >= self.settings.steps

    def step(self) -> None:
        """One optimiser step.

        Raises:
            DataError: the loss is not finite.
        """
        drawn = self._draw()  # (N, C)
        adapted = self.head.adaptor(drawn)
        normality = self.head.discriminator(torch.cat([adapted, self.noise(adapted)]))  # one batch for batch norm
        loss = self._loss(*normality.chunk(2))
        self.losses.append(loss.item())
        if not math.isfinite(self.losses[-1]):
            raise DataError(f"training diverged at step {len(self.losses)}: the loss is not finite")
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        self.optimiser.step()
        self.kept.update_parameters(self.head)

    def _draw(self) -> Tensor:
        drawn = draw(self.features, self.settings, step=len(self.losses), generator=self.positions)
        return drawn.to(self.device)

    def _loss(self, normal: Tensor, anomalous: Tensor) -> Tensor:
        if self.settings.loss == "cross_entropy":
            return cross_entropy(normal, anomalous)
        return truncated_l1(normal, anomalous, th=self.settings.th)

    def result(self) -> Head:
        """The moving average of the head, or the last iterate where `ema_decay` is 0; in evaluation mode."""
        return cast(Head, self.kept.module).eval().cpu()

    def state(self) -> dict[str, Any]:
        """Everything the next step depends on but the features."""
        return {
            "fingerprint": self.fingerprint(),
            "losses": self.losses,
            "head": self.head.state_dict(),
            "kept": self.kept.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "positions": self.positions.get_state(),
            "noise": self.noise.generator.get_state(),
        }

    def take_up(self, state: dict[str, Any]) -> bool:
        """Goes on from a stored state; False, and nothing is changed, if it is of another training."""
        if state.get("fingerprint") != self.fingerprint():
            return False
        self.head.load_state_dict(state["head"])
        self.kept.load_state_dict(state["kept"])
        self.optimiser.load_state_dict(state["optimiser"])
        self.positions.set_state(state["positions"].cpu())
        self.noise.generator.set_state(state["noise"].cpu())
        self.losses = list(state["losses"])
        return True

    def fingerprint(self) -> str:
        """Which training this is: its settings, and a sample of its features."""
        flat = self.features.flatten(0, 1)
        sample = flat[:: max(1, len(flat) // 4096)].contiguous()
        settings = json.dumps({**asdict(self.settings), "shape": list(self.features.shape)}, sort_keys=True)
        return hashlib.sha256(settings.encode() + sample.numpy().tobytes()).hexdigest()


def fit(training: HeadTraining, *, progress: Progress, checkpoint: Path | None = None) -> Head:
    """Takes all steps that are left.

    Args:
        training: fresh.
        progress: told after each step.
        checkpoint: file that the state is stored in now and then; a state of this very training is taken up from it.

    Returns:
        The head that is kept, see `HeadTraining.result`.

    Raises:
        DataError: training diverged.
    """
    if checkpoint is not None and checkpoint.is_file():
        training.take_up(read_checkpoint(checkpoint))
    stored = time.monotonic()
    while not training.done:
        training.step()
        progress("training", len(training.losses), training.settings.steps)
        if checkpoint is not None and time.monotonic() - stored > CHECKPOINT_EVERY_S:
            write_checkpoint(checkpoint, training.state())
            stored = time.monotonic()
    return training.result()


def draw(features: Tensor, settings: TrainSettings, *, step: int, generator: Generator) -> Tensor:
    """The positions of a step: `(positions, C)` at random over all of the cache, or those of whole pictures.

    Whole pictures come as in the paper: every epoch takes each of them once, in an order of its own.
    """
    images, _, channels = features.shape
    if settings.positions:
        flat = features.reshape(-1, channels)
        return flat[torch.randint(len(flat), (settings.positions,), generator=generator)]
    batch = settings.batch_images
    epoch, place = divmod(step, math.ceil(images / batch))
    order = torch.randperm(images, generator=Generator().manual_seed(settings.seed * 100_003 + epoch))
    return features[order[place * batch : (place + 1) * batch]].reshape(-1, channels)


def moving_average(decay: float) -> Callable[[Tensor, Tensor, Tensor | int], Tensor]:
    """An exponential moving average that forgets its start.

    The decay at step t is the smaller of `decay` and (1 + t) / (10 + t): a short training would otherwise keep mostly
    the weights that it began with.
    """

    def average(kept: Tensor, fresh: Tensor, step: Tensor | int) -> Tensor:
        at_step = min(decay, (1 + int(step)) / (10 + int(step)))
        return torch.lerp(fresh, kept, at_step) if fresh.is_floating_point() else fresh

    return average


def read_checkpoint(checkpoint: Path) -> dict[str, Any]:
    """A stored state; empty if it can't be read."""
    try:
        state = torch.load(checkpoint, map_location="cpu", weights_only=True)
    except Exception:  # a checkpoint that can't be read is worth as much as none: train from the start
        return {}
    return state if isinstance(state, dict) else {}


def write_checkpoint(checkpoint: Path, state: dict[str, Any]) -> None:
    """Stores a state, whole or not at all."""
    fresh = checkpoint.with_name(checkpoint.name + ".fresh")
    try:
        torch.save(state, fresh)
        fresh.replace(checkpoint)  # whole or not at all
    except (OSError, RuntimeError):  # a full disk costs the checkpoint, not the training
        fresh.unlink(missing_ok=True)
