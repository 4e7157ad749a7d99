"""The demo: the whole line from nothing, and nothing of it left when it ends."""

import contextlib
import json
import os
import signal
import socket
import subprocess
from pathlib import Path

import psutil
import pytest

pytest.importorskip("torch")

from tests.worker.processes import SIGHTLINE, eventually
from worker.demo.processes import Processes
from worker.errors import ResultsUnavailable, WorkerError

KEYS = {
    "frames",
    "verdicts",
    "missing",
    "duplicates",
    "passed",
    "failed",
    "image_auroc",
    "baseline_auroc",
    "false_reject_rate",
    "miss_rate",
    "latency_ms",
}


def test_the_demo_ends_with_one_verdict_a_frame_and_says_so_in_json(tmp_path: Path, parts_root: Path) -> None:
    arguments = ["demo", f"--data={parts_root}", "--steps=20", "--rate=0", "--json", f"--out={tmp_path / 'out'}"]
    done = subprocess.run([*SIGHTLINE, *arguments], capture_output=True, text=True, check=False, timeout=170)
    assert done.returncode == 0, done.stderr
    summary = json.loads(done.stdout)
    assert summary.keys() == KEYS
    assert [summary[key] for key in ("frames", "verdicts", "missing", "duplicates")] == [16, 16, 0, 0]
    assert summary["passed"] + summary["failed"] == 16
    assert {path.name for path in (tmp_path / "out").iterdir()} >= {"part", "summary.json"}


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["ctrl-c", "sigterm"])
def test_nothing_is_left_of_a_demo_that_is_stopped_in_the_middle(
    tmp_path: Path, parts_root: Path, number: signal.Signals
) -> None:
    arguments = ["demo", f"--data={parts_root}", "--steps=20", "--rate=1", f"--out={tmp_path / 'out'}"]
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    process = subprocess.Popen([*SIGHTLINE, *arguments], stderr=subprocess.PIPE, env=environment)
    children: list[psutil.Process] = []

    def both_daemons_run() -> bool:
        children[:] = psutil.Process(process.pid).children(recursive=True)
        commands = []
        for child in children:
            with contextlib.suppress(psutil.NoSuchProcess, psutil.ZombieProcess):  # gone since: training has its end
                commands.append(" ".join(child.cmdline()))
        return all(
            any(word in command for command in commands) for word in ("redis-server", "cli worker", "cli camera")
        )

    try:
        assert eventually(both_daemons_run, 120)
        process.send_signal(number)
        process.communicate(timeout=60)
        assert process.returncode == 130
        assert not [child for child in children if child.is_running() and child.status() != psutil.STATUS_ZOMBIE]
        assert not list(tmp_path.glob("sightline-demo-*"))
    finally:
        process.kill()


def test_a_process_that_dies_is_noticed_with_its_last_words(tmp_path: Path) -> None:
    with Processes(tmp_path) as processes:
        process = processes.sightline("worker", "worker", "--config", str(tmp_path / "none.toml"))
        process.wait(60)
        with pytest.raises(WorkerError, match=r"exit code 2.*none\.toml"):
            processes.expect_alive("worker")


def test_a_redis_that_can_not_start_is_one_clear_error(tmp_path: Path) -> None:
    with socket.socket() as taken, Processes(tmp_path) as processes:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(ResultsUnavailable, match=r"did not start.*in use"):
            processes.redis(taken.getsockname()[1])
