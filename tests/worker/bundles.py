"""Bundles for tests of recipes that change: others with the weights of a real one, or with a trunk of their own."""

import json
from pathlib import Path
from typing import Any

import cv2

from model.bundle import WEIGHTS, Architecture, read_bundle, read_manifest, write_bundle
from model.images import Image
from tests.model.small import edited_copy


def remade(bundle: Path, out: Path, *, note: str = "remade", threshold: float | None = None) -> Path:
    """A bundle with the same weights and another digest, perhaps with another threshold."""

    def change(manifest: dict[str, Any]) -> None:
        manifest["provenance"]["note"] = note
        if threshold is not None:
            manifest["calibration"]["threshold"] = threshold

    return edited_copy(bundle, out, change)


def with_another_trunk(bundle: Path, out: Path, *, seed: int = 3) -> Path:
    """A bundle of the same kind of network, untrained, whose trunk no other bundle shares."""
    manifest = read_manifest(bundle)[0]
    network = Architecture(hidden=64).build(weights="random", seed=seed).eval()
    fields = {name: getattr(manifest, name) for name in type(manifest).model_fields if name != "weights_sha256"}
    write_bundle(out, network, **fields)
    return out


def damage(bundle: Path) -> Path:
    """Turns one bit of a bundle's weights; the file is its own afterwards."""
    weights = bytearray((bundle / WEIGHTS).read_bytes())
    weights[-1] ^= 1
    (bundle / WEIGHTS).unlink()
    (bundle / WEIGHTS).write_bytes(weights)
    return bundle


def add_golden(bundle: Path, kind: str, image: Image, name: str = "one.png") -> Path:
    """Puts a picture into a bundle's golden images."""
    path = bundle / "golden" / kind / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(cv2.imencode(".png", cv2.cvtColor(image, cv2.COLOR_RGB2BGR))[1].tobytes())
    return path


def label_of(bundle: Path) -> str:
    """What its verdicts carry."""
    return read_bundle(bundle).label


def put_in_place(bundle: Path, place: Path) -> None:
    """Lets a symbolic link lead to a bundle, by renaming another over it; a directory there is moved away first."""
    link = place.parent / f".{place.name}.link"
    link.symlink_to(bundle.resolve(), target_is_directory=True)
    if place.is_dir() and not place.is_symlink():
        place.rename(place.parent / f".{place.name}.old")
    link.replace(place)


def threshold_of(bundle: Path) -> float:
    """In float32."""
    return float(json.loads((bundle / "manifest.json").read_text())["calibration"]["threshold"])
