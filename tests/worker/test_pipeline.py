"""The work loop as a process runs it: in the main thread, where signals are handled."""

import os
import signal
import threading
import time
from collections.abc import Sequence
from dataclasses import replace

import pytest

pytest.importorskip("torch")

import numpy as np
from pydantic import SecretStr

from model.engine import Engine, Inspection
from model.images import Image
from producers.publisher import FramePublisher, PublisherSettings
from tests.worker.processes import eventually, stored_verdicts
from worker.bench.null import RECIPE, NullPipeline, null_infer, start_null_worker
from worker.concluding import InferredBatch
from worker.demo.processes import free_ports
from worker.errors import StageFailed
from worker.pipeline import IDLE_S
from worker.recipes import BatchCost
from worker.settings import CameraSettings, WorkerSettings
from worker.sink import Judged


@pytest.mark.timeout(60)
def test_an_idle_worker_goes_on_after_a_signal_that_took_longer_than_it_waits_for_frames(
    redis_url: str, line: str
) -> None:
    heard: list[int] = []

    def handler(number: int, _: object) -> None:
        time.sleep(3 * IDLE_S)
        heard.append(number)

    endpoint = f"tcp://127.0.0.1:{free_ports(1)[0]}"
    settings = WorkerSettings(
        line=line, redis=SecretStr(redis_url), cameras={"cam1": CameraSettings(endpoint=endpoint, recipe=RECIPE)}
    )
    before = signal.signal(signal.SIGUSR2, handler)
    try:
        with NullPipeline(settings) as pipeline:
            threading.Timer(IDLE_S / 2, os.kill, (os.getpid(), signal.SIGUSR2)).start()
            pipeline.serve(until=lambda: bool(heard))
    finally:
        signal.signal(signal.SIGUSR2, before)
    assert heard == [signal.SIGUSR2]


def settings_for(redis_url: str, line: str, work: str, name: str) -> WorkerSettings:
    return WorkerSettings(
        line=line,
        redis=SecretStr(redis_url),
        cameras={"cam1": CameraSettings(endpoint=work, recipe=RECIPE)},
        name=name,
        ping_s=0.1,
    )


class ForgetfulPipeline(NullPipeline):
    """One that can't write verdicts down."""

    def _conclude(self, batch: InferredBatch) -> None:
        raise LookupError("no such thing")


def test_a_worker_one_of_whose_threads_has_ended_leaves_and_another_judges_what_it_had(
    redis_url: str, line: str
) -> None:
    work, live = (f"tcp://127.0.0.1:{port}" for port in free_ports(2))
    publisher_settings = PublisherSettings(camera="cam1", work=work, live=live, recipe=RECIPE, heartbeat_s=1.0)
    with FramePublisher(publisher_settings) as publisher:
        broken = start_null_worker(settings_for(redis_url, line, work, "w1"), ForgetfulPipeline)
        publisher.publish(np.zeros((16, 16, 3), np.uint8))
        broken.join(60)
        assert broken.exitcode == 1
        healthy = start_null_worker(settings_for(redis_url, line, work, "w2"))
        try:
            assert eventually(lambda: publisher.counts()["open"] == 0)
        finally:
            healthy.terminate()
            healthy.join()
    (verdict,) = stored_verdicts(redis_url, line)
    assert (verdict.passed, verdict.worker, verdict.tag.attempt) == (True, "w2", 2)


def test_a_worker_that_hangs_on_one_picture_no_longer_says_that_it_lives(redis_url: str, line: str) -> None:
    """Its engine is idle and well, but it will judge nothing more: its frames must go to another."""
    goes_on = threading.Event()
    work = f"tcp://127.0.0.1:{free_ports(1)[0]}"
    with NullPipeline(settings_for(redis_url, line, work, "w1")) as pipeline:
        pipeline._stuck_s = 0.1
        pipeline._prepare.put([Hanging(goes_on)])  # type: ignore[list-item]
        assert eventually(lambda: pipeline._prepare.stuck_s(time.monotonic()) > pipeline._stuck_s)
        before = pipeline.intake._beat
        pipeline._turn()
        assert pipeline.intake._beat == before
        goes_on.set()
        assert eventually(lambda: pipeline._prepare.failure is not None)
        with pytest.raises(StageFailed, match="it went on"):
            pipeline._turn()


class Hanging:
    """A frame on which the decoder hangs, and then breaks."""

    def __init__(self, goes_on: threading.Event) -> None:
        self._goes_on = goes_on

    @property
    def recipe(self) -> str:
        self._goes_on.wait()
        raise RuntimeError("it went on")


class SlowPipeline(NullPipeline):
    """Twenty milliseconds a frame; it counts how often Redis is asked to store something."""

    def __init__(self, settings: WorkerSettings) -> None:
        def infer(batch: Sequence[tuple[Engine, Image]]) -> list[Inspection]:
            time.sleep(0.02 * len(batch))
            return null_infer(batch)

        super().__init__(settings, infer=infer)
        self.recipes = {name: replace(it, cost=BatchCost(0.02, 0.02, best=4)) for name, it in self.recipes.items()}
        self.scripts = 0
        store = self.sink.store

        def counted(judged: Sequence[Judged]) -> list[str]:
            self.scripts += 1
            return store(judged)

        self.sink.store = counted  # type: ignore[method-assign]


def test_at_overload_what_comes_too_late_ends_beside_the_camera_and_verdicts_are_written_together(
    redis_url: str, line: str
) -> None:
    """Two and a half times as many frames as can be judged."""
    work, live = (f"tcp://127.0.0.1:{port}" for port in free_ports(2))
    publisher_settings = PublisherSettings(camera="cam1", work=work, live=live, recipe=RECIPE, budget_ms=400)
    pipeline = SlowPipeline(settings_for(redis_url, line, work, "w1").model_copy(update={"max_batch": 4}))
    with FramePublisher(publisher_settings) as publisher, pipeline:

        def publish() -> None:
            for _ in range(300):
                publisher.publish(np.zeros((16, 16, 3), np.uint8))
                time.sleep(0.008)

        camera = threading.Thread(target=publish)
        camera.start()
        pipeline.serve(until=lambda: not camera.is_alive() and publisher.counts()["open"] == 0)
    verdicts = stored_verdicts(redis_url, line)
    assert len({verdict.tag.seq for verdict in verdicts}) == len(verdicts) == 300
    expired = [verdict for verdict in verdicts if verdict.reason.word == "expired"]
    spared = [verdict for verdict in expired if verdict.note == "given up beside the camera"]
    assert len(spared) > 50
    assert len(spared) > len(expired) / 2
    assert pipeline.scripts < 100
