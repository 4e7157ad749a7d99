"""A bundle as an ONNX file says what the engine says, or is not written."""

from pathlib import Path

import numpy as np
import pytest

from model.bundle import read_bundle
from model.engine import Engine
from model.scoring import Scoring
from tests.model.small import PREPROCESSING, plates, save_picture, write_small
from tests.model.test_cli import complaint, sightline

pytest.importorskip("onnxscript")
onnxruntime = pytest.importorskip("onnxruntime")


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    for index, image in enumerate(plates(3)):
        save_picture(tmp_path / "pictures" / f"{index}.png", image)
    return tmp_path / "pictures"


def test_the_file_scores_batches_as_the_engine_does(tmp_path: Path, pictures: Path) -> None:
    ignore = ("#...", "....", "....", "....")
    bundle = write_small(tmp_path / "plate", scoring=Scoring(top_k=3, ignore=ignore))
    result = sightline("export", tmp_path / "plate", pictures, "--onnx", tmp_path / "plate.onnx")
    assert result.exit_code == 0, result.stderr
    session = onnxruntime.InferenceSession(str(tmp_path / "plate.onnx"), providers=["CPUExecutionProvider"])
    metadata = session.get_modelmeta().custom_metadata_map
    assert float(metadata["threshold"]) == bundle.manifest.calibration.threshold
    images = plates(3)
    std, mean = np.array(PREPROCESSING.std)[:, None, None], np.array(PREPROCESSING.mean)[:, None, None]
    batch = np.stack([PREPROCESSING(image).numpy() * std + mean for image in images]).astype(np.float32)
    grids, scores = session.run(None, {"images": batch})
    found = Engine.of(read_bundle(tmp_path / "plate"), device="cpu").inspect(images)
    np.testing.assert_allclose(scores, [one.score for one in found], atol=1e-4)
    assert grids.shape == (3, 4, 4)


def test_what_onnx_cannot_express_is_refused_and_nothing_is_left(tmp_path: Path, pictures: Path) -> None:
    write_small(tmp_path / "plate", scoring=Scoring(min_area=2))
    before = sorted(tmp_path.iterdir())
    words = ("export", tmp_path / "plate", pictures, "--onnx", tmp_path / "plate.onnx")
    assert "area opening" in complaint(sightline(*words), 6)
    assert sorted(tmp_path.iterdir()) == before
