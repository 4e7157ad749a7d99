"""Pretraining: a ResNet trunk learns to name the places of drawn surfaces; interruptible at every step."""

import hashlib
import json
import math
import time
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Generator, Tensor, nn
from torchvision import models

from model.errors import DataError
from model.features import Progress
from model.fitting import read_checkpoint, write_checkpoint
from model.preprocessing import IMAGENET_MEAN, IMAGENET_STD
from model.pretrain.places import Places, Readers, Surfaces

CHECKPOINT_EVERY_S = 60.0
WEIGHTS = {"texture": 1.0, "direction": 0.5, "fine": 2.0, "coarse": 2.0}
"""Of each question in the loss."""


@dataclass(frozen=True)
class PretrainSettings:
    """How a trunk is pretrained.

    Attributes:
        pictures: drawn in all; each is seen once.
        size: of a picture, pixels; a multiple of 16.
        batch: pictures a step.
        learning_rate: of AdamW at its height; it rises over the warm-up and falls along a cosine.
        weight_decay: of AdamW.
        warm_up: steps with small pictures and a rising learning rate.
        warm_up_size: of those pictures, pixels.
        seed: of everything.
    """

    pictures: int = 250_000
    size: int = 96
    batch: int = 64
    learning_rate: float = 2e-3
    weight_decay: float = 0.02
    warm_up: int = 400
    warm_up_size: int = 48
    seed: int = 0

    @property
    def steps(self) -> int:
        """Optimiser steps."""
        return math.ceil(self.pictures / self.batch)

    def rate(self, step: int) -> float:
        """The learning rate of a step."""
        return self.learning_rate * min(
            (step + 1) / self.warm_up, 0.5 * (1 + math.cos(math.pi * min(1.0, step / self.steps)))
        )


class Pretraining:
    """A trunk in training: everything that the next step depends on, as one state.

    Args:
        settings: the recipe.
        device: where to draw and train.
        half: whether products are computed in bfloat16.
        photographs: see `Surfaces`.
    """

    def __init__(
        self, settings: PretrainSettings, *, device: str, half: bool, photographs: Sequence[Tensor] = ()
    ) -> None:
        self.settings, self.device, self.half = settings, device, half
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(settings.seed)
            resnet = models.resnet18(weights=None)
            del resnet.layer4, resnet.fc
            readers = Readers(fine=128, coarse=256)
        self.trunk: Any = resnet.to(device).to(memory_format=torch.channels_last).train()
        self.readers = readers.to(device).to(memory_format=torch.channels_last)
        self.learnt = nn.ModuleList([self.trunk, self.readers])
        self.optimiser = torch.optim.AdamW(self.learnt.parameters(), weight_decay=settings.weight_decay)
        self.surfaces = Surfaces(seed=settings.seed, device=device, photographs=photographs)
        self.chance = Generator(device).manual_seed(settings.seed)
        self.losses: dict[str, list[float]] = {name: [] for name in WEIGHTS}

    @property
    def taken(self) -> int:
        """Steps so far."""
        return len(self.losses["texture"])

    def step(self) -> None:
        """One optimiser step on a batch that nobody has seen.

        Raises:
            DataError: the loss is not finite.
        """
        settings = self.settings
        size = settings.warm_up_size if self.taken < settings.warm_up else settings.size
        places = self.surfaces.draw(settings.batch, size, self.chance)
        for group in self.optimiser.param_groups:
            group["lr"] = settings.rate(self.taken)
        found = self._losses(places)
        for name, loss in found.items():
            self.losses[name].append(loss.item())
        total = sum((WEIGHTS[name] * loss for name, loss in found.items()), torch.zeros((), device=self.device))
        if not math.isfinite(total.item()):
            raise DataError(f"pretraining diverged at step {self.taken}: the loss is not finite")
        self.optimiser.zero_grad(set_to_none=True)
        total.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(self.learnt.parameters(), 5.0)
        self.optimiser.step()

    def _losses(self, places: Places) -> dict[str, Tensor]:
        mean, std = (torch.tensor(each, device=self.device)[:, None, None] for each in (IMAGENET_MEAN, IMAGENET_STD))
        pixels = ((places.pixels - mean) / std).contiguous(memory_format=torch.channels_last)
        with torch.autocast(self.device.split(":")[0], torch.bfloat16) if self.half else nullcontext():
            x = self.trunk.maxpool(self.trunk.relu(self.trunk.bn1(self.trunk.conv1(pixels))))  # (B, 64, S / 4, S / 4)
            fine = self.trunk.layer2(self.trunk.layer1(x))  # (B, 128, S / 8, S / 8)
            return self.readers.loss(fine, self.trunk.layer3(fine), places)  # level 3: (B, 256, S / 16, S / 16)

    def weights(self) -> dict[str, Tensor]:
        """The trunk with torchvision's keys, on the CPU: matrices in half precision, the rest in full."""
        state = {key: value.cpu().contiguous() for key, value in self.trunk.state_dict().items()}
        return {key: value.half() if value.ndim > 1 else value for key, value in state.items()}

    def digest(self) -> str:
        """sha256 of the trunk as it stands."""
        found = hashlib.sha256()
        for tensor in self.trunk.state_dict().values():
            found.update(tensor.cpu().contiguous().numpy().tobytes())
        return found.hexdigest()

    def state(self) -> dict[str, Any]:
        """Everything the next step depends on."""
        return {
            "fingerprint": self._fingerprint(),
            "losses": self.losses,
            "learnt": self.learnt.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "chance": self.chance.get_state(),
        }

    def take_up(self, state: dict[str, Any]) -> bool:
        """Goes on from a stored state; False, and nothing is changed, if it is of another pretraining."""
        if state.get("fingerprint") != self._fingerprint():
            return False
        self.learnt.load_state_dict(state["learnt"])
        self.optimiser.load_state_dict(state["optimiser"])
        self.chance.set_state(state["chance"].cpu())
        self.losses = {name: list(losses) for name, losses in state["losses"].items()}
        return True

    def _fingerprint(self) -> str:
        seen = [[*each.shape, each.double().sum().item()] for each in self.surfaces.photographs]
        how = {"device": self.device.split(":")[0], "half": self.half, "photographs": seen}
        return json.dumps({**asdict(self.settings), **how})


def pretrain(training: Pretraining, *, progress: Progress, checkpoint: Path) -> None:
    """Takes all steps that are left.

    Args:
        training: fresh; a state of this very pretraining in `checkpoint` is taken up.
        progress: told after each step.
        checkpoint: file that the state is stored in now and then.

    Raises:
        DataError: pretraining diverged.
    """
    if checkpoint.is_file():
        training.take_up(read_checkpoint(checkpoint))
    stored = time.monotonic()
    while training.taken < training.settings.steps:
        training.step()
        progress("pretraining", training.taken, training.settings.steps)
        if time.monotonic() - stored > CHECKPOINT_EVERY_S:
            write_checkpoint(checkpoint, training.state())
            stored = time.monotonic()
