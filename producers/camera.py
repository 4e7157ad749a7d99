"""The daemon beside a camera: a source's captures go to a publisher until it ends or is told to stop."""

import sys
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager

import structlog
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from producers.daemon import ExitCode, stop_requested
from producers.errors import BadFrame
from producers.gauges import camera_metrics
from producers.memory import collect_garbage_rarely, keep_freed_memory
from producers.metrics import parse_address
from producers.publisher import FramePublisher, PublisherSettings
from producers.recording.settings import RecordingSettings
from producers.recording.tape import NoTape, Tape
from producers.service import ServiceManager
from producers.sources import Capture, Source

log = structlog.get_logger("camera")


def run(
    source: Source,
    settings: PublisherSettings,
    *,
    drain_s: float = 60.0,
    metrics: str | None = None,
    record: RecordingSettings | None = None,
) -> ExitCode:
    """Publishes what a source captures and waits for the verdicts.

    Args:
        source: as `producers.choosing` chose it.
        settings: of the publisher.
        drain_s: how long to wait at the end without a verdict, before giving up the rest.
        metrics: HOST:PORT for `/metrics`, `/readyz` and `/healthz`; None: nowhere.
        record: where every frame is recorded; None: nowhere.

    Returns:
        `OK` if every captured frame has a stored verdict, else `NO`.

    Raises:
        SourceError: nothing to publish.
        SettingsError: an unsafe endpoint, no address for metrics, no place for a journal, a feature that a camera
            doesn't take.
        AddressTaken: an endpoint in use.
    """
    keep_freed_memory()
    address = parse_address(metrics) if metrics is not None else None
    service = ServiceManager()
    with (
        recording_of(record) as recorder,
        FramePublisher(settings, each_turn=service.beat, record=recorder.published) as publisher,
        camera_metrics(publisher, address, source, recorder),
        stop_requested(publisher.interrupt) as stopping,
    ):
        ends = {"source": source.label, "work": settings.work, "live": settings.live, "simulated": settings.simulated}
        log.info("publishing", camera=settings.camera, session=publisher.session, **ends)
        collect_garbage_rarely()
        service.ready()
        service.status(f"publishes {source.label} at {settings.work}")
        try:
            _publish_all(publisher, source, stopping)
        finally:  # also of a source that failed: what it captured is owed its verdicts
            service.stopping()
            service.status("waits for the verdicts of what it captured")
            left = publisher.drain(drain_s)
        counts = publisher.counts()
    log.info("done", camera=settings.camera, **counts, **recorder.counts())
    if left:
        log.error("frames without a stored verdict", camera=settings.camera, frames=left, workers=counts["workers"])
        return ExitCode.NO
    return ExitCode.OK


@contextmanager
def recording_of(settings: RecordingSettings | None) -> Iterator[Tape]:
    """A recorder, or one that records nothing. MCAP's library is asked for only where something is recorded.

    Raises:
        SettingsError: nothing can be recorded there.
    """
    if settings is None:
        yield NoTape()
        return
    from producers.recording.recorder import Recorder

    with Recorder(settings) as recorder:
        yield recorder


def _publish_all(publisher: FramePublisher, source: Source, stopping: Callable[[], bool]) -> None:
    with shown(source.total) as advance, closing(source.captures(stopping=stopping)) as captures:
        for capture in captures:
            publish(publisher, capture)
            advance()


def publish(publisher: FramePublisher, capture: Capture) -> None:
    """Publishes a capture; one that can't be read ends as `bad_frame`, and the log says why."""
    try:
        capture.publish(publisher)
    except BadFrame as error:
        known = capture.part.model_dump(include={"part_id", "trigger", "view", "recipe"})
        log.warning("capture can't be read, it ends as bad_frame", **known, error=str(error))
        publisher.give_up("bad_frame", **known)


class shown:  # noqa: N801 - reads as a verb where it is used
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
