"""What a lower precision or another runtime costs in quality: AUROCs and verdicts of each mode beside float32's.

    python -m benchmarks.precision DATA BUNDLE

DATA in the MVTec layout, its test pictures judged by every mode of this machine and by the plain, unfused network. The
last line is one JSON object: by mode, image and pixel AUROC and how many verdicts differ from the plain network's, each
at the mode's own threshold.
"""

import json
from pathlib import Path

import numpy as np
import torch
import typer
from rich.console import Console

from model.bundle import Bundle, read_bundle
from model.dataset import TestPicture, read_image, test_pictures
from model.engine import Engine
from model.evaluation import Pixels, evaluate
from model.metrics import auroc, pixel_auroc
from model.modes import choose_device, modes_here


def main(data: Path, bundle: Path) -> None:
    """Measures."""
    loaded, pictures = read_bundle(bundle), test_pictures(data)
    image_auroc, pixel, verdicts = _plain(loaded, pictures)
    found: dict[str, object] = {"plain": {"image_auroc": image_auroc, "pixel_auroc": pixel, "changed": 0}}
    for mode in modes_here(choose_device("auto")):
        record = loaded.manifest.modes.get(str(mode))
        manifest = loaded.manifest.model_copy(update={"calibration": record.calibration} if record else {})
        done = evaluate(Bundle(loaded.network, manifest, loaded.digest, mode), data, pictures)
        changed = sum(
            manifest.calibration.passes(one.score) != before
            for one, before in zip(done.pictures, verdicts, strict=True)
        )
        found[str(mode)] = {
            "image_auroc": done.image_auroc,
            "pixel_auroc": done.pixel_auroc,
            "changed": changed,
            "gate": record.model_dump(include={"largest_difference", "changed_verdicts"}) if record else None,
        }
        Console(stderr=True).print(f"{mode}: {found[str(mode)]}")
    print(json.dumps({"data": data.name, "pictures": len(pictures), "modes": found}))


def _plain(bundle: Bundle, pictures: list[TestPicture]) -> tuple[float | None, float | None, list[bool]]:
    """The network itself, one picture at a time, its maps scored and placed as the engine's are."""
    manifest, pixels, scores = bundle.manifest, Pixels(), []
    engine = Engine.of(bundle)
    for picture in pictures:
        image = read_image(picture.path)
        with torch.inference_mode():
            grid = bundle.network(manifest.preprocessing(image)[None])[0].numpy()
        (inspection,) = engine.inspect([image])
        applied = manifest.scoring.apply(grid)
        scores.append(manifest.scoring.score(applied))
        plain = type(inspection)(score=scores[-1], grid=applied, size=inspection.size, box=inspection.box)
        pixels.add(picture, plain, height=image.shape[0], width=image.shape[1])
    labels = [picture.defective for picture in pictures]
    passed = [manifest.calibration.passes(score) for score in scores]
    return auroc(np.array(labels), np.array(scores)), pixel_auroc(pixels.masks, pixels.maps), passed


if __name__ == "__main__":
    typer.run(main)
