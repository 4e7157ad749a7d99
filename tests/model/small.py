"""Pictures, a network and a bundle small enough for tests, and what every error's text must be."""

import hashlib
import json
import os
from collections.abc import Callable
from copy import deepcopy
from functools import cache
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from model.bundle import MANIFEST, WEIGHTS, Architecture, Bundle, write_bundle
from model.calibration import Calibration
from model.contract import InputContract
from model.plan import Plan
from model.preprocessing import Preprocessing
from model.scoring import Scoring
from model.settings import TrainSettings
from model.simplenet import SimpleNet

ARCHITECTURE = Architecture(hidden=16)
PREPROCESSING = Preprocessing(resize=(32, 32), crop=(32, 32))
CONTRACT = InputContract(height=(40, 40), width=(48, 48), channels=3, dtype="uint8")
CALIBRATION = Calibration(
    threshold=0.5,
    median=-0.5,
    low=-1.0,
    high=0.5,
    images=19,
    rank=19,
    false_reject_rate=0.05,
    false_reject_upper_95=0.146,
)


def unwatched(what: str, done: int, total: int) -> None:
    """Progress that nobody watches."""


def same_tensors(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    """Whether two state dicts agree to the bit."""
    return one.keys() == other.keys() and all(torch.equal(one[key], other[key]) for key in one)


def a_plan(
    settings: TrainSettings,
    *,
    architecture: Architecture = ARCHITECTURE,
    preprocessing: Preprocessing = PREPROCESSING,
    **changes: Any,
) -> Plan:
    """A training of a network that is small enough for tests."""
    return Plan(architecture, preprocessing, settings, Scoring(), **changes)


def plates(count: int, *, seed: int = 0, height: int = 40, width: int = 48) -> list[NDArray[np.uint8]]:
    """Dull grey plates with grain: `(height, width, 3)` RGB."""
    rng = np.random.default_rng(seed)
    return [rng.integers(90, 140, (height, width, 3)).astype(np.uint8) for _ in range(count)]


def save_picture(path: Path, image: NDArray[Any]) -> Path:
    """Writes an RGB or grey picture in the format that its name asks for."""
    path.parent.mkdir(parents=True, exist_ok=True)
    stored = image if image.ndim == 2 else cv2.cvtColor(image, cv2.COLOR_RGB2BGR)
    path.write_bytes(cv2.imencode(path.suffix, stored)[1].tobytes())
    return path


def small_network(seed: int = 0) -> SimpleNet:
    """An untrained network in evaluation mode, the same for the same seed."""
    return deepcopy(_built(seed))


@cache
def _built(seed: int) -> SimpleNet:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return ARCHITECTURE.build(weights="random", seed=seed).eval()


def write_small(out: Path, network: SimpleNet | None = None, **changes: object) -> Bundle:
    """Writes a bundle of an untrained network."""
    fields: dict[str, Any] = {
        "name": "plate",
        "architecture": ARCHITECTURE,
        "preprocessing": PREPROCESSING,
        "contract": CONTRACT,
        "calibration": CALIBRATION,
        "provenance": {"seed": 0},
    }
    return write_bundle(out, network or small_network(), **{**fields, **changes})


def edited_copy(bundle: Path, out: Path, change: Callable[[dict[str, Any]], object]) -> Path:
    """A bundle beside another with the same weights and an edited manifest."""
    out.mkdir()
    os.link(bundle / WEIGHTS, out / WEIGHTS)
    manifest = json.loads((bundle / MANIFEST).read_text())
    change(manifest)
    (out / MANIFEST).write_text(json.dumps(manifest))
    return out


def contents(folder: Path) -> dict[str, str]:
    """Every file below a folder with its digest."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def is_one_sentence(text: object) -> bool:
    """Whether an error's text is one clear sentence: one line, no stack, and more than a word."""
    return "\n" not in str(text) and "Traceback" not in str(text) and len(str(text).split()) > 3
