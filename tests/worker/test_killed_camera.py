"""A camera program that is killed: every frame it gave out ends as exactly one verdict.

Real processes, a real Redis, and workers without a network.
"""

import os
import subprocess
import sys
from collections import Counter, defaultdict
from collections.abc import Iterator
from multiprocessing.process import BaseProcess
from pathlib import Path

import pytest
from pydantic import SecretStr

pytest.importorskip("torch")

from producers.publisher import PublisherSettings
from producers.record import read_record
from producers.settings import Policy
from tests.worker.processes import eventually, stored_verdicts
from worker.bench.null import RECIPE, start_null_worker
from worker.demo.processes import free_ports
from worker.settings import CameraSettings, WorkerSettings

# Publishes as many frames as it is told on standard input, names each as soon as it is given out; `end` drains.
CAMERA = """
import sys
import numpy as np
from producers.daemon import configure_logging
from producers.publisher import FramePublisher, PublisherSettings

configure_logging()
settings = PublisherSettings.model_validate_json(sys.argv[1])
with FramePublisher(settings) as publisher:
    print(publisher.session, flush=True)
    for line in sys.stdin:
        if line.strip() == "end":
            sys.exit(publisher.drain(60))
        for _ in range(int(line)):
            print(publisher.publish(np.zeros((8, 8, 3), np.uint8)).seq, flush=True)
"""

Verdicts = dict[str, dict[int, str]]


class Camera:
    """A camera program as a process."""

    def __init__(self, settings: str, log: Path) -> None:
        with log.open("ab") as errors:
            self.process = subprocess.Popen(
                [sys.executable, "-c", CAMERA, settings],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
            )
        self.session = self._next()

    def publish(self, count: int) -> None:
        """Has frames published, without waiting for it."""
        self._tell(str(count))

    def named(self, count: int) -> None:
        """Waits until so many more frames were given out."""
        for _ in range(count):
            self._next()

    def kill(self) -> list[int]:
        """SIGKILL; the seqs it had named and nobody had read."""
        self.process.kill()
        out, _ = self.process.communicate()
        return [int(line) for line in out.splitlines(keepends=True) if line.endswith("\n")]

    def end(self) -> int:
        """Drains and leaves; how many frames had no verdict."""
        self._tell("end")
        return self.process.wait(120)

    def _tell(self, line: str) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()

    def _next(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline().strip()


class Line:
    """A line with one camera and null workers; whatever was started ends with the test."""

    def __init__(self, folder: Path, redis_url: str, line: str) -> None:
        work, live = free_ports(2)
        self.folder, self.redis_url, self.line = folder, redis_url, line
        self.state = folder / "journal"
        self._camera = PublisherSettings(
            camera="cam1",
            work=f"tcp://127.0.0.1:{work}",
            live=f"tcp://127.0.0.1:{live}",
            state=self.state,
            heartbeat_s=2.0,
            retain_frames=64,
        )
        self._worker = WorkerSettings(
            line=line,
            redis=SecretStr(redis_url),
            name="w1",
            cameras={"cam1": CameraSettings(endpoint=f"tcp://127.0.0.1:{work}", recipe=RECIPE)},
            ping_s=0.1,
            log_level="error",
        )
        self.cameras: list[Camera] = []
        self.workers: list[BaseProcess] = []

    def camera(self, policy: Policy = "drop_oldest") -> Camera:
        settings = self._camera.model_copy(update={"policy": policy})
        self.cameras.append(Camera(settings.model_dump_json(), self.folder / "camera.log"))
        return self.cameras[-1]

    def worker(self) -> BaseProcess:
        self.workers.append(start_null_worker(self._worker))
        return self.workers[-1]

    def log(self) -> str:
        return (self.folder / "camera.log").read_text()

    def verdicts(self) -> Verdicts:
        """Reasons by session and seq; fails if a frame has two."""
        found: Verdicts = defaultdict(dict)
        for verdict in stored_verdicts(self.redis_url, self.line):
            assert verdict.tag.seq not in found[verdict.tag.session], "a frame has two verdicts"
            found[verdict.tag.session][verdict.tag.seq] = verdict.reason.word
        return found

    def count(self) -> int:
        return sum(map(len, self.verdicts().values()))


@pytest.fixture
def whole(tmp_path: Path, redis_url: str, line: str) -> Iterator[Line]:
    whole = Line(tmp_path, redis_url, line)
    yield whole
    for camera in whole.cameras:
        camera.process.kill()
        camera.process.communicate()
    for worker in whole.workers:
        worker.kill()
        worker.join()


def test_frames_that_were_judged_keep_their_verdict_and_the_rest_are_lost(whole: Line) -> None:
    worker, first = whole.worker(), whole.camera()
    first.publish(20)
    assert eventually(lambda: whole.count() == 20, 60), whole.log()
    worker.terminate()
    worker.join(30)
    first.publish(30)
    first.named(50)
    first.kill()
    second = whole.camera()
    whole.worker()
    second.publish(5)
    assert second.end() == 0, whole.log()
    verdicts = whole.verdicts()
    assert verdicts[first.session] == {seq: "ok" if seq < 20 else "lost" for seq in range(50)}
    assert verdicts[second.session] == dict.fromkeys(range(5), "ok")
    assert list(whole.state.glob("*.journal")) == []


def test_a_camera_killed_in_full_flow_leaves_no_frame_silent_and_none_told_twice(whole: Line) -> None:
    whole.worker()
    first = whole.camera("block")
    first.publish(1_000_000)
    assert eventually(lambda: whole.count() >= 200, 60), whole.log()
    named = first.kill()
    (left,) = whole.state.glob("*.journal")
    given_out = read_record(left).next_seq
    assert given_out > named[-1] >= 200
    second = whole.camera()
    assert second.end() == 0, whole.log()
    of_first = whole.verdicts()[first.session]
    assert sorted(of_first) == list(range(given_out))
    assert set(of_first.values()) <= {"ok", "lost"}
    assert Counter(of_first.values())["ok"] >= 200


def test_a_successor_killed_while_it_tells_of_its_predecessor_loses_nothing_either(whole: Line) -> None:
    first = whole.camera()
    first.publish(3000)
    first.named(3000)
    first.kill()
    worker = whole.worker()
    second = whole.camera()
    second.publish(10)
    second.named(10)
    assert eventually(lambda: whole.count() >= 100, 60), whole.log()
    second.kill()
    worker.kill()
    assert {read_record(path).session for path in whole.state.glob("*.journal")} >= {first.session}
    third = whole.camera()
    third.publish(3)
    third.named(3)
    third.kill()
    whole.worker()
    fourth = whole.camera()
    assert fourth.end() == 0, whole.log()
    verdicts = whole.verdicts()
    assert verdicts[first.session] == dict.fromkeys(range(3000), "lost")
    assert sorted(verdicts[second.session]) == list(range(10))
    assert sorted(verdicts[third.session]) == [0, 1, 2]
    assert list(whole.state.glob("*.journal")) == []


def test_a_torn_record_makes_no_frame_silent(whole: Line) -> None:
    first = whole.camera()
    first.publish(10)
    first.named(10)
    first.kill()
    (left,) = whole.state.glob("*.journal")
    with left.open("r+b") as file:
        file.seek(30)
        file.write(os.urandom(40))
    second = whole.camera()
    whole.worker()
    assert second.end() == 0, whole.log()
    of_first = whole.verdicts()[first.session]
    assert set(of_first.values()) == {"lost"}
    assert sorted(of_first) in (list(range(10)), list(range(11))), "at most one that never was"
