"""The feature cache: the frozen backbone runs once over the pictures, in memory or beyond it in a file."""

import os
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from model.errors import DataError
from model.images import Image
from model.preprocessing import Preprocessing
from model.simplenet import FeatureExtractor, Head

Progress = Callable[[str, int, int], None]
"""Called with (what is going on, done, total)."""

CACHE_BYTES = 4 * 1024**3
POSITIONS_AT_ONCE = 32_768


def extract_features(
    extractor: FeatureExtractor,
    preprocessing: Preprocessing,
    images: Sequence[Image],
    *,
    device: str,
    progress: Progress,
    budget_bytes: int = CACHE_BYTES,
    folder: Path | None = None,
) -> Tensor:
    """The extractor's features of every picture: `(N, h * w, C)` float32, on the CPU.

    Args:
        extractor: frozen.
        preprocessing: from picture to input.
        images: `(H, W)` grey or `(H, W, 3)` RGB.
        device: where the backbone runs.
        progress: told after each picture.
        budget_bytes: more than this is kept in a file that the system maps into memory.
        folder: where that file lies; by default the system's temporary folder.

    Raises:
        DataError: no room for the file, or features that are not finite.
    """
    extractor = extractor.to(device)
    cache: Tensor | None = None
    with torch.inference_mode():
        for index, image in enumerate(images):
            maps = extractor(preprocessing(image)[None].to(device))  # (1, C, h, w)
            if not torch.isfinite(maps).all():
                raise DataError("the backbone's features are not finite: look at the pictures and the weights")
            if cache is None:
                shape = (len(images), maps.shape[2] * maps.shape[3], maps.shape[1])
                cache = allocate(shape, budget_bytes=budget_bytes, folder=folder)
            cache[index] = maps[0].flatten(1).T.cpu()  # (h * w, C)
            progress("features", index + 1, len(images))
    if cache is None:
        raise DataError("there is no picture to learn from")
    return cache


def allocate(shape: tuple[int, int, int], *, budget_bytes: int, folder: Path | None) -> Tensor:
    """An uninitialised float32 tensor: in memory, or beyond the budget in a file that is gone with the tensor.

    Raises:
        DataError: no room for the file.
    """
    size = int(np.prod(shape)) * 4
    if size <= budget_bytes:
        return torch.empty(shape)
    try:
        with tempfile.TemporaryFile(prefix="sightline-features-", dir=folder) as file:
            if hasattr(os, "posix_fallocate"):
                os.posix_fallocate(file.fileno(), 0, size)  # refused now, not by a signal in the middle
            return torch.from_numpy(np.memmap(file, np.float32, "w+", shape=shape))
    except OSError as error:
        raise DataError(f"no room for {size / 1024**3:.1f} GiB of features: {error.strerror}") from error


def spread(features: Tensor) -> float:
    """Standard deviation of the features, root mean square over channels.

    Args:
        features: `(N, h * w, C)`; a few hundred thousand positions, evenly spaced, stand for all of them.
    """
    flat = features.flatten(0, 1)
    return float(flat[:: max(1, len(flat) // 200_000)].var(dim=0).mean().sqrt())


def anomaly_maps(head: Head, features: Tensor, *, device: str) -> NDArray[np.float32]:
    """Every picture's map (Eq. 10).

    Args:
        head: in evaluation mode.
        features: `(M, h * w, C)`.
        device: where the head runs.

    Returns:
        `(M, h * w)`, higher is more anomalous.
    """
    at_once = max(1, POSITIONS_AT_ONCE // features.shape[1])
    head = head.to(device)
    with torch.inference_mode():
        maps = [
            -head(part.flatten(0, 1).to(device)).cpu().reshape(len(part), -1) for part in torch.split(features, at_once)
        ]
    return torch.cat(maps).numpy()
