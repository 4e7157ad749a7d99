"""Whether a threshold keeps its promise: a bundle's never-seen good pictures are halved again and again.

    python -m benchmarks.calibration BUNDLE GOOD... [--false-reject 0.05] [--halvings 200] [--seed 0]

Each time one half sets the threshold and the other is judged. The share that fails must be 1 - k / (n + 1) on average,
and its spread that of the beta-binomial distribution with n + 1 - k and k (Vovk, 2012): this checks our code, not the
theorem. Pictures that the network has learned from are left out. The last line is one JSON object.
"""

import json
import math
from pathlib import Path
from typing import Annotated

import numpy as np
import typer

from model.bundle import read_bundle
from model.calibration import calibrate
from model.engine import Engine
from model.threshold import unseen_pictures


def main(
    bundle: Path,
    good: list[Path],
    false_reject: Annotated[float, typer.Option()] = 0.05,
    halvings: int = 200,
    seed: int = 0,
) -> None:
    """Measures."""
    loaded = read_bundle(bundle)
    engine = Engine.of(loaded, device="cpu")
    images = [image for folder in good for image in unseen_pictures(bundle, folder, loaded, tell=typer.echo)]
    scores = np.array([engine.inspect([image])[0].score for image in images])
    rng, rates = np.random.default_rng(seed), []
    for _ in range(halvings):
        order = rng.permutation(len(scores))
        half = len(scores) // 2
        calibration = calibrate(scores[order[:half]].tolist(), false_reject_rate=false_reject)
        rates.append(np.mean([not calibration.passes(score) for score in scores[order[half:]]]))
    n, k, m = half, calibration.rank, len(scores) - half
    a, b = n + 1 - k, k
    spread = math.sqrt(a * b * (a + b + m) / ((a + b) ** 2 * (a + b + 1) * m))
    mean, error = float(np.mean(rates)), float(np.std(rates, ddof=1) / math.sqrt(halvings))
    result = {
        "n": n,
        "false_reject": false_reject,
        "rank": k,
        "expected": round(1 - k / (n + 1), 5),
        "mean": round(mean, 5),
        "standard_errors_off": round((mean - (1 - k / (n + 1))) / error, 2),
        "spread": round(float(np.std(rates, ddof=1)), 5),
        "spread_expected": round(spread, 5),
        "halvings": halvings,
    }
    print(json.dumps(result))


if __name__ == "__main__":
    typer.run(main)
