"""The benches that break the line: they break what they say they do, and count what is left."""

import json
import os
import random
import signal
import subprocess
from collections import Counter
from pathlib import Path

import psutil
import pytest
from pydantic import SecretStr

pytest.importorskip("torch")

from producers.publisher import FramePublisher, PublisherSettings
from tests.worker.processes import SIGHTLINE, eventually, sightline
from worker.bench.away import run_away
from worker.bench.faults import RESTARTS, WORKERS, What, schedule
from worker.bench.null import RECIPE, start_null_worker
from worker.bench.rig import Rig
from worker.bench.tally import stored_entries, tally
from worker.demo.processes import free_ports
from worker.settings import CameraSettings, WorkerSettings


@pytest.mark.timeout(400)
def test_frames_have_one_right_verdict_each_though_workers_and_redis_are_killed() -> None:
    done = sightline("bench", "faults", "--frames=500", "--json", timeout_s=360)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert [found[key] for key in ("frames", "verdicts", "missing", "duplicates", "wrong")] == [500, 500, 0, 0, 0]
    assert (found["worker_kills"], found["redis_restarts"]) == (20, 3)
    assert found["resent"] > 0
    assert found["by_reason"]["ok"] > found["by_reason"]["defect"] > 0
    assert set(found["by_reason"]) <= {"ok", "defect", "worker_error"}


def test_frames_captured_while_redis_is_away_have_one_verdict_each_and_none_is_lost() -> None:
    found = run_away(2.0, 100.0, seed=0).to_json()
    assert found["frames"] == found["verdicts"] >= 500
    assert [found[key] for key in ("missing", "duplicates", "wrong")] == [0, 0, 0]
    assert set(found["by_reason"]) == {"ok", "defect"}
    assert found["held"] >= 150
    assert 0 < found["drained_s"] < 30
    assert found["longest_gap_ms"] >= 10


def test_blows_are_spread_over_the_run_and_leave_its_end_alone() -> None:
    for frames, kills in ((100, 2), (500, 10), (20_000, 20)):
        faults = schedule(frames, random.Random(3))
        assert Counter((fault.what, fault.worker) for fault in faults) == {
            **{(What.KILL, worker): kills for worker in range(WORKERS)},
            (What.REDIS_DOWN, 0): RESTARTS,
            (What.REDIS_BACK, 0): RESTARTS,
        }
        assert all(frames // 20 <= fault.at < frames * 9 // 10 for fault in faults)
        redis = [fault.what for fault in faults if fault.what is not What.KILL]
        assert redis == [What.REDIS_DOWN, What.REDIS_BACK] * RESTARTS


def test_the_same_seed_deals_the_same_blows_and_another_deals_others() -> None:
    assert schedule(1000, random.Random(1)) == schedule(1000, random.Random(1))
    assert schedule(1000, random.Random(1)) != schedule(1000, random.Random(2))


def test_a_worker_with_nothing_in_hand_is_not_killed_and_goes_on(tmp_path: Path) -> None:
    with Rig(tmp_path, workers=1, seed=0, policy="block", retain_frames=64, slow_ms=0.0) as rig:
        assert not rig.kill_holding(0)
        rig.capture()
        assert rig.publisher.drain(60) == 0
        assert rig.in_hand(0) == set()
        assert not rig.kill_holding(0)
        assert rig.running(0)
        rig.expect_alive()


def test_a_killed_redis_comes_back_with_every_verdict_it_had_acknowledged(tmp_path: Path) -> None:
    with Rig(tmp_path, workers=1, seed=0, policy="block", retain_frames=64, slow_ms=0.0) as rig:
        for _ in range(50):
            rig.capture()
        assert rig.publisher.drain(60) == 0
        rig.kill_redis()
        rig.start_redis()
        assert tally(stored_entries(rig.url, rig.line), rig.scores).whole


def test_a_worker_that_finds_no_redis_ends_before_any_publisher_knows_it() -> None:
    work, live, nobody = free_ports(3)
    ends = {"work": f"tcp://127.0.0.1:{work}", "live": f"tcp://127.0.0.1:{live}"}
    settings = WorkerSettings(
        redis=SecretStr(f"redis://127.0.0.1:{nobody}/0"),
        cameras={"cam1": CameraSettings(endpoint=ends["work"], recipe=RECIPE)},
        log_level="error",
    )
    with FramePublisher(PublisherSettings(camera="cam1", **ends)) as publisher:
        process = start_null_worker(settings)
        seen: set[int] = set()

        def ended() -> bool:
            seen.add(publisher.counts()["workers"])
            return not process.is_alive()

        assert eventually(ended, 60)
        assert process.exitcode == 1
        assert seen == {0}


@pytest.mark.timeout(400)
def test_nothing_is_left_of_a_bench_that_is_stopped_in_the_middle(tmp_path: Path) -> None:
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    command = [*SIGHTLINE, "bench", "faults", "--frames=100000", "--json"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=environment)
    children: list[psutil.Process] = []

    def all_run() -> bool:
        """Redis, what workers are forked off with its tracker, and a worker."""
        children[:] = psutil.Process(process.pid).children(recursive=True)
        return len(children) >= 4 and any("redis-server" in child.name() for child in children)

    try:
        assert eventually(all_run, 300)
        process.send_signal(signal.SIGTERM)
        out, _ = process.communicate(timeout=60)
        assert (process.returncode, out) == (130, b"")
        gone, _ = psutil.wait_procs(children, timeout=30)
        assert len(gone) == len(children)
        assert not list(tmp_path.glob("sightline-bench-*"))
    finally:
        process.kill()
