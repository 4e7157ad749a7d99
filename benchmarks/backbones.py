"""How well SimpleNet does on each set of backbone weights: image and pixel AUROC, mean over seeds, in one run.

    python -m benchmarks.backbones own random FILE --data DATA --data DATA

DATA in the MVTec layout; without one, drawn parts: as the demo has them, and with defects of a third of their strength.
That is where backbones are chosen, never on real pictures. The last line is one JSON object.
"""

import json
import tempfile
from pathlib import Path
from statistics import mean
from typing import Annotated

import typer
from rich.console import Console

from model.dataset import test_pictures
from model.evaluation import evaluate
from model.making import make_bundle
from model.plan import Plan
from producers.parts import draw_dataset

Figures = dict[str, float | list[float]]


def main(
    weights: Annotated[list[str], typer.Argument(help="As for `sightline train --weights`.")],
    data: Annotated[list[Path] | None, typer.Option(help="Again for each folder.")] = None,
    seeds: int = 3,
    steps: int | None = None,
) -> None:
    """Measures."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        roots = data or [_drawn(folder / "parts", 1.0), _drawn(folder / "faint", 0.35)]
        found = {
            root.name: {each: _measure(root, each, seeds, steps, folder / "bundle") for each in weights}
            for root in roots
        }
    print(json.dumps(found))


def _drawn(root: Path, strength: float) -> Path:
    draw_dataset(root, strength=strength)
    return root


def _measure(root: Path, weights: str, seeds: int, steps: int | None, out: Path) -> Figures:
    image, pixel = [], []
    for seed in range(seeds):
        bundle = make_bundle(root, out, Plan.of({"weights": weights, "seed": seed, "steps": steps}))
        done = evaluate(bundle, root, test_pictures(root))
        image.append(done.image_auroc or 0.0)
        pixel.append(done.pixel_auroc or 0.0)
    figures: Figures = {"image_auroc": mean(image), "pixel_auroc": mean(pixel), "each": image}
    Console(stderr=True, soft_wrap=True).print(f"{root.name} {weights}: {figures}", markup=False)
    return figures


if __name__ == "__main__":
    typer.run(main)
