"""A bundle as one ONNX file with the fused graph, for runtimes that we don't ship. Held to the engine it comes from."""

import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from model.bundle import Bundle
from model.engine import Engine
from model.errors import DataError
from model.fusion import Trunk, fuse_head
from model.images import Image
from model.modes import HAIR, ModeRecord
from model.preprocessing import Preprocessing
from model.scoring import JUDGED

OPSET = 18


class WholeNetwork(nn.Module):
    """From pixels in [0, 1] to map and score: what a bundle does after resizing, as one graph."""

    def __init__(self, bundle: Bundle) -> None:
        super().__init__()
        preprocessing, scoring = bundle.manifest.preprocessing, bundle.manifest.scoring
        self.trunk, self.head = Trunk(bundle.network.extractor.backbone, preprocessing.std), fuse_head(bundle.network)
        self.register_buffer("mean", torch.tensor(preprocessing.mean)[:, None, None])
        self.register_buffer("judged", _judged(bundle))
        self.top_k = min(scoring.top_k, len(self.get_buffer("judged")))

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Args: images: (B, 3, h, w) float32 RGB in [0, 1]. Returns: (B, h', w') anomaly map and (B,) score."""
        grids: Tensor = self.head(self.trunk(images - self.get_buffer("mean")))
        cells = grids.flatten(1)[:, self.get_buffer("judged")]
        return grids, cells.topk(self.top_k, dim=1).values.mean(dim=1)


def export_onnx(bundle: Bundle, out: Path, images: Sequence[Image]) -> ModeRecord:
    """Writes the file and runs it beside the engine; a file that judges otherwise is not kept.

    The file's metadata hold what else it takes to judge: name, digest, threshold, median, top_k, resize and crop.

    Args:
        bundle: without a mode: float32 is exported.
        out: the file.
        images: that both are run on.

    Returns:
        What the file did, in the words of the engine's own gate.

    Raises:
        DataError: a score rule that ONNX can't express, or a file that does not say what the engine says.
    """
    manifest = bundle.manifest
    if manifest.scoring.min_area > 1:
        raise DataError("a minimum defect area can't be exported: ONNX has no area opening")
    height, width = manifest.preprocessing.crop
    scratch = out.with_name(f".{out.name}.writing")
    try:
        _write(WholeNetwork(bundle).eval(), torch.rand(2, 3, height, width), scratch, _metadata(bundle))
        calibration = manifest.calibration
        engine = Engine.of(bundle, device="cpu")
        exact = [engine.inspect([image])[0].score for image in images]
        record = ModeRecord.of(exact, _scores(scratch, manifest.preprocessing, images), calibration, calibration)
        if record.changed_verdicts or record.largest_difference > HAIR * (calibration.threshold - calibration.median):
            raise DataError(
                f"{out} was not written: it changes {record.changed_verdicts} verdict(s), "
                f"scores differ by up to {record.largest_difference:.3g}"
            )
        scratch.replace(out)
    except OSError as error:
        raise DataError(f"{out} can't be written: {error.strerror}") from error
    finally:
        scratch.unlink(missing_ok=True)
    return record


def _judged(bundle: Bundle) -> Tensor:
    """Indices of the cells that are judged."""
    rows = bundle.manifest.scoring.ignore
    if rows:
        return torch.tensor([index for index, cell in enumerate("".join(rows)) if cell == JUDGED])
    height, width = bundle.manifest.architecture.grid(bundle.manifest.preprocessing.crop)
    return torch.arange(height * width)


def _metadata(bundle: Bundle) -> dict[str, str]:
    manifest = bundle.manifest
    return {
        "name": manifest.name,
        "bundle_sha256": bundle.digest,
        "threshold": repr(manifest.calibration.threshold),
        "median": repr(manifest.calibration.median),
        "top_k": str(manifest.scoring.top_k),
        "resize": "x".join(map(str, manifest.preprocessing.resize)),
        "crop": "x".join(map(str, manifest.preprocessing.crop)),
    }


def _write(network: WholeNetwork, example: Tensor, path: Path, metadata: dict[str, str]) -> None:
    import onnx

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the exporter talks about its own future
        program = torch.onnx.export(
            network,
            (example,),
            input_names=["images"],
            output_names=["anomaly_map", "score"],
            dynamic_shapes={"images": {0: torch.export.Dim("batch")}},
            opset_version=OPSET,
            dynamo=True,
            verbose=False,
        )
    if program is None:
        raise DataError("torch could not export this network to ONNX")
    proto = program.model_proto
    onnx.helper.set_model_props(proto, metadata)
    onnx.save(proto, str(path))


def _scores(path: Path, preprocessing: Preprocessing, images: Sequence[Image]) -> list[float]:
    import onnxruntime

    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    std, mean = np.array(preprocessing.std)[:, None, None], np.array(preprocessing.mean)[:, None, None]
    found = []
    for image in images:
        pixels = (preprocessing(image).numpy() * std + mean).astype(np.float32)
        found.append(float(session.run(["score"], {"images": pixels[None]})[0][0]))
    return found
