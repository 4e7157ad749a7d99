"""Does the drift watch notice a lamp that grows dim, and does it keep silent while nothing changes?

    python -m benchmarks.drift DATA BUNDLE [--seeds 200] [--frames 5000] [--every 20] [--falls 20]

Frames are drawn with replacement from good pictures that the bundle's network has not learned from: those that set its
threshold, and DATA's good test pictures.

At rest, three ways. `promised`: for each seed calibration scores are drawn from all of these pictures, as many as the
bundle has, and then the frames; both come from the same distribution, so the stated rate must hold. `own`: the bundle's
own calibration scores, frames from all these pictures. `test_alone`: likewise, frames from the good test pictures
alone. The last two are no draws from what the calibration scores were drawn from, so nothing is promised of them.

Falling: the bundle's own calibration scores, and frames darker by one percent of their brightness after each `every`
frames, until the watch warns or none keeps the input contract. The last line is one JSON object.
"""

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Annotated, NamedTuple

import numpy as np
import typer
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import track

from model.bundle import Bundle, read_bundle
from model.calibration import Calibration
from model.engine import Engine
from model.images import Image
from model.threshold import unseen_pictures
from worker.drift import RATE, DriftWatch


class Fall(NamedTuple):
    """How one fall of the brightness went.

    Attributes:
        frame: at which the watch warned; None: it did not.
        darker: percent, at that frame, or where nothing kept the contract any more.
        rejected: parts until then, false rejects.
        bad_frames: until then, that broke the contract and were not judged.
    """

    frame: int | None
    darker: int
    rejected: int
    bad_frames: int


class Lamp:
    """The scores of pictures at any brightness, by a bundle's own engine; each is asked for once."""

    def __init__(self, bundle: Bundle, images: Sequence[Image]) -> None:
        self._engine, self._contract = Engine.of(bundle, device="cpu"), bundle.manifest.contract
        self.images, self._known = images, dict[tuple[int, int], float | None]()

    def score(self, index: int, darker: int) -> float | None:
        """Of a picture, so many percent darker; None if it breaks the contract then."""
        if (index, darker) not in self._known:
            image = _dimmed(self.images[index], darker)
            kept = self._contract.appearance_fault(image) is None
            self._known[index, darker] = self._engine.inspect([image])[0].score if kept else None
        return self._known[index, darker]

    def fall(self, calibration: Calibration, rng: np.random.Generator, every: int) -> Fall:
        """Lets it grow dark under the eyes of a watch."""
        watch, frame, rejected, bad_frames = DriftWatch(calibration.scores), 0, 0, 0
        for darker in range(100):
            before = bad_frames
            for index in rng.integers(len(self.images), size=every):
                frame += 1
                score = self.score(int(index), darker)
                if score is None:
                    bad_frames += 1
                    continue
                rejected += not calibration.passes(score)
                if _add(watch, calibration, score):
                    return Fall(frame, darker, rejected, bad_frames)
            if bad_frames - before == every:
                break
        return Fall(None, darker, rejected, bad_frames)


def _dimmed(image: Image, percent: int) -> Image:
    dimmed = image * (1 - percent / 100) + 0.5
    return dimmed.astype(np.uint8) if image.dtype == np.uint8 else dimmed.astype(np.uint16)


def _add(watch: DriftWatch, calibration: Calibration, score: float) -> bool:
    return watch.add(score, passed=calibration.passes(score), severity=calibration.severity(score)) and watch.warning


def warns(calibration: Calibration, scores: Sequence[float], frames: Iterable[float]) -> bool:
    """Whether a watch over these calibration scores warns at some frame; what passes is the bundle's to say."""
    watch = DriftWatch(scores)
    return any(_add(watch, calibration, score) for score in frames)


def main(
    data: Path,
    bundle: Path,
    seeds: int = 200,
    frames: int = 5000,
    every: Annotated[int, typer.Option(help="Frames for each percent.")] = 20,
    falls: Annotated[int, typer.Option(help="Seeds that grow dark.")] = 20,
) -> None:
    """Measures."""
    console, chosen = Console(stderr=True), read_bundle(bundle).on("cpu")
    calibration = chosen.manifest.calibration
    if not calibration.scores:
        raise typer.BadParameter(f"{bundle} keeps no calibration scores: run sightline calibrate")
    held_out = unseen_pictures(bundle, data, chosen, tell=console.print)
    lamp = Lamp(chosen, [*held_out, *unseen_pictures(bundle, data / "test" / "good", chosen, tell=console.print)])
    at_rest = [lamp.score(index, 0) for index in range(len(lamp.images))]
    everything = np.array([score for score in at_rest if score is not None])
    alone = np.array([score for score in at_rest[len(held_out) :] if score is not None])

    false = dict.fromkeys(("promised", "own", "test_alone"), 0)
    for seed in track(range(seeds), "at rest", console=console):
        rng = np.random.default_rng(seed)
        drawn = rng.choice(everything, len(calibration.scores)).tolist()
        for name, scores, pool in (
            ("promised", drawn, everything),
            ("own", calibration.scores, everything),
            ("test_alone", calibration.scores, alone),
        ):
            false[name] += warns(calibration, scores, rng.choice(pool, frames).tolist())
    fallen = [
        lamp.fall(calibration, np.random.default_rng(seed), every)
        for seed in track(range(falls), "growing dark", console=console)
    ]
    print(
        json.dumps(
            {
                "pictures": len(everything),
                "calibration_scores": len(calibration.scores),
                "frames": frames,
                "seeds": seeds,
                "stated_rate": RATE,
                "false_warnings": false,
                **_summary(fallen),
            }
        )
    )


def _summary(falls: Sequence[Fall]) -> dict[str, object]:
    warned = [fall for fall in falls if fall.frame is not None]
    columns: dict[str, NDArray[np.int64]] = {
        name: np.array([getattr(fall, name) for fall in warned]) for name in Fall._fields
    }
    return {
        "falls": len(falls),
        "warned": len(warned),
        **{name: [int(np.quantile(found, q)) for q in (0, 0.5, 1)] for name, found in columns.items() if warned},
    }


if __name__ == "__main__":
    typer.run(main)
