"""Pictures on disk in the MVTec AD layout: `train/good`, `test/<kind>`, `ground_truth/<kind>/<stem>_mask.png`."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import cv2
import numpy as np
from numpy.typing import NDArray

from model.errors import DataError

SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff"})

Image = NDArray[np.uint8] | NDArray[np.uint16]


@dataclass(frozen=True)
class TestPicture:
    """One labelled picture.

    Attributes:
        path: of the picture.
        kind: `good` or the defect's folder name.
        mask: path of the ground-truth mask, None for good ones and where there is none.
    """

    path: Path
    kind: str
    mask: Path | None

    @property
    def defective(self) -> bool:
        """Whether the picture shows a defect."""
        return self.kind != "good"


def pictures(folder: Path) -> list[Path]:
    """The picture files right inside `folder`, by name."""
    return sorted(path for path in folder.iterdir() if path.suffix.lower() in SUFFIXES)


def good_pictures(root: Path) -> list[Path]:
    """The training pictures of an MVTec-layout folder, by name.

    Raises:
        DataError: there is no `train/good`, or it holds no picture.
    """
    folder = root / "train" / "good"
    if not folder.is_dir():
        raise DataError(f"{root} has no train/good folder: put pictures of good parts into {folder}")
    found = pictures(folder)
    if not found:
        raise DataError(f"{folder} holds no picture ({', '.join(sorted(SUFFIXES))})")
    return found


def test_pictures(root: Path) -> list[TestPicture]:
    """The labelled test pictures of an MVTec-layout folder, by kind and name.

    Raises:
        DataError: there is no `test` folder, or it holds no picture.
    """
    folder = root / "test"
    found = []
    for kind in sorted(folder.iterdir()) if folder.is_dir() else []:
        for path in pictures(kind) if kind.is_dir() else []:
            mask = root / "ground_truth" / kind.name / f"{path.stem}_mask.png"
            found.append(TestPicture(path, kind.name, mask if kind.name != "good" and mask.is_file() else None))
    if not found:
        raise DataError(f"{root} has no test pictures: expected {folder}/good and {folder}/<defect>")
    return found


def read_image(path: Path) -> Image:
    """One picture, as stored.

    Returns:
        `(H, W)` grey or `(H, W, 3)` RGB, uint8 or uint16. An alpha channel is dropped.

    Raises:
        DataError: the file can't be read as such a picture.
    """
    try:
        data = np.fromfile(path, np.uint8)
        image = cv2.imdecode(data, cv2.IMREAD_UNCHANGED) if data.size else None
    except (OSError, cv2.error) as error:
        raise DataError(f"{path} can't be read as a picture") from error
    if image is None or image.dtype not in (np.uint8, np.uint16):
        raise DataError(f"{path} can't be read as a picture")
    if image.ndim == 2:
        return cast(Image, image)
    return cast(Image, cv2.cvtColor(image, cv2.COLOR_BGRA2RGB if image.shape[2] == 4 else cv2.COLOR_BGR2RGB))


def read_mask(path: Path) -> NDArray[np.bool_]:
    """A ground-truth mask: `(H, W)`, true where the stored grey value is above half of its range.

    Raises:
        DataError: the file can't be read as a picture.
    """
    mask = read_image(path)
    grey = mask if mask.ndim == 2 else mask.max(axis=2)
    return np.asarray(grey > np.iinfo(grey.dtype).max // 2)


def read_all(paths: Iterable[Path], skipped: Callable[[DataError], None]) -> list[Image]:
    """Reads every picture that can be read; each of the others goes to `skipped`, by name.

    Raises:
        DataError: none could be read.
    """
    images: list[Image] = []
    for path in paths:
        try:
            images.append(read_image(path))
        except DataError as error:
            skipped(error)
    if not images:
        raise DataError("not one of the good pictures can be read")
    return images
