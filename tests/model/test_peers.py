"""`sightline bench peers`: other detectors on our weights, in one run with the engine. Wants the extra `peers`."""

import importlib.util
import json
from pathlib import Path

import cv2
import pytest
import torch

from model.backbone import build_backbone
from tests.model.small import plates, save_picture
from tests.model.test_cli import complaint, sightline

WITHOUT = "anomalib is not installed: pip install 'sightline[peers]'"
pytestmark = pytest.mark.filterwarnings("ignore")  # anomalib's and timm's own


def test_every_detector_is_measured_at_every_batch() -> None:
    pytest.importorskip("anomalib", reason=WITHOUT)
    result = sightline("bench", "peers", "--rounds", 1, "--batch", 2, "--json")
    assert result.exit_code == 0, result.stderr
    found = json.loads(result.stdout)
    speed = {(case["name"], case["batch"]): case["images_per_s"] for case in found["cases"]}
    names = set(found["image_auroc"])
    assert {"PatchCore", "PaDiM", "EfficientAD-S", "SuperSimpleNet", "Sightline"} < names
    assert set(speed) == {(name, batch) for name in names for batch in (1, 2)}
    for name in names - {"Sightline"}:
        assert found["ratios"][name]["2"] == pytest.approx(speed["Sightline", 2] / speed[name, 2])


def test_peers_compute_with_our_weights() -> None:
    pytest.importorskip("anomalib", reason=WITHOUT)
    from model import peers

    trunk, pixels = build_backbone("resnet18", levels=(1, 2, 3), seed=3), torch.randn(1, 3, 64, 64)
    extractor = peers._without_download(backbone="resnet18", layers=["layer1", "layer2", "layer3"])
    peers._give_weights(extractor, trunk)
    with torch.inference_mode():
        theirs = extractor.eval()(pixels)
        for level, ours in enumerate(trunk(pixels), start=1):
            torch.testing.assert_close(theirs[f"layer{level}"], ours)


def test_with_pictures_memories_learn_and_a_plot_is_drawn(tmp_path: Path) -> None:
    pytest.importorskip("anomalib", reason=WITHOUT)
    parts, plot = tmp_path / "parts", tmp_path / "peers.png"
    for index, image in enumerate(plates(12)):
        save_picture(parts / "train" / "good" / f"{index}.png", image)
        save_picture(parts / "test" / ("hole" if index % 2 else "good") / f"{index}.png", image)
    small = ("--rounds", 1, "--batch", 2)
    result = sightline("bench", "peers", "--data", parts, "--weights", "random", *small, "--plot", plot, "--json")
    assert result.exit_code == 0, result.stderr
    quality = json.loads(result.stdout)["image_auroc"]
    assert all(0 <= quality[name] <= 1 for name in ("PatchCore", "PaDiM", "SimpleNet, literal", "Sightline"))
    assert quality["EfficientAD-S"] is None
    assert quality["SuperSimpleNet"] is None
    assert cv2.imread(str(plot)) is not None


def test_what_can_not_be_compared_is_one_sentence(tmp_path: Path) -> None:
    pytest.importorskip("anomalib", reason=WITHOUT)
    assert "resnet50" in complaint(sightline("bench", "peers", "--backbone", "resnet50"), 6)
    nowhere = tmp_path / "nowhere" / "peers.png"
    assert str(nowhere.parent) in complaint(sightline("bench", "peers", "--plot", nowhere), 6)


@pytest.mark.skipif(importlib.util.find_spec("anomalib") is not None, reason="anomalib is installed")
def test_without_anomalib_the_install_is_named() -> None:
    assert "sightline[peers]" in complaint(sightline("bench", "peers"), 2)
