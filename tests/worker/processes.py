"""The real commands as processes, for tests."""

import multiprocessing
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.worker.forked import command
from worker.line import LineKeys, connect
from worker.verdict import Verdict

SIGHTLINE = [sys.executable, "-m", "worker.cli"]


IMPORTED = ["worker.cli", "worker.daemon", "worker.bench.null", "model.training", "model.evaluation"]
FORKS = multiprocessing.get_context("forkserver")
"""Makes processes that have what most commands import already: importing torch takes longer than what is tested.

There is one such server in a process, and what it imports can't be changed once it runs: `tests/conftest.py` starts it.
"""


def sightline(*arguments: str, timeout_s: float = 120, cwd: Path | None = None) -> "subprocess.CompletedProcess[str]":
    """Runs a command to its end, in a process of its own."""
    with tempfile.TemporaryDirectory() as folder:
        said, complained = Path(folder, "stdout"), Path(folder, "stderr")
        process = FORKS.Process(target=command, args=(arguments, said, complained, cwd, dict(os.environ)))
        process.start()
        process.join(timeout_s)
        if process.exitcode is None:
            process.kill()
            process.join()
            raise subprocess.TimeoutExpired([*SIGHTLINE, *arguments], timeout_s, complained.read_text())
        return subprocess.CompletedProcess(
            arguments, process.exitcode, said.read_text(encoding="utf-8"), complained.read_text(encoding="utf-8")
        )


@contextmanager
def running(*arguments: str, log: Path) -> Iterator["subprocess.Popen[bytes]"]:
    """A command that runs while the test does; its logs go to `log`."""
    with log.open("wb") as output:
        process = subprocess.Popen([*SIGHTLINE, *arguments], stdout=output, stderr=output)
    try:
        yield process
    finally:
        if process.poll() is None:
            process.kill()
        process.wait()


def eventually(condition: Callable[[], bool], timeout_s: float = 30) -> bool:
    """Whether a condition becomes true in time."""
    ends = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > ends:
            return False
        time.sleep(0.02)
    return True


def write_config(path: Path, *, line: str, redis: str, recipes: Path, endpoint: str, name: str = "w1") -> Path:
    """A worker's settings."""
    path.write_text(
        f'line = "{line}"\nredis = "{redis}"\nrecipes = "{recipes}"\nname = "{name}"\nping_s = 0.1\n'
        f'[cameras.cam1]\nendpoint = "{endpoint}"\nrecipe = "part"\n',
        encoding="utf-8",
    )
    return path


def stored_verdicts(url: str, line: str, *, keys: type[LineKeys] = LineKeys) -> list[Verdict]:
    """Every entry of a line's result stream, or of its shadow's."""
    client = connect(url, timeout_s=5)
    found: Any = client.xrange(keys(line).results)
    client.close()
    return [
        Verdict.from_fields(entry.decode(), {key.decode(): value for key, value in fields.items()})
        for entry, fields in found
    ]
