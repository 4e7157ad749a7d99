"""The tools that know whether a file for them is right; a test without its tool says so and skips."""

import shutil
import subprocess
from pathlib import Path

import pytest

DEPLOY = Path(__file__).parent.parent.parent / "deploy"
PACKAGES = {"systemd-analyze": "systemd", "systemd-sysusers": "systemd", "promtool": "prometheus"}


def run_tool(name: str, *arguments: str, cwd: Path = DEPLOY) -> str:
    """Runs a tool that must be content; returns what it said."""
    tool = shutil.which(name)
    if tool is None:
        pytest.skip(f"no {name} on PATH (apt install {PACKAGES[name]})")
    done = subprocess.run([tool, *arguments], cwd=cwd, capture_output=True, text=True, timeout=120, check=False)
    said = done.stdout + done.stderr
    assert done.returncode == 0, said
    return said


def shipped(name: str) -> str:
    """A file in `deploy/`."""
    return (DEPLOY / name).read_text(encoding="utf-8")
