"""Processes that a bench or the demo starts: none is forgotten, whenever it is told to stop."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil

from worker.demo.processes import Processes

# Is told to stop at a random moment while it starts processes.
STARTS = """
import os, random, signal, sys, threading, time
from pathlib import Path
from worker.demo.processes import Processes, interrupt_on_sigterm
interrupt_on_sigterm()
with Processes(Path(sys.argv[1])) as processes:
    threading.Timer(random.uniform(0, 0.05), os.kill, (os.getpid(), signal.SIGTERM)).start()
    for number in range(200):
        processes.start(f"sleep-{number}", ["sleep", "600"])
"""


def test_a_stop_while_processes_are_started_leaves_none_of_them(tmp_path: Path) -> None:
    for _ in range(8):
        command = [sys.executable, "-c", STARTS, str(tmp_path)]
        done = subprocess.run(command, stderr=subprocess.PIPE, text=True, timeout=60, check=False)
        assert "KeyboardInterrupt" in done.stderr
        mine = [process for process in psutil.process_iter(["cmdline"]) if process.info["cmdline"] == ["sleep", "600"]]
        assert not [process for process in mine if _logs_in(process, tmp_path)]


def _logs_in(process: psutil.Process, folder: Path) -> bool:
    try:
        return str(folder) in str(Path(f"/proc/{process.pid}/fd/1").readlink())
    except OSError:
        return False  # it has just ended


def test_a_signal_that_came_meanwhile_counts_afterwards(tmp_path: Path) -> None:
    heard: list[float] = []
    before = signal.signal(signal.SIGTERM, lambda *_: heard.append(time.monotonic()))
    try:
        with Processes(tmp_path) as processes:
            processes.start("kill", ["kill", "-TERM", str(os.getpid())]).wait()
            while not heard:
                time.sleep(0.01)
    finally:
        signal.signal(signal.SIGTERM, before)
    assert len(heard) == 1
