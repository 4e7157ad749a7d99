"""A publisher that is killed takes its pixels with it, not its frames' verdicts: its successor ends them as lost."""

import multiprocessing
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path

import pytest

pytest.importorskip("torch")

from producers.publisher import FramePublisher, PublisherSettings
from tests.faults.conftest import OpenLine
from tests.faults.harness import (
    BAD,
    FRAMES,
    GOOD,
    PATIENCE_S,
    ROUNDS,
    dismiss,
    picture,
    publisher_settings,
    worker_settings,
)
from tests.producers.scripted_worker import wait_until
from tests.worker.processes import stored_verdicts
from worker.bench.null import start_null_worker


def publish_for_ever(settings: PublisherSettings, ids: Connection) -> None:
    """What a camera's process runs until it is killed: it tells each captured frame's id."""
    with FramePublisher(settings) as publisher:
        for seq in range(10**9):
            ids.send(str(publisher.publish(picture(BAD if seq % 3 == 0 else GOOD))))


@contextmanager
def camera(settings: PublisherSettings) -> Iterator[Connection]:
    """A camera's process, killed at the end."""
    context = multiprocessing.get_context("forkserver")
    here, there = context.Pipe(duplex=False)
    process = context.Process(target=publish_for_ever, args=(settings, there), daemon=True)
    process.start()
    there.close()
    try:
        yield here
    finally:
        process.kill()
        process.join()


def captured(ids: Connection) -> set[str]:
    """All that a killed camera had told."""
    told: set[str] = set()
    with ids:
        try:
            while True:
                told.add(ids.recv())
        except EOFError:
            return told


def decision_of(frame: str) -> str:
    """What a camera's process made this frame to be."""
    return "defect" if int(frame.rpartition("/")[2]) % 3 == 0 else "ok"


def _has_verdicts(redis_url: str, line: str, count: int) -> bool:
    return len(stored_verdicts(redis_url, line)) >= count


def test_every_frame_of_a_publisher_that_was_killed_has_one_verdict(
    open_line: OpenLine, redis_url: str, line: str, tmp_path: Path
) -> None:
    """Judged or lost. A seq that was noted and never captured may be lost, too; no frame passes that should not."""
    settings = publisher_settings(state=tmp_path / "state", retain_frames=32)
    told: set[str] = set()
    port = int(settings.work.rpartition(":")[2])
    worker = start_null_worker(worker_settings("w1", line, redis_url, port=port))
    try:
        for _ in range(2 * ROUNDS):
            enough = len(stored_verdicts(redis_url, line)) + FRAMES
            with camera(settings) as ids:
                wait_until(partial(_has_verdicts, redis_url, line, enough), what="verdicts", patience_s=PATIENCE_S)
            told |= captured(ids)
        successor = open_line(work=settings.work, live=settings.live, state=settings.state, retain_frames=32)
        successor.publish()
        successor.drain()
        dismiss([worker])
    finally:
        worker.kill()
        worker.join()
    verdicts = stored_verdicts(redis_url, line)
    by_id = {str(verdict.tag.id): verdict.reason.word for verdict in verdicts}
    assert max(Counter(str(verdict.tag.id) for verdict in verdicts).values()) == 1
    assert {frame: by_id[frame] for frame in successor.expected} == successor.expected
    assert told <= by_id.keys()
    earlier = {frame: reason for frame, reason in by_id.items() if frame not in successor.expected}
    assert all(reason in (decision_of(frame), "lost") for frame, reason in earlier.items())
