"""`sightline replay`: a recording's cameras, each with a publisher of its own, and one stream of captures for all."""

import math
import re
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, closing
from functools import reduce

import structlog

from producers.camera import publish, shown
from producers.daemon import ExitCode, stop_requested
from producers.errors import SettingsError
from producers.memory import collect_garbage_rarely, keep_freed_memory
from producers.publisher import FramePublisher, PublisherSettings
from producers.recording.replay import Replay
from producers.service import ServiceManager

log = structlog.get_logger("replay")

SWITCH_S = 0.0002  # Python lets a busy thread go on for 5 ms, while another waits


def endpoints(first: str, cameras: int) -> list[str]:
    """An endpoint for each camera: ports two apart, so that work and live ones alternate; of one camera the first.

    Raises:
        SettingsError: several cameras, and no TCP port to count from.
    """
    if cameras == 1:
        return [first]
    address = re.fullmatch(r"(tcp://.+:)(\d+)", first)
    if address is None:
        raise SettingsError(f"{first}: several cameras need a tcp://HOST:PORT to count from, or choose one --camera")
    return [f"{address[1]}{int(address[2]) + 2 * number}" for number in range(cameras)]


def run(
    replay: Replay, cameras: Sequence[PublisherSettings], *, total: int | None, wait_s: float, drain_s: float
) -> ExitCode:
    """Replays, and waits for the verdicts.

    Args:
        replay: what, and how.
        cameras: a publisher's settings for each camera of the recording.
        total: frames there will be, for the progress bar; None: nobody knows.
        wait_s: how long to wait at the beginning until each camera has a worker.
        drain_s: how long to wait at the end without a verdict, before giving up the rest.

    Returns:
        `OK` if every frame has a stored verdict, else `NO`.

    Raises:
        RecordingError: there is no such frame.
        SettingsError: an unsafe endpoint, no place for a journal.
        AddressTaken: an endpoint in use.
    """
    keep_freed_memory()
    if math.isfinite(replay.speed):  # a publisher that sends a worker a hundred frames must let the next be on time
        sys.setswitchinterval(SWITCH_S)
    service = ServiceManager()
    with ExitStack() as stack:
        publishers: dict[str, FramePublisher] = {}
        stopping = stack.enter_context(stop_requested(lambda: _interrupt(publishers)))
        for settings in cameras:
            publisher = FramePublisher(settings, each_turn=service.beat)
            publishers[settings.camera] = stack.enter_context(publisher)
            ends = {"work": settings.work, "live": settings.live}
            log.info("replaying", camera=settings.camera, session=publisher.session, speed=replay.speed, **ends)
        collect_garbage_rarely()
        service.ready()
        _await_workers(publishers, wait_s, stopping)
        try:
            _publish_all(replay, publishers, stopping, total)
        finally:  # also if it failed: what was published is owed its verdicts
            service.stopping()
            left = sum(publisher.drain(drain_s) for publisher in publishers.values())
        counts = [publisher.counts() for publisher in publishers.values()]
    log.info("done", cameras=list(publishers), **reduce(_sum, counts))
    if left:
        log.error("frames without a stored verdict", frames=left)
        return ExitCode.NO
    return ExitCode.OK


def _publish_all(
    replay: Replay, publishers: Mapping[str, FramePublisher], stopping: Callable[[], bool], total: int | None
) -> None:
    with shown(total) as advance, closing(replay.captures(stopping=stopping)) as captures:
        for capture in captures:
            publish(publishers[capture.header.camera], capture)
            advance()


def _await_workers(publishers: Mapping[str, FramePublisher], wait_s: float, stopping: Callable[[], bool]) -> None:
    """Frames that pile up before anybody takes them would arrive all at once: their timing would be lost."""
    ends = time.monotonic() + wait_s
    missing = list(publishers)
    while not stopping() and missing and time.monotonic() < ends:
        time.sleep(0.02)
        missing = [name for name, publisher in publishers.items() if not publisher.counts()["workers"]]
    if missing and wait_s:
        log.warning("no worker has come, the replay begins without", cameras=missing, waited_s=wait_s)


def _interrupt(publishers: Mapping[str, FramePublisher]) -> None:
    for publisher in list(publishers.values()):
        publisher.interrupt()


def _sum(one: dict[str, int], other: dict[str, int]) -> dict[str, int]:
    return {name: value + other[name] for name, value in one.items()}
