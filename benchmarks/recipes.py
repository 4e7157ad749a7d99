"""Many recipes on one backbone: speed of a mixed batch, memory of each further recipe, first batch of each size.

    python -m benchmarks.recipes [--backbone wide_resnet50_2] [--recipes 8]

Bundles with random weights and different heads are written to a temporary folder and loaded as a worker loads them. The
last line is one JSON object: `mixed` (speed of a batch with one frame a recipe over that of one recipe's frames),
`memory_over_head` (resident bytes of each further recipe over the bytes of its stored head), and `spike` (first batch
of a size after loading over the median of that size, the worst of all sizes).
"""

import gc
import json
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import numpy as np
import psutil
import torch
import typer

from model.bundle import Architecture, write_bundle
from model.calibration import Calibration
from model.contract import InputContract
from model.engine import infer
from model.images import Image
from model.modes import ModeRecord, choose_device, modes_here
from model.preprocessing import Preprocessing
from worker.recipes import Recipe, load_recipes

CALIBRATION = Calibration(
    threshold=1.0,
    median=0.0,
    low=-1.0,
    high=1.0,
    images=99,
    rank=99,
    false_reject_rate=0.01,
    false_reject_upper_95=0.03,
)


def main(
    backbone: Annotated[str, typer.Option()] = "resnet18",
    recipes: Annotated[int, typer.Option()] = 8,
    rounds: Annotated[int, typer.Option()] = 15,
) -> None:
    """Measures."""
    with tempfile.TemporaryDirectory() as scratch:
        folder, head_bytes = Path(scratch), 0
        for index in range(recipes):
            head_bytes = _write(folder / f"recipe{index}", backbone, seed=index)
        process = psutil.Process()
        (folder / "first").mkdir()
        (folder / "recipe0").rename(folder / "first" / "recipe0")
        one = load_recipes(folder / "first", (), device="auto", max_batch=recipes)
        before = _resident(process)
        loaded = load_recipes(folder, (), device="auto", max_batch=recipes)
        grown = _resident(process) - before
    loaded |= one
    heads = list(loaded.values())
    image = np.random.default_rng(0).integers(0, 256, (224, 224, 3)).astype(np.uint8)
    spike = max(_first_over_median(heads[0], image, size, rounds) for size in range(1, recipes + 1))
    same = [(heads[0].engine, image)] * recipes
    mixed = [(recipe.engine, image) for recipe in heads]
    slow, fast = _in_turns([lambda: infer(mixed), lambda: infer(same)], rounds)
    found = {
        "backbone": backbone,
        "recipes": recipes,
        "mode": str(heads[0].engine.trunk.mode),
        "mixed": round(fast / slow, 3),
        "memory_over_head": round(grown / (recipes - 1) / head_bytes, 2),
        "spike": round(spike, 2),
    }
    print(json.dumps(found))


def _write(path: Path, backbone: str, *, seed: int) -> int:
    """Writes a bundle whose backbone is always the same; returns its head's bytes."""
    architecture = Architecture.model_validate({"backbone": backbone})
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        network = architecture.build(weights="random", seed=0)
    record = ModeRecord(calibration=CALIBRATION, largest_difference=0.0, changed_verdicts=0)
    write_bundle(
        path,
        network,
        name=path.name,
        architecture=architecture,
        preprocessing=Preprocessing(),
        contract=InputContract(height=(224, 224), width=(224, 224), channels=3, dtype="uint8"),
        calibration=CALIBRATION,
        modes={str(mode): record for mode in modes_here(choose_device("auto"))},
        provenance={},
    )
    return sum(tensor.nbytes for tensor in network.head.state_dict().values())


def _resident(process: psutil.Process) -> int:
    gc.collect()
    return int(process.memory_info().rss)


def _first_over_median(recipe: Recipe, image: Image, size: int, rounds: int) -> float:
    times = []
    for _ in range(rounds):
        started = time.perf_counter()
        recipe.engine.inspect([image] * size)
        times.append(time.perf_counter() - started)
    return times[0] / statistics.median(times)


def _in_turns(runs: list[Callable[[], object]], rounds: int) -> list[float]:
    times: list[list[float]] = [[] for _ in runs]
    for _ in range(rounds):
        for run, taken in zip(runs, times, strict=True):
            started = time.perf_counter()
            run()
            taken.append(time.perf_counter() - started)
    return [statistics.median(taken) for taken in times]


if __name__ == "__main__":
    typer.run(main)
