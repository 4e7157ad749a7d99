"""OpenCV's way to videos, cameras and streams: opened quietly, read with errors of our own."""

import os
from collections.abc import Sequence

import cv2

from producers.errors import SourceError

FFMPEG_SILENT = "-8"


def open_capture(where: str | int, backend: int, options: Sequence[int] = (), *, name: str) -> cv2.VideoCapture:
    """An open capture.

    Args:
        where: file, URL, device or its number.
        backend: one of OpenCV's `CAP_*`.
        options: pairs of a property and its value.
        name: for the error, without secrets.

    Raises:
        SourceError: it can't be opened.
    """
    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", FFMPEG_SILENT)  # what matters is said in our own log
    level = cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_ERROR)
    try:
        capture = cv2.VideoCapture(where, backend, list(options))
    except cv2.error as error:
        raise SourceError(f"{name} can't be opened: {error}") from error
    finally:
        cv2.utils.logging.setLogLevel(level)
    if not capture.isOpened():
        capture.release()
        raise SourceError(f"{name} can't be opened")
    return capture
