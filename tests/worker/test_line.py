"""The whole line with real processes: every frame ends as exactly one verdict, whatever happens to the worker."""

import os
import signal
import subprocess
from collections import Counter
from contextlib import AbstractContextManager
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

pytest.importorskip("torch")

from model.bundle import read_bundle
from model.dataset import read_image
from model.engine import Engine
from producers.parts import draw_part
from producers.publisher import FramePublisher, PublisherSettings
from tests.conftest import RedisServer, start_redis, stop_redis
from tests.worker.processes import eventually, running, sightline, stored_verdicts, write_config
from worker.demo.processes import free_ports
from worker.verdict import Verdict


class Line:
    """A line of one camera, whose publisher lives in the test."""

    def __init__(self, folder: Path, redis_url: str, line: str, recipes: Path) -> None:
        self.redis_url, self.line, self.folder = redis_url, line, folder
        work, live = free_ports(2)
        self.publisher = FramePublisher(
            PublisherSettings(
                camera="cam1",
                work=f"tcp://127.0.0.1:{work}",
                live=f"tcp://127.0.0.1:{live}",
                heartbeat_s=1.0,
                ack_timeout_s=20,
            )
        )
        self.configs = [
            write_config(
                folder / f"w{number}.toml",
                line=line,
                redis=redis_url,
                recipes=recipes,
                endpoint=f"tcp://127.0.0.1:{work}",
                name=f"w{number}",
            )
            for number in (1, 2)
        ]

    def all(self) -> list[Verdict]:
        return stored_verdicts(self.redis_url, self.line)

    def worker(self, number: int) -> AbstractContextManager["subprocess.Popen[bytes]"]:
        return running("worker", "--config", str(self.configs[number - 1]), log=self.folder / f"w{number}.log")

    def log(self, name: str) -> str:
        return (self.folder / f"{name}.log").read_text()


@pytest.fixture
def whole(tmp_path: Path, redis_url: str, line: str, recipes: Path) -> Line:
    return Line(tmp_path, redis_url, line, recipes)


def part(seed: int) -> NDArray[np.uint8]:
    return draw_part(np.random.default_rng(seed))[0]


def expect_one_verdict_each(whole: Line, frames: int) -> list[Verdict]:
    verdicts = whole.all()
    assert Counter(verdict.tag.seq for verdict in verdicts) == Counter(range(frames))
    return verdicts


def test_verdicts_have_the_scores_that_the_engine_gives_the_same_pictures(whole: Line, recipes: Path) -> None:
    pictures = [part(seed) for seed in range(6)]
    with (
        whole.publisher as publisher,
        whole.worker(1),
    ):
        for picture in pictures:
            publisher.publish(picture)
        assert publisher.drain(60) == 0
    bundle = read_bundle(recipes / "part")
    engine, calibration = Engine.of(bundle), bundle.manifest.calibration
    for verdict in expect_one_verdict_each(whole, 6):
        (expected,) = engine.inspect([cv2.cvtColor(pictures[verdict.tag.seq], cv2.COLOR_BGR2RGB).astype(np.uint8)])
        assert verdict.score == pytest.approx(expected.score, abs=1e-4 * (calibration.high - calibration.low))
        assert verdict.passed == calibration.passes(expected.score)
        assert verdict.model == bundle.label
        assert set(verdict.latency_us) == {"wire", "queue", "prepare", "infer", "judge", "store"}


def test_a_bad_frame_fails_by_name_and_its_neighbours_are_judged(whole: Line) -> None:
    with (
        whole.publisher as publisher,
        whole.worker(1),
    ):
        publisher.publish(part(0))
        publisher.publish(np.zeros((40, 40, 3), np.uint8), part_id="small")
        publisher.publish(np.zeros((256, 256), np.uint16), color="mono", part_id="grey")
        publisher.give_up("bad_frame", part_id="torn")
        publisher.publish(part(1))
        assert publisher.drain(60) == 0
    by_seq = {verdict.tag.seq: verdict for verdict in expect_one_verdict_each(whole, 5)}
    assert [by_seq[seq].reason.word for seq in (1, 2, 3)] == ["bad_frame"] * 3
    assert [by_seq[seq].tag.part_id for seq in (1, 2, 3)] == ["small", "grey", "torn"]
    assert by_seq[0].score is not None
    assert by_seq[4].score is not None


def test_a_worker_killed_with_frames_in_hand_leaves_none_without_a_verdict(whole: Line) -> None:
    with whole.publisher as publisher:
        with whole.worker(1) as first:
            for seed in range(40):
                publisher.publish(part(seed % 4))
            assert eventually(lambda: len(whole.all()) >= 5), whole.log("w1")
            os.kill(first.pid, signal.SIGKILL)
        assert len(whole.all()) < 40
        with whole.worker(2):
            assert publisher.drain(60) == 0
            assert publisher.counts()["resent"] > 0
    verdicts = expect_one_verdict_each(whole, 40)
    assert {verdict.worker for verdict in verdicts} == {"w1", "w2"}


def test_a_worker_told_to_stop_finishes_what_it_has_and_leaves_the_rest(whole: Line) -> None:
    with whole.publisher as publisher:
        with whole.worker(1) as first:
            for seed in range(40):
                publisher.publish(part(seed % 4))
            assert eventually(lambda: len(whole.all()) >= 5), whole.log("w1")
            first.terminate()
            assert first.wait(30) == 0, whole.log("w1")
        with whole.worker(2):
            assert publisher.drain(60) == 0
    verdicts = expect_one_verdict_each(whole, 40)
    assert all(verdict.score is not None for verdict in verdicts)


def test_redis_killed_in_mid_run_delays_verdicts_and_loses_none(
    tmp_path: Path, own_redis: RedisServer, line: str, recipes: Path
) -> None:
    stop_redis(own_redis)
    durable = start_redis(tmp_path, "--appendonly", "yes", "--appendfsync", "always", port=own_redis.port)
    whole = Line(tmp_path, durable.url, line, recipes)
    with whole.publisher as publisher, whole.worker(1):
        for seed in range(15):
            publisher.publish(part(seed % 4))
        assert eventually(lambda: len(whole.all()) >= 3), whole.log("w1")
        stop_redis(durable)
        for seed in range(15):
            publisher.publish(part(seed % 4))
        again = start_redis(tmp_path, "--appendonly", "yes", "--appendfsync", "always", port=own_redis.port)
        try:
            assert publisher.drain(60) == 0
            expect_one_verdict_each(whole, 30)
        finally:
            stop_redis(again)


def test_a_frame_whose_budget_is_over_is_not_passed(tmp_path: Path, redis_url: str, line: str, recipes: Path) -> None:
    whole = Line(tmp_path, redis_url, line, recipes)
    settings = whole.publisher.settings.model_copy(update={"budget_ms": 1.0})
    whole.publisher.close()
    with FramePublisher(settings) as publisher:
        publisher.publish(part(0))
        with whole.worker(1):
            assert publisher.drain(60) == 0
    (verdict,) = expect_one_verdict_each(whole, 1)
    assert (verdict.passed, verdict.reason.word) == (False, "expired")


def test_a_folder_replayed_by_the_camera_daemon_has_one_verdict_a_picture(
    whole: Line, parts_root: Path, recipes: Path
) -> None:
    """A picture that nobody can read among them ends as `bad_frame`, by its name."""
    endpoint = whole.publisher.settings.work
    whole.publisher.close()
    folder = whole.folder / "pictures"
    folder.mkdir()
    for path in sorted((parts_root / "test" / "good").iterdir()):
        (folder / path.name).write_bytes(path.read_bytes())
    (folder / "torn.png").write_bytes(b"\x89PNG torn")
    (folder / "empty.jpg").write_bytes(b"")
    with whole.worker(1):
        live = f"tcp://127.0.0.1:{free_ports(1)[0]}"
        done = sightline("camera", str(folder), "--camera=cam1", f"--work={endpoint}", f"--live={live}")
    assert done.returncode == 0, done.stderr
    verdicts = expect_one_verdict_each(whole, 10)
    by_part = {verdict.tag.part_id: verdict for verdict in verdicts}
    assert {by_part[name].reason.word for name in ("torn.png", "empty.jpg")} == {"bad_frame"}
    assert all(verdict.tag.simulated for verdict in verdicts)
    engine = Engine.of(read_bundle(recipes / "part"))
    (expected,) = engine.inspect([read_image(folder / "000.png")])
    assert by_part["000.png"].score == pytest.approx(expected.score, rel=1e-4)
