"""The daemon beside a camera: a source's captures go to a publisher until it ends or is told to stop."""

import sys
import time
from collections.abc import Callable
from pathlib import Path

import structlog
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from producers.daemon import ExitCode, stop_requested
from producers.errors import BadFrame
from producers.memory import keep_freed_memory
from producers.publisher import FramePublisher, PublisherSettings
from producers.sources import Capture, FolderSource

log = structlog.get_logger("camera")


def run(
    source: Path, settings: PublisherSettings, *, loop: bool = False, rate: float = 0.0, drain_s: float = 60.0
) -> ExitCode:
    """Publishes a folder of pictures and waits for the verdicts.

    Args:
        source: a folder, or one picture.
        settings: of the publisher.
        loop: start again after the last picture.
        rate: pictures a second; 0: as fast as workers take them.
        drain_s: how long to wait at the end without a verdict, before giving up the rest.

    Returns:
        `OK` if every captured frame has a stored verdict, else `NO`.

    Raises:
        SourceError: nothing to publish.
        SettingsError: an unsafe endpoint.
        AddressTaken: an endpoint in use.
    """
    keep_freed_memory()
    folder = FolderSource(source, loop=loop, rate=rate)
    with FramePublisher(settings) as publisher, stop_requested(publisher.interrupt) as stopping:
        ends = {"work": settings.work, "live": settings.live}
        log.info("publishing", camera=settings.camera, session=publisher.session, **ends)
        _publish_all(publisher, folder, stopping)
        left = publisher.drain(drain_s)
        counts = publisher.counts()
    log.info("done", camera=settings.camera, **counts)
    if left:
        log.error("frames without a stored verdict", camera=settings.camera, frames=left, workers=counts["workers"])
        return ExitCode.NO
    return ExitCode.OK


def _publish_all(publisher: FramePublisher, folder: FolderSource, stopping: Callable[[], bool]) -> None:
    with _progress(None if folder.loop else len(folder)) as advance:

        def sleep(seconds: float) -> None:
            ends = time.monotonic() + seconds
            while not stopping() and (left := ends - time.monotonic()) > 0:
                time.sleep(min(left, 0.1))

        for capture in folder.captures(sleep=sleep):
            if stopping():
                return
            _publish(publisher, capture)
            advance()


def _publish(publisher: FramePublisher, capture: Capture) -> None:
    try:
        if capture.image is None:
            raise BadFrame("not a picture")
        publisher.publish(capture.image, color=capture.color, part_id=capture.part_id)
    except BadFrame as error:
        log.warning("capture can't be read, it ends as bad_frame", part_id=capture.part_id, error=str(error))
        publisher.give_up("bad_frame", part_id=capture.part_id)


class _progress:  # noqa: N801 - reads as a verb where it is used
    """A progress bar on a terminal, nothing otherwise. `total` is None for an endless source."""

    def __init__(self, total: int | None) -> None:
        columns = (TextColumn("frames"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
        self._bar = Progress(*columns, console=Console(stderr=True), disable=not sys.stderr.isatty())
        self._task = self._bar.add_task("frames", total=total)

    def __enter__(self) -> Callable[[], None]:
        self._bar.start()
        return lambda: self._bar.advance(self._task)

    def __exit__(self, *_: object) -> None:
        self._bar.stop()
