"""The work loop as a process runs it: in the main thread, where signals are handled."""

import os
import signal
import threading
import time

import pytest

pytest.importorskip("torch")

from pydantic import SecretStr

from worker.bench.null import RECIPE, NullPipeline
from worker.demo.processes import free_ports
from worker.pipeline import IDLE_S
from worker.settings import CameraSettings, WorkerSettings


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
