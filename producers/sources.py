"""Where frames come from: a source is a stream of captures. Here the folder of pictures.

`push`, `video` and `live_source` have the others; `choosing` tells which one a text means.
"""

import os
import time
from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, cast

import cv2
import numpy as np

from producers.errors import BadFrame, SourceError
from producers.frame import Color, FrameId, Image, PartTag
from producers.publisher import FramePublisher
from producers.settings import Policy

SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff"})
NAP_S = 0.1  # a source that waits looks this often whether it is to stop


class Capture(Protocol):
    """One captured frame, readable or not. It ends as one verdict."""

    @property
    def part(self) -> PartTag:
        """What is known of its part, for the verdict of a capture that can't be published."""

    def publish(self, publisher: FramePublisher) -> FrameId:
        """Publishes it.

        Raises:
            BadFrame: it can't be read; no frame was captured.
        """


class Source(Protocol):
    """Whatever yields captures, and what it knows of itself."""

    @property
    def label(self) -> str:
        """Its name for logs, without secrets."""

    @property
    def policy(self) -> Policy:
        """What is right for it when retention is full, if nobody says otherwise."""

    @property
    def simulated(self) -> bool:
        """Whether its pictures are no parts that pass a gate now, if nobody says otherwise."""

    @property
    def total(self) -> int | None:
        """How many captures it will yield; None: no end."""

    def captures(self, *, stopping: Callable[[], bool]) -> Generator[Capture, None, None]:
        """Yields captures until there are no more, or it is to stop. Closing the generator frees what it holds."""

    def load(self) -> Mapping[str, float]:
        """What it counted so far, as `producers.gauges` names it; empty for one that nothing can happen to."""


@dataclass(frozen=True)
class StoredPicture:
    """A picture from a file.

    Attributes:
        image: `(H, W)` or `(H, W, 3)`; None if the source has a picture that can't be read.
        color: order of its channels.
        part_id: the part's identity; for a folder the file's path within it, its last 256 characters.
    """

    image: Image | None
    color: Color
    part_id: str

    @property
    def part(self) -> PartTag:
        """The file's path stands for the part."""
        return PartTag(part_id=self.part_id)

    def publish(self, publisher: FramePublisher) -> FrameId:
        """Publishes its pixels.

        Raises:
            BadFrame: it can't be read, or is no picture that a frame can hold.
        """
        if self.image is None:
            raise BadFrame("not a picture")
        return publisher.publish(self.image, color=self.color, part_id=self.part_id, copy=False)


class FolderSource:
    """The pictures in a folder and the folders below it, by path, at a steady rate.

    Args:
        root: the folder, or a single picture.
        loop: start again after the last one, for ever.
        rate: pictures a second; 0: as fast as they are taken.

    Raises:
        SourceError: the folder is missing or holds no picture.
    """

    policy: Policy = "block"
    simulated = True

    def __init__(self, root: Path, *, loop: bool = False, rate: float = 0.0) -> None:
        self.label = str(root)
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

    def load(self) -> Mapping[str, float]:
        """Nothing happens to a folder."""
        return {}

    @property
    def total(self) -> int | None:
        """The pictures there are, unless they come again and again."""
        return None if self.loop else len(self.paths)

    def captures(
        self,
        *,
        stopping: Callable[[], bool] = lambda: False,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> Generator[StoredPicture, None, None]:
        """The captures, paced.

        Args:
            stopping: whether to end.
            clock: monotonic seconds.
            sleep: waits that many seconds.
        """
        start, count = clock(), 0
        while True:
            for path in self.paths:
                due = start + count / self.rate if self.rate else start
                while not stopping() and (left := due - clock()) > 0:
                    sleep(min(left, NAP_S))
                if stopping():
                    return
                count += 1
                yield self._read(path)
            if not self.loop:
                return

    def _read(self, path: Path) -> StoredPicture:
        inside = path.relative_to(self.root).as_posix()
        part_id = os.fsencode(inside).decode("utf-8", "replace")[-256:]  # a name that is no text, or a very long one
        image = _read_picture(path)
        return StoredPicture(image, "mono" if image is not None and image.ndim == 2 else "bgr", part_id)


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
