"""`sightline export`: a bundle for runtimes that are not ours."""

from pathlib import Path
from typing import Annotated

import typer

from model.cli.screen import BundlePath, to_stderr


def export(
    bundle: BundlePath,
    pictures: Annotated[Path, typer.Argument(help="Pictures on which the file has to say what the engine says.")],
    onnx: Annotated[Path, typer.Option(help="File to write.")],
) -> int:
    """Write a bundle's fused network as one ONNX file, after it has judged PICTURES as the engine does.

    Input `images`: float32 (N, 3, h, w), RGB in [0, 1], resized (bilinear, antialiased) and cropped as the metadata
    say. Outputs: `anomaly_map` and `score`; a part passes if its score is finite and at or below `threshold`, which
    is in the metadata too. The input contract stays behind: a picture that breaks it must not be asked about.
    """
    from model.bundle import read_bundle
    from model.dataset import good_pictures
    from model.errors import DataError
    from model.export import export_onnx
    from model.threshold import judgeable

    console, loaded = to_stderr(), read_bundle(bundle)
    images = judgeable(good_pictures(pictures), loaded, tell=lambda sentence: console.print(sentence, markup=False))
    if not images:
        raise DataError(f"not one picture in {pictures} can be judged by {bundle}")
    record = export_onnx(loaded, onnx, images)
    console.print(
        f"{onnx}: {len(images)} picture(s) judged alike, scores differ by up to {record.largest_difference:.2g}",
        markup=False,
    )
    return 0
