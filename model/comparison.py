"""Sightline's engine beside other detectors: images a second and image AUROC in one run (the paper's Figure 2)."""

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from model import peers
from model.backbone import build_backbone
from model.bench import Case, Literal, in_turns, noise
from model.bundle import Architecture, Bundle, read_bundle
from model.dataset import TestPicture, good_pictures, read_each, read_image, test_pictures
from model.engine import Engine
from model.errors import DataError
from model.evaluation import evaluate
from model.features import Progress
from model.making import make_bundle
from model.metrics import auroc
from model.modes import modes_here
from model.peers import Judge
from model.plan import Plan
from model.preprocessing import Preprocessing
from model.simplenet import SimpleNet

BACKBONES = ("resnet18", "wide_resnet50_2")
"""For which anomalib's PaDiM has settings."""
ENGINE, LITERAL = "Sightline", "SimpleNet, literal"
UNTRAINED = {"EfficientAD-S", "SuperSimpleNet"}
"""Learn for hours; measured for speed alone, which their weights don't change."""


@dataclass(frozen=True)
class Comparison:
    """What `sightline bench peers` found.

    Attributes:
        ratios: engine over each other detector, images/s, at each batch.
        image_auroc: of each detector; None where nothing was learned.
        backbone: of every detector but EfficientAD-S, which has its own.
        size: of every detector's square input, pixels.
        engine: mode that the engine computes in.
        machine: threads and version.
        cases: every detector at each batch. Ours begins with a camera's bytes, the others with a tensor that is
            resized and normalised already.
    """

    ratios: dict[str, dict[int, float]]
    image_auroc: dict[str, float | None]
    backbone: str
    size: int
    engine: str
    machine: str
    cases: list[Case]

    def speed(self, batch: int) -> dict[str, float]:
        """Images/s of each detector."""
        return {case.name: case.images_per_s for case in self.cases if case.batch == batch}

    def to_json(self) -> dict[str, object]:
        """For machines."""
        return asdict(self)


def compare(
    data: Path | None,
    *,
    backbone: str,
    weights: str,
    batch: int,
    size: int,
    rounds: int,
    progress: Progress = lambda what, done, total: None,
    tell: Callable[[DataError], None] = lambda skipped: None,
) -> Comparison:
    """Trains what can be trained in minutes, then measures every detector by turns, on the CPU.

    Args:
        data: pictures to train and evaluate with (see `good_pictures` and `test_pictures`); None: speed alone.
        backbone: one of `BACKBONES`.
        weights: see `build_backbone`.
        batch: frames at once; one at a time is measured, too.
        size: of the square input, pixels.
        rounds: of which the median is taken.
        progress: told what is going on.
        tell: told of each picture that can't be read.

    Raises:
        DataError: pictures, weights or a backbone that can't be used.
    """
    if backbone not in BACKBONES:
        raise DataError(f"backbone {backbone!r} can't be compared: choose one of {', '.join(BACKBONES)}")
    preprocessing = Preprocessing(resize=(size, size), crop=(size, size))
    trunk = build_backbone(backbone, levels=(1, 2, 3), weights=weights)
    good: list[Tensor] = []
    pictures: list[TestPicture] = []
    if data is None:
        network = Architecture.model_validate({"backbone": backbone}).build(weights=weights).eval()
        engine = Engine(network, preprocessing, device="cpu", mode=modes_here("cpu")[0])
    else:
        good = [preprocessing(image) for image in read_each(good_pictures(data), tell).values()]
        pictures = test_pictures(data)
        bundle = _trained(data, backbone, weights, size, progress)
        network, engine = bundle.network, Engine.of(bundle, device="cpu")
    with torch.inference_mode():
        judges: dict[str, Judge] = {
            "PatchCore": peers.patchcore(backbone, trunk, good, size, progress),
            "PaDiM": peers.padim(backbone, trunk, good, size, progress),
            "EfficientAD-S": peers.efficient_ad(),
            "SuperSimpleNet": peers.super_simple_net(backbone, trunk),
            LITERAL: _literal(engine, network),
        }
        quality: dict[str, float | None] = dict.fromkeys([*judges, ENGINE])
        if data is not None:
            for name in judges.keys() - UNTRAINED:
                quality[name] = _judged(judges[name], preprocessing, pictures, name, progress)
            quality[ENGINE] = evaluate(bundle, data, pictures, device="cpu", progress=progress).image_auroc
        runs: dict[tuple[str, int], Callable[[], object]] = {}
        for n in sorted({1, batch}):
            frames = noise(size, n)
            pixels = torch.stack([preprocessing(frame) for frame in frames])
            runs |= {(name, n): partial(judge, pixels) for name, judge in judges.items()}
            runs[ENGINE, n] = partial(engine.inspect, frames)
        cases, seconds = in_turns(runs, rounds, progress)
    return Comparison(
        ratios={name: {n: seconds[name, n] / seconds[ENGINE, n] for n in sorted({1, batch})} for name in judges},
        image_auroc=quality,
        backbone=backbone,
        size=size,
        engine=str(engine.trunk.mode),
        machine=f"cpu, torch {torch.__version__}, {torch.get_num_threads()} threads",
        cases=cases,
    )


def _trained(data: Path, backbone: str, weights: str, size: int, progress: Progress) -> Bundle:
    """Ours, by our defaults, in the mode that its gate lets through."""
    plan = Plan.of({"backbone": backbone, "weights": weights, "size": str(size)})
    with tempfile.TemporaryDirectory() as scratch:
        make_bundle(data, Path(scratch) / "sightline", plan, device="cpu", progress=progress)
        return read_bundle(Path(scratch) / "sightline").on("cpu")


def _literal(engine: Engine, network: SimpleNet) -> Judge:
    """The paper's formulas with our weights and our score rule."""
    literal, scoring = Literal(network), engine.scoring

    def judge(pixels: Tensor) -> Tensor:
        return torch.tensor([scoring.score(scoring.apply(grid)) for grid in literal(pixels).numpy()])

    return judge


def _judged(
    judge: Judge, preprocessing: Preprocessing, pictures: Sequence[TestPicture], name: str, progress: Progress
) -> float | None:
    """Image AUROC."""
    scores = []
    for done, picture in enumerate(pictures):
        scores.append(float(judge(preprocessing(read_image(picture.path))[None])))
        progress(f"{name} judges", done + 1, len(pictures))
    return auroc(np.array([picture.defective for picture in pictures]), np.array(scores))
