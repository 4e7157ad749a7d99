"""A line to break: a publisher, null workers as processes, a Redis, and a proxy wherever a test wants one.

Every frame's decision is known beforehand, so that a test can say not only that each frame has one verdict, but that
the fault has changed none.
"""

import os
import signal
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from multiprocessing.process import BaseProcess
from types import TracebackType
from typing import Any

import numpy as np
import psutil

from producers.frame import Image
from producers.publisher import FramePublisher, PublisherSettings
from tests.producers.scripted_worker import wait_until
from tests.worker.processes import stored_verdicts
from worker.bench.null import RECIPE, NullPipeline, start_null_worker
from worker.demo.processes import free_ports
from worker.line import LineKeys, connect
from worker.settings import WorkerSettings
from worker.verdict import Verdict

LONG = os.environ.get("SIGHTLINE_FAULTS") == "long"
ROUNDS = 10 if LONG else 1
FRAMES = 240 if LONG else 60
PATIENCE_S = 90.0
HEARTBEAT_S = 1.5
GOOD, BAD = 50, 200


class FaultLine:
    """One camera's line. Its publisher lives in the test, its workers are processes. A context manager.

    Args:
        redis: URL.
        line: name.
        changes: of the publisher's settings.
    """

    def __init__(self, redis: str, line: str, **changes: Any) -> None:
        self.redis, self.line = redis, line
        self.publisher = FramePublisher(publisher_settings(**changes))
        self.work_port = int(self.publisher.settings.work.rpartition(":")[2])
        self.expected: dict[str, str] = {}
        self.workers: list[BaseProcess] = []

    def __enter__(self) -> "FaultLine":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for worker in self.workers:
            worker.kill()
            worker.join()
        self.publisher.close()

    # -- what runs -----------------------------------------------------------------------------------------------------

    def publish(self, frames: int = FRAMES) -> None:
        """Publishes frames, every third of them bad, and notes what is to become of each."""
        for _ in range(frames):
            good = len(self.expected) % 3 != 0
            frame = self.publisher.publish(picture(GOOD if good else BAD))
            self.expected[str(frame)] = "ok" if good else "defect"

    def settings(self, name: str, *, port: int | None = None, redis: str | None = None, **more: Any) -> WorkerSettings:
        """Of a worker that dials the publisher, or a proxy's port."""
        return worker_settings(name, self.line, redis or self.redis, port=port or self.work_port, **more)

    def worker(
        self,
        name: str = "w1",
        build: Callable[[WorkerSettings], NullPipeline] = NullPipeline,
        **settings: Any,
    ) -> BaseProcess:
        """Starts a worker; it is killed when the line is closed."""
        process = start_null_worker(self.settings(name, **settings), build)
        self.workers.append(process)
        return process

    # -- what is waited for --------------------------------------------------------------------------------------------

    def wait_for_workers(self, count: int) -> None:
        """Until the publisher knows of so many."""
        wait_until(lambda: self.publisher.counts()["workers"] == count, what=f"{count} workers", patience_s=PATIENCE_S)

    def wait_for_verdicts(self, count: int) -> None:
        """Until the stream has at least so many."""
        wait_until(lambda: self.stream_length() >= count, what=f"{count} verdicts", patience_s=PATIENCE_S)

    def drain(self) -> None:
        """Until every frame's verdict is stored. Unlike the publisher's own `drain` it gives nothing up."""
        wait_until(lambda: self.publisher.counts()["open"] == 0, what="a verdict for each", patience_s=PATIENCE_S)

    def stream_length(self) -> int:
        """Verdicts in the stream."""
        client = connect(self.redis, timeout_s=5)
        length: Any = client.xlen(LineKeys(self.line).results)
        client.close()
        return int(length)

    def verdicts(self) -> list[Verdict]:
        """All verdicts in the stream, in its order."""
        return stored_verdicts(self.redis, self.line)

    def worker_counts(self, name: str) -> Counter[str]:
        """What a worker says of its writes in its heartbeat: `stored`, `late`, `duplicate`."""
        client = connect(self.redis, timeout_s=5)
        fields: Any = client.hgetall(LineKeys(self.line).worker(name))
        client.close()
        return Counter({key.decode(): int(value) for key, value in fields.items()})


def publisher_settings(**changes: Any) -> PublisherSettings:
    """Of camera `cam1` at endpoints that nobody has."""
    work, live = (f"tcp://127.0.0.1:{port}" for port in free_ports(2))
    fields = {"camera": "cam1", "recipe": RECIPE, "work": work, "live": live, "heartbeat_s": HEARTBEAT_S, **changes}
    return PublisherSettings.model_validate(fields)


def worker_settings(
    name: str, line: str, redis: str, *, port: int, server_key: str | None = None, **more: Any
) -> WorkerSettings:
    """Of a null worker for camera `cam1`, whose heartbeats and time-outs are quick."""
    camera = {"endpoint": f"tcp://127.0.0.1:{port}", "recipe": RECIPE, "server_key": server_key}
    fields = {
        "name": name,
        "line": line,
        "redis": redis,
        "cameras": {"cam1": camera},
        "ping_s": 0.1,
        "redis_timeout_s": 1.0,
        "log_level": "error",
        **more,
    }
    return WorkerSettings.model_validate(fields)


def picture(level: int, side: int = 16) -> Image:
    """One that the null engine passes if its level is below 128."""
    return np.full((side, side, 3), level, np.uint8)


def expect_one_verdict_each(line: FaultLine, unlucky: Mapping[str, int] | None = None) -> list[Verdict]:
    """Every captured frame has exactly one verdict, and it is the one that the frame has without the fault.

    All workers that still run are told to leave first, and must: nothing comes after.

    Args:
        line: whose frames have all been drained.
        unlucky: by reason, how many frames at most may have failed for the fault's sake. None ever passes for it.

    Returns:
        The verdicts, in the stream's order.
    """
    line.drain()
    dismiss(line.workers)
    verdicts = line.verdicts()
    assert Counter(str(verdict.tag.id) for verdict in verdicts) == Counter(line.expected.keys())
    other = Counter(v.reason.word for v in verdicts if v.reason.word != line.expected[str(v.tag.id)])
    assert all(count <= (unlucky or {}).get(reason, 0) for reason, count in other.items()), other
    assert all(verdict.passed == (verdict.reason.word == "ok") for verdict in verdicts)
    return verdicts


def dismiss(workers: Iterable[BaseProcess]) -> None:
    """Tells workers to leave; each that still lives must drain and end well."""
    living = [worker for worker in workers if worker.is_alive()]
    for worker in living:
        worker.terminate()
    for worker in living:
        worker.join(PATIENCE_S)
        if worker.exitcode is None:
            send(worker, signal.SIGUSR1)  # it says where it stands
            worker.join(1)
        assert worker.exitcode == 0, f"{worker.pid} ended with {worker.exitcode}"


def wait_for_stop(process: BaseProcess) -> None:
    """Until a process has stopped itself."""
    wait_until(
        lambda: psutil.Process(process.pid).status() == psutil.STATUS_STOPPED, what="a stop", patience_s=PATIENCE_S
    )


def wait_for_death(process: BaseProcess) -> None:
    """Until a process has killed itself."""
    process.join(PATIENCE_S)
    assert process.exitcode == -signal.SIGKILL


def send(process: BaseProcess, number: int) -> None:
    """Sends a signal to a process that may be gone."""
    assert process.pid is not None
    with suppress(ProcessLookupError):
        os.kill(process.pid, number)


def resident_bytes(pid: int | None) -> int:
    """Memory that a process has in RAM."""
    return int(psutil.Process(pid).memory_info().rss)
