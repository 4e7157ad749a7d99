"""Where frames come from. A source is an iterable of `Capture`; it knows nothing of sockets."""

import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import cv2
import numpy as np

from producers.errors import SourceError
from producers.frame import Color, Image

SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff"})


@dataclass(frozen=True)
class Capture:
    """One captured picture.

    Attributes:
        image: `(H, W)` or `(H, W, 3)`; None if the source has a picture that can't be read.
        color: order of its channels.
        part_id: the part's identity; for a folder the file's path within it, its last 256 characters.
    """

    image: Image | None
    color: Color
    part_id: str


class FolderSource:
    """The pictures in a folder and the folders below it, by path, at a steady rate.

    Args:
        root: the folder, or a single picture.
        loop: start again after the last one, for ever.
        rate: pictures a second; 0: as fast as they are taken.

    Raises:
        SourceError: the folder is missing or holds no picture.
    """

    def __init__(self, root: Path, *, loop: bool = False, rate: float = 0.0) -> None:
        if not root.exists():
            raise SourceError(f"{root} does not exist: give a folder of pictures, or a picture")
        self.root = root if root.is_dir() else root.parent
        found = root.rglob("*") if root.is_dir() else [root]
        self.paths = sorted(path for path in found if path.suffix.lower() in SUFFIXES and path.is_file())
        if not self.paths:
            raise SourceError(f"{root} holds no picture ({', '.join(sorted(SUFFIXES))})")
        self.loop = loop
        self.rate = rate

    def __len__(self) -> int:
        return len(self.paths)

    def captures(
        self, *, clock: Callable[[], float] = time.monotonic, sleep: Callable[[float], None] = time.sleep
    ) -> Iterator[Capture]:
        """The captures, paced.

        Args:
            clock: monotonic seconds.
            sleep: waits that many seconds.
        """
        start, count = clock(), 0
        while True:
            for path in self.paths:
                if self.rate:
                    sleep(max(0.0, start + count / self.rate - clock()))
                count += 1
                yield self._read(path)
            if not self.loop:
                return

    def _read(self, path: Path) -> Capture:
        inside = path.relative_to(self.root).as_posix()
        part_id = os.fsencode(inside).decode("utf-8", "replace")[-256:]  # a name that is no text, or a very long one
        image = _read_picture(path)
        return Capture(image, "mono" if image is not None and image.ndim == 2 else "bgr", part_id)


def _read_picture(path: Path) -> Image | None:
    """`(H, W)` grey or `(H, W, 3)` BGR as stored, an alpha channel dropped; None if it can't be read."""
    try:
        data = np.fromfile(path, np.uint8)
        image = cv2.imdecode(data, cv2.IMREAD_UNCHANGED) if data.size else None
    except (OSError, cv2.error):
        return None
    if image is None or image.dtype not in (np.uint8, np.uint16):
        return None
    if image.ndim == 3 and image.shape[2] == 4:
        return cast(Image, cv2.cvtColor(image, cv2.COLOR_BGRA2BGR))
    return cast(Image, image)
