"""A video file as a source: every picture of it is a frame, none is skipped."""

import time
from collections.abc import Callable, Generator, Mapping
from pathlib import Path
from typing import cast

import cv2
import structlog

from producers.errors import SourceError
from producers.frame import Image, PartTag
from producers.opencv import open_capture
from producers.settings import Policy
from producers.snapshot import Snapshot
from producers.sources import NAP_S

log = structlog.get_logger("camera")

VIDEO_SUFFIXES = frozenset({".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi", ".wmv", ".mpg", ".mpeg", ".ts", ".mjpeg"})


class VideoFile:
    """The pictures of a video in their order, at a steady rate.

    The part of a picture is the file's name and the picture's number from 0: `belt.mp4#17`.

    Args:
        path: the file.
        loop: start again after the last picture, for ever.
        rate: pictures a second; 0: as fast as they are taken.

    Raises:
        SourceError: the file is missing, or no video that can be read.
    """

    policy: Policy = "block"
    simulated = True

    def __init__(self, path: Path, *, loop: bool = False, rate: float = 0.0) -> None:
        self.path, self.loop, self.rate = path, loop, rate
        self.label = str(path)
        if not path.is_file():
            raise SourceError(f"{path} does not exist: give a video file")
        self._promised = self._probe()

    @property
    def total(self) -> int | None:
        """The pictures that the file promises, unless they come again and again."""
        return None if self.loop or not self._promised else self._promised

    def load(self) -> Mapping[str, float]:
        """Nothing happens to a file that the log does not say."""
        return {}

    def captures(
        self,
        *,
        stopping: Callable[[], bool] = lambda: False,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> Generator[Snapshot, None, None]:
        """The captures, paced.

        Args:
            stopping: whether to end.
            clock: monotonic seconds.
            sleep: waits that many seconds.

        Raises:
            SourceError: the file can't be read any more.
        """
        start, count = clock(), 0
        while True:
            first = count
            for image in self._images():
                due = start + count / self.rate if self.rate else start
                while not stopping() and (left := due - clock()) > 0:
                    sleep(min(left, NAP_S))
                if stopping():
                    return
                part = PartTag(part_id=f"{self.path.name[-200:]}#{count - first}")
                count += 1
                yield Snapshot(image, clock(), part=part)
            if count == first:
                raise SourceError(f"{self.path} can't be read any more")
            if count - first < self._promised:
                log.warning("video ends early", file=self.label, promised=self._promised, read=count - first)
            if not self.loop:
                return

    def _probe(self) -> int:
        """Pictures that the file says it has, often an estimate; 0 if it doesn't say."""
        video = self._open()
        try:
            if _next(video) is None:
                raise SourceError(f"{self.path} is no video that can be read")
            return max(0, int(video.get(cv2.CAP_PROP_FRAME_COUNT)))
        finally:
            video.release()

    def _open(self) -> cv2.VideoCapture:
        return open_capture(str(self.path), cv2.CAP_FFMPEG, name=f"video {self.path}")

    def _images(self) -> Generator[Image, None, None]:
        """`(H, W, 3)` BGR, each an array of its own."""
        video = self._open()
        try:
            while (image := _next(video)) is not None:
                yield image
        finally:
            video.release()


def _next(video: cv2.VideoCapture) -> Image | None:
    try:
        there, image = video.read()
    except cv2.error:
        return None
    return cast(Image, image) if there else None
