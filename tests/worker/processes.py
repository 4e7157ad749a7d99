"""The real commands as processes, for tests."""

import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from worker.line import LineKeys, connect
from worker.verdict import Verdict

SIGHTLINE = [sys.executable, "-m", "worker.cli"]


def sightline(*arguments: str, timeout_s: float = 120, cwd: Path | None = None) -> "subprocess.CompletedProcess[str]":
    """Runs a command to its end."""
    return subprocess.run(
        [*SIGHTLINE, *arguments], capture_output=True, text=True, timeout=timeout_s, check=False, cwd=cwd
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
