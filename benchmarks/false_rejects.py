"""How many fresh good parts trained bundles reject, and how many with a threshold from what they have learned from.

    python -m benchmarks.false_rejects DATA BUNDLE... [--false-reject 0.05]

The bundles come from `sightline train DATA`, one a seed. Each gets two thresholds at the same rate: from the pictures
that its training held out, as `train` itself does it, and from those that its network has learned from. DATA's good
test pictures are judged with both. The last line is one JSON object: mean rates over the bundles, with a 95 % interval
of Student's t (bundles share the fresh pictures, so it speaks of these pictures, not of all).
"""

import json
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from rich.console import Console
from scipy import stats

from model.bundle import TRAINING, read_bundle
from model.calibration import Calibration, calibrate
from model.dataset import good_pictures, read_image, test_pictures
from model.engine import Engine
from model.images import Image
from model.threshold import digest


def main(data: Path, bundles: list[Path], false_reject: Annotated[float, typer.Option()] = 0.05) -> None:
    """Measures."""
    console = Console(stderr=True)
    learned = {digest(image): image for image in map(read_image, good_pictures(data))}
    fresh = [read_image(picture.path) for picture in test_pictures(data) if not picture.defective]
    held_out, from_training, promised = [], [], 0.0
    for path in bundles:
        record = json.loads((path / TRAINING).read_text(encoding="utf-8"))
        engine = Engine.of(read_bundle(path), device="cpu")
        scores = _scores(engine, fresh)
        honest = calibrate(record["held_out_scores"], false_reject_rate=false_reject)
        flattered = calibrate(
            _scores(engine, [learned[name] for name in record["learned_from"]]), false_reject_rate=false_reject
        )
        held_out.append(_rejected(honest, scores))
        from_training.append(_rejected(flattered, scores))
        promised = 1 - honest.rank / (honest.images + 1)
        console.print(f"{path}: held out {held_out[-1]:.4f}, from training pictures {from_training[-1]:.4f}")
    result = {
        "false_reject": false_reject,
        "bundles": len(bundles),
        "fresh": len(fresh),
        "expected": round(promised, 5),
        "held_out": _summary(held_out),
        "from_training_pictures": _summary(from_training),
    }
    print(json.dumps(result))


def _scores(engine: Engine, images: list[Image]) -> list[float]:
    return [engine.inspect([image])[0].score for image in images]


def _rejected(calibration: Calibration, scores: list[float]) -> float:
    return float(np.mean([not calibration.passes(score) for score in scores]))


def _summary(rates: list[float]) -> dict[str, object]:
    mean = float(np.mean(rates))
    reach = float(stats.t.ppf(0.975, len(rates) - 1) * stats.sem(rates)) if len(rates) > 1 else float("nan")
    return {"mean": round(mean, 4), "interval": [round(mean - reach, 4), round(mean + reach, 4)], "rates": rates}


if __name__ == "__main__":
    typer.run(main)
