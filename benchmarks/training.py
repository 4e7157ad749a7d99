"""How much sooner cached features reach the quality at which the paper's recipe ends.

    python -m benchmarks.training DATA --weights FILE [--threads 2] [--epochs 160] [--seed 0]

Both in one run: first the paper's recipe as it stands in section 4.3, with the backbone run anew for every picture of
every batch; then ours, stopped every few steps to look at the test pictures. Looking is not counted, reading the
features into the cache is. The last line is one JSON object.
"""

import json
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import typer
from rich.console import Console
from torch import Tensor

from model.bundle import Architecture
from model.dataset import good_pictures, read_image, test_pictures
from model.engine import Engine
from model.evaluation import Pixels
from model.features import extract_features, spread
from model.fitting import HeadTraining
from model.images import Image
from model.metrics import auroc, pixel_auroc
from model.preprocessing import Preprocessing
from model.settings import TrainSettings
from model.simplenet import SimpleNet
from model.training import split

LOOK_EVERY = 25  # steps


class Uncached(HeadTraining):
    """The paper's loop: every step runs the backbone over its pictures."""

    def __init__(self, network: SimpleNet, images: list[Image], preprocessing: Preprocessing, settings: TrainSettings):
        self._network, self._images, self._preprocessing = network, images, preprocessing
        super().__init__(network.head, torch.empty(len(images), 1, 1), settings, device="cpu")

    def _draw(self) -> Tensor:
        epoch, place = divmod(len(self.losses), -(-len(self._images) // 4))
        order = torch.randperm(len(self._images), generator=torch.Generator().manual_seed(epoch))
        chosen = [self._preprocessing(self._images[index]) for index in order[place * 4 : place * 4 + 4]]
        with torch.inference_mode():
            features = self._network.extractor(torch.stack(chosen))  # (4, C, h, w)
        drawn: Tensor = features.permute(0, 2, 3, 1).flatten(0, 2).clone()  # (N, C)
        return drawn


def main(
    data: Path,
    weights: Annotated[str, typer.Option()],
    threads: int = 2,
    epochs: int = 160,
    seed: int = 0,
    json_only: bool = False,
) -> None:
    """Measures. `--epochs` below 160 shortens the paper's side, and the printed ratio with it."""
    torch.set_num_threads(threads)
    console = Console(stderr=True, quiet=json_only)
    images = [read_image(path) for path in good_pictures(data)]
    training, _ = split(len(images), holdout=0.2, seed=seed)
    images = [images[index] for index in training]
    paper = TrainSettings(weights=weights, seed=seed).paper(len(images))
    paper = replace(paper, steps=paper.steps * epochs // 160)
    slow, crop = _network(weights, seed), Preprocessing(resize=(256, 256))
    uncached = Uncached(slow, images, crop, paper)
    paper_s = _timed(lambda: _run(uncached, paper.steps, console))
    slow.head = uncached.result()
    goal = _quality(slow, crop, data)
    console.print(
        f"paper's recipe, {epochs} epochs: {paper_s:.1f} s, image / pixel AUROC {goal[0]:.4f} / {goal[1]:.4f}"
    )
    ours_s, reached, steps = _until(goal, images, data, weights=weights, seed=seed, console=console)
    result = {
        "paper_s": round(paper_s, 1),
        "paper_auroc": goal,
        "epochs": epochs,
        "ours_s": round(ours_s, 1),
        "ours_auroc": reached,
        "ours_steps": steps,
        "reached": all(mine >= theirs for mine, theirs in zip(reached, goal, strict=True)),
        "ratio": round(paper_s / ours_s, 1),
        "threads": threads,
    }
    print(json.dumps(result))


def _until(
    goal: tuple[float, float], images: list[Image], data: Path, *, weights: str, seed: int, console: Console
) -> tuple[float, tuple[float, float], int]:
    network, whole = _network(weights, seed), Preprocessing()
    started = time.perf_counter()
    features = extract_features(network.extractor, whole, images, device="cpu", progress=lambda what, done, total: None)
    settings = TrainSettings(weights=weights, seed=seed).resolved(spread(features))
    training = HeadTraining(network.head, features, settings, device="cpu")
    spent = time.perf_counter() - started
    reached = (0.0, 0.0)
    while not training.done and not all(mine >= theirs for mine, theirs in zip(reached, goal, strict=True)):
        spent += _timed(lambda: _run(training, LOOK_EVERY, None))
        network.head = training.result()
        reached = _quality(network, whole, data)
        console.print(f"ours, {len(training.losses)} steps: {spent:.1f} s, {reached[0]:.4f} / {reached[1]:.4f}")
    return spent, reached, len(training.losses)


def _run(training: HeadTraining, steps: int, console: Console | None) -> None:
    for step in range(steps):
        training.step()
        if console is not None and step % 200 == 199:
            console.print(f"paper's recipe: step {step + 1} of {steps}")


def _network(weights: str, seed: int) -> SimpleNet:
    torch.manual_seed(seed)
    return Architecture().build(weights=weights, seed=seed)


def _timed(work: Callable[[], None]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def _quality(network: SimpleNet, preprocessing: Preprocessing, data: Path) -> tuple[float, float]:
    engine, pixels, scores, labels = Engine(network, preprocessing, device="cpu"), Pixels(), [], []
    for picture in test_pictures(data):
        image = read_image(picture.path)
        inspection = engine.inspect([image])[0]
        scores.append(inspection.score)
        labels.append(picture.defective)
        pixels.add(picture, inspection, height=image.shape[0], width=image.shape[1])
    image_area = auroc(np.array(labels), np.array(scores)) or 0.0
    return round(image_area, 4), round(pixel_auroc(pixels.masks, pixels.maps) or 0.0, 4)


if __name__ == "__main__":
    typer.run(main)
