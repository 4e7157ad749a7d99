"""A broken GPU fails fastest: it must neither draw all the work nor condemn good frames, and no frame may end it."""

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch")

from model.engine import Engine, Inspection
from model.images import Image
from producers.daemon import ExitCode
from producers.publisher import FramePublisher, PublisherSettings
from tests.worker.processes import eventually, stored_verdicts
from worker.bench.null import RECIPE, NullPipeline, null_infer, start_null_worker
from worker.cli import exit_code
from worker.demo.processes import free_ports
from worker.errors import EngineBroken
from worker.settings import WorkerSettings

POISON = 77
Frames = Sequence[tuple[Engine, Image]]


def fail(frames: Frames) -> list[Inspection]:
    raise RuntimeError("CUDA error: an illegal memory access was encountered")


def fail_on_poison(frames: Frames) -> list[Inspection]:
    if any(image.flat[0] == POISON for _, image in frames):
        raise RuntimeError("this picture breaks the engine")
    return null_infer(frames)


def broken(settings: WorkerSettings) -> NullPipeline:
    return NullPipeline(settings, infer=fail)


def poisonable(settings: WorkerSettings) -> NullPipeline:
    return NullPipeline(settings, infer=fail_on_poison)


@pytest.fixture
def work() -> str:
    return f"tcp://127.0.0.1:{free_ports(1)[0]}"


@pytest.fixture
def publisher(work: str) -> Iterator[FramePublisher]:
    """One that misses no worker for a minute: whatever comes back before that was handed back."""
    settings = PublisherSettings(
        camera="cam1",
        work=work,
        live=f"tcp://127.0.0.1:{free_ports(1)[0]}",
        recipe=RECIPE,
        heartbeat_s=60,
        ack_timeout_s=60,
    )
    with FramePublisher(settings) as opened:
        yield opened


@contextmanager
def running(name: str, build: Any, *, work: str, redis_url: str, line: str) -> Iterator[Any]:
    cameras = {"cam1": {"endpoint": work, "recipe": RECIPE}}
    fields = {"line": line, "redis": redis_url, "cameras": cameras, "name": name, "ping_s": 0.1, "max_batch": 4}
    process: Any = start_null_worker(WorkerSettings.model_validate(fields), build)
    with closing(process):
        try:
            yield process
        finally:
            process.kill()
            process.join()


def publish(publisher: FramePublisher, values: list[int]) -> None:
    for value in values:
        publisher.publish(np.full((16, 16, 3), value, np.uint8))


def test_a_worker_whose_engine_fails_on_all_frames_leaves_and_the_others_judge_them(
    publisher: FramePublisher, work: str, redis_url: str, line: str
) -> None:
    where = {"work": work, "redis_url": redis_url, "line": line}
    publish(publisher, [0] * 40)
    with running("broken", broken, **where) as process:
        process.join(60)
        assert process.exitcode not in (None, 0)
        assert publisher.counts()["resent"] >= 2
        with running("healthy", NullPipeline, **where):
            assert eventually(lambda: publisher.counts()["open"] == 0)
    verdicts = stored_verdicts(redis_url, line)
    assert Counter(verdict.tag.seq for verdict in verdicts) == Counter(range(40))
    assert {verdict.worker for verdict in verdicts} == {"healthy"}
    assert all(verdict.passed for verdict in verdicts)


def test_a_frame_that_breaks_every_attempt_ends_as_worker_error_and_ends_no_worker(
    publisher: FramePublisher, work: str, redis_url: str, line: str
) -> None:
    publish(publisher, [0, 0, POISON, 0, 0])
    with running("w1", poisonable, work=work, redis_url=redis_url, line=line) as process:
        assert eventually(lambda: publisher.counts()["open"] == 0)
        publish(publisher, [0])
        assert eventually(lambda: publisher.counts()["open"] == 0)
        assert process.is_alive()
    reasons = {verdict.tag.seq: verdict.reason.word for verdict in stored_verdicts(redis_url, line)}
    assert reasons == {seq: "worker_error" if seq == 2 else "ok" for seq in range(6)}


def test_a_broken_engine_ends_the_command_with_a_code_of_failure() -> None:
    assert exit_code(EngineBroken("the engine failed on 2 frames in a row")) not in (None, ExitCode.OK)
