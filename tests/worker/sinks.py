"""Sinks and writers for tests, and what a writer reports."""

import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import Any

import redis

from producers.frame import FrameId
from tests.worker.frames import verdict
from worker.sink import Judged, ResultSink
from worker.verdict import Verdict
from worker.writer import ResultWriter


def sink_at(
    url: str, line: str, *, keep_s: float = 1e6, max_results: int = 10_000, replicas: int = 0, clock: bool = True
) -> ResultSink:
    sink = ResultSink(url, line, timeout_s=1.0, keep_s=keep_s, max_results=max_results, replicas=replicas)
    if clock:
        sink.sample_clock()
    return sink


def now_judged(*verdicts: Verdict) -> list[Judged]:
    return [Judged(verdict, time.monotonic()) for verdict in verdicts]


class Stored:
    """Collects what a writer reports."""

    def __init__(self) -> None:
        self.frames: list[FrameId] = []
        self.changed = threading.Condition()

    def __call__(self, batch: list[tuple[Judged, str]]) -> None:
        with self.changed:
            self.frames += [judged.verdict.tag.id for judged, _ in batch]
            self.changed.notify_all()

    @property
    def seqs(self) -> list[int]:
        return [frame.seq for frame in self.frames]

    def wait_for(self, count: int, timeout_s: float = 60) -> bool:
        with self.changed:
            return self.changed.wait_for(lambda: len(self.frames) >= count, timeout_s)


@contextmanager
def writing(sink: ResultSink, stored: Stored, *, limit: int = 1000) -> Iterator[ResultWriter]:
    writer = ResultWriter(sink, "w1", limit=limit, stored=stored)
    writer.start()
    try:
        yield writer
    finally:
        writer.close()


def put(writer: ResultWriter, *seqs: int, **more: object) -> None:
    for seq in seqs:
        writer.put(verdict(seq, **more), now=time.monotonic())  # type: ignore[arg-type]  # fields of the tag


def command(url: str, *words: str | int) -> Any:
    """What Redis answers to a command, over a connection of its own."""
    with closing(redis.Redis.from_url(url)) as client:
        run: Any = client.execute_command
        return run(*words)
