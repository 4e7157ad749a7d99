"""From settings to a file of weights with its card: how it was made, and how anyone makes it again."""

import hashlib
import platform
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import torch
from safetensors.torch import save
from torch import Tensor

from model import charts
from model.errors import DataError
from model.features import Progress
from model.images import Image
from model.modes import choose_device, modes_here
from model.preprocessing import Preprocessing
from model.pretrain.repeat import REPEATED_STEPS, first_steps
from model.pretrain.training import Pretraining, PretrainSettings, pretrain

PHOTOGRAPH = 256
"""Shorter side of a photograph, pixels: near what a network sees of it later."""


def make_weights(
    out: Path,
    settings: PretrainSettings,
    *,
    images: Sequence[Image] = (),
    device: str = "auto",
    progress: Progress,
) -> str:
    """Pretrains a trunk and writes `out`, its card (`.md`) and the curves of its losses (`.png`) beside it.

    Args:
        out: `.safetensors` file. What an interrupted pretraining goes on from lies beside it until it is done.
        settings: the recipe.
        images: `(H, W)` grey or `(H, W, 3)` RGB, whose pieces are the surface of half of the pictures.
        device: `auto`, `cpu` or `cuda`.
        progress: told after each step.

    Returns:
        The card.

    Raises:
        DataError: a file that can't be written, or a pretraining that diverged.
    """
    if out.suffix != ".safetensors":
        raise DataError(f"{out} has another suffix than .safetensors")
    chosen, checkpoint = choose_device(device), out.with_name(f".{out.name}.training")
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        half = any(mode.precision != "float32" for mode in modes_here(chosen))
        photographs = [_brightness(image, settings.size) for image in images]
        training = Pretraining(settings, device=chosen, half=half, photographs=photographs)
        began = time.monotonic()
        pretrain(training, progress=progress, checkpoint=checkpoint)
        content = save(training.weights())
        minutes = (time.monotonic() - began) / 60
        card = _card(training, content, minutes=minutes)
        out.write_bytes(content)
        out.with_suffix(".md").write_text(card, encoding="utf-8")
        smooth = {name: _smooth(losses) for name, losses in training.losses.items()}
        steps = {name: (list(range(1, len(losses) + 1)), losses) for name, losses in smooth.items()}
        out.with_suffix(".png").write_bytes(charts.curves(steps, x="optimiser step", y="cross entropy"))
        checkpoint.unlink(missing_ok=True)
    except OSError as error:
        raise DataError(f"{out} can't be written: {error.strerror}") from error
    return card


def _brightness(image: Image, size: int) -> Tensor:
    """`(h, w)` in [0, 1], its shorter side `PHOTOGRAPH` pixels, but never less than a picture's."""
    shorter = max(size, PHOTOGRAPH)
    scale = shorter / min(image.shape[:2])
    sides = tuple(max(shorter, round(side * scale)) for side in image.shape[:2])
    seen = Preprocessing(resize=sides, crop=sides, mean=(0, 0, 0), std=(1, 1, 1))(image)
    return seen.mean(0)


def _smooth(losses: list[float]) -> list[float]:
    kept, smooth = losses[0], []
    for loss in losses:
        kept += 0.02 * (loss - kept)
        smooth.append(kept)
    return smooth


def _card(training: Pretraining, content: bytes, *, minutes: float) -> str:
    flags = " ".join(f"--{name.replace('_', '-')} {value}" for name, value in asdict(training.settings).items())
    last = {name: sum(losses[-100:]) / len(losses[-100:]) for name, losses in training.losses.items()}
    seen, products = len(training.surfaces.photographs), "bfloat16" if training.half else "float32"
    version = torch.__version__.split("+")[0]
    origin = "Everything it was shown was drawn by formula (`model/pretrain`): nobody's pictures."
    repeated = f"- first {REPEATED_STEPS} steps, repeated in float32 (`model/pretrain/repeat.py`): "
    if seen:
        origin = f"Drawn by formula, half of it onto pieces of {seen} pictures of one's own."
        flags = f"--images DIR {flags}"
    lines = [
        "# A ResNet-18 trunk up to level 3",
        "",
        origin,
        "",
        f"- sha256: {hashlib.sha256(content).hexdigest()}",
        f"- bytes: {len(content)}",
        f"- made by: `sightline pretrain FILE {flags}`",
        f"- on: {training.device}, {platform.machine()}, products in {products}, PyTorch {version}",
        f"- minutes, since it was last taken up: {minutes:.1f}",
        f"- loss of the last 100 steps: {', '.join(f'{name} {loss:.3f}' for name, loss in last.items())}",
        *([] if seen else [repeated + first_steps(training.settings)]),
        "",
    ]
    return "\n".join(lines)
