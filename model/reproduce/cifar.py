"""CIFAR-10 as labelled pictures, from torchvision's files or from folders. Its pickles may hold arrays, nothing else.

torchvision's own reader unpickles whatever is there; a file that holds code would run it. Here an unpickler knows four
names, all of which build arrays of bytes, and refuses every other.
"""

import pickle
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from model.dataset import pictures
from model.errors import DataError
from model.images import Image
from model.reproduce.study import data_identity
from model.reproduce.trial import Pictures

BATCHES, TEST, META = tuple(f"data_batch_{number}" for number in range(1, 6)), "test_batch", "batches.meta"
FOLDER = "cifar-10-batches-py"
PARTS = ("train", "test")
SHAPE = (3, 32, 32)


@dataclass(frozen=True)
class Labelled:
    """Pictures with their classes.

    Attributes:
        images: `(H, W, 3)` RGB or `(H, W)` grey.
        labels: `(N,)` places in the list of classes.
    """

    images: Sequence[Image]
    labels: NDArray[np.intp]

    def of(self, label: int) -> list[Image]:
        """The pictures of one class, in order; read now if they are files."""
        return [self.images[index] for index in np.flatnonzero(self.labels == label).tolist()]


@dataclass(frozen=True)
class Classes:
    """A data set for one-class novelty detection.

    Attributes:
        names: of the classes.
        train: for learning.
        test: for judging.
        identity: of the files, see `data_identity`.
    """

    names: tuple[str, ...]
    train: Labelled
    test: Labelled
    identity: str


def read_classes(data: Path) -> Classes:
    """Reads either layout.

    Args:
        data: `cifar-10-batches-py` or the folder that holds it; or `train/<class>` and `test/<class>` with pictures.

    Raises:
        DataError: neither is there, a file is not what it should be, or there are fewer than two classes.
    """
    for folder in (data, data / FOLDER):
        if (folder / META).is_file():
            return _from_batches(folder)
    if all((data / part).is_dir() for part in PARTS):
        return _from_folders(data)
    raise DataError(
        f"{data} holds no CIFAR-10: expected {FOLDER} as torchvision stores it, or train/<class> and test/<class>"
    )


def _from_folders(data: Path) -> Classes:
    names = tuple(sorted(path.name for path in (data / "train").iterdir() if path.is_dir()))
    if len(names) < 2:
        raise DataError(f"{data / 'train'} holds {len(names)} class folder(s): novelty needs two at least")
    train, test = (_labelled(data / part, names) for part in PARTS)
    return Classes(names, train, test, data_identity(data, PARTS))


def _labelled(folder: Path, names: Sequence[str]) -> Labelled:
    paths: list[Path] = []
    labels: list[int] = []
    for label, name in enumerate(names):
        found = pictures(folder / name) if (folder / name).is_dir() else []
        if not found:
            raise DataError(f"{folder / name} holds no picture")
        paths += found
        labels += [label] * len(found)
    return Labelled(Pictures(paths), np.array(labels, np.intp))


def _from_batches(folder: Path) -> Classes:
    names = _unpickle(folder / META).get("label_names")
    if not isinstance(names, list) or len(names) < 2 or not all(isinstance(name, str) for name in names):
        raise DataError(f"{folder / META} names no classes")
    train = [_batch(folder / name, len(names)) for name in BATCHES]
    images = [image for batch in train for image in batch.images]
    labels = np.concatenate([batch.labels for batch in train])
    test, identity = _batch(folder / TEST, len(names)), data_identity(folder, (*BATCHES, TEST, META))
    return Classes(tuple(names), Labelled(images, labels), test, identity)


def _batch(path: Path, classes: int) -> Labelled:
    content = _unpickle(path)
    planes, labels = content.get("data"), content.get("labels")
    if not isinstance(planes, np.ndarray) or planes.dtype != np.uint8 or planes.shape[1:] != (np.prod(SHAPE),):
        raise DataError(f"{path} holds no pictures of 32 x 32 pixels")
    whole = isinstance(labels, list) and len(labels) == len(planes)
    if not whole or not all(type(label) is int and 0 <= label < classes for label in labels or ()):
        raise DataError(f"{path} has labels that don't fit its pictures")
    images = planes.reshape(-1, *SHAPE).transpose(0, 2, 3, 1)  # (N, 32, 32, 3) RGB
    return Labelled(list(np.ascontiguousarray(images)), np.array(labels, np.intp))


def _unpickle(path: Path) -> dict[str, Any]:
    try:
        with path.open("rb") as file:
            content = _ArraysOnly(file, encoding="latin1").load()
    except OSError as error:
        raise DataError(f"{path} can't be read: {error.strerror}") from error
    except DataError as error:
        raise DataError(f"{path} {error}") from error
    except Exception as error:  # a damaged pickle raises anything at all; the border maps it
        raise DataError(f"{path} can't be read as a CIFAR-10 file ({type(error).__name__})") from error
    if not isinstance(content, dict):
        raise DataError(f"{path} can't be read as a CIFAR-10 file")
    return content


class _ArraysOnly(pickle.Unpickler):
    """Knows what an array of bytes is made of. Nothing that it calls does more than to make one."""

    def find_class(self, module: str, name: str) -> Any:
        builders = {
            ("numpy.core.multiarray", "_reconstruct"): _empty,
            ("numpy._core.multiarray", "_reconstruct"): _empty,
            ("numpy", "ndarray"): "ndarray",  # what `_empty` is told; nothing else may be made of it
            ("numpy", "dtype"): _bytes_type,
            ("_codecs", "encode"): _latin1,
        }
        if (module, name) not in builders:
            raise DataError(f"is refused: it holds {module}.{name}, and a CIFAR-10 file holds arrays alone")
        return builders[module, name]


def _empty(*_: object) -> NDArray[np.uint8]:
    """What an array is before its state is set."""
    return np.zeros(0, np.uint8)


def _bytes_type(kind: object, *_: object) -> np.dtype[np.uint8]:
    if kind not in ("u1", "b", b"u1"):
        raise DataError("is refused: it holds an array of something other than bytes")
    return np.dtype(np.uint8)


def _latin1(text: str, _: object = "latin1") -> bytes:
    """Bytes, as Python 3 writes them for Python 2's sake."""
    return text.encode("latin1")
