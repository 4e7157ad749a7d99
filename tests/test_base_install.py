"""The base install: what stands beside a camera or a PLC has no torch and works without it."""

import os
import shutil
import subprocess
import venv
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A virtual environment with `pip install .` and nothing else; needs a package registry."""
    folder = tmp_path_factory.mktemp("base")
    source = folder / "source"
    shutil.copytree(ROOT, source, ignore=shutil.ignore_patterns(".*", "tests", "sightline-demo", "recipes", "parts"))
    venv.create(folder / "venv", with_pip=True)
    python = folder / "venv" / ("Scripts" if os.name == "nt" else "bin") / "python"
    install = [
        str(python),
        "-m",
        "pip",
        "install",
        "--quiet",
        "--constraint",
        str(ROOT / "constraints.txt"),
        str(source),
    ]
    done = subprocess.run(install, capture_output=True, text=True, check=False)
    if done.returncode and not os.environ.get("CI"):
        pytest.skip(f"no package registry: {done.stderr.strip().splitlines()[-1]}")
    assert done.returncode == 0, done.stderr
    return python.parent


def run(base: Path, *command: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run([str(base / command[0]), *command[1:]], capture_output=True, text=True, check=False)


@pytest.mark.timeout(300)
def test_the_base_install_has_no_torch(base: Path) -> None:
    done = run(base, "python", "-c", "import importlib.util as u; print(u.find_spec('torch'), u.find_spec('sklearn'))")
    assert done.stdout.split() == ["None", "None"], done.stderr


@pytest.mark.timeout(300)
def test_check_runs_on_the_base_install_and_says_what_is_missing(base: Path) -> None:
    done = run(base, "sightline", "check")
    assert done.returncode == 0, done.stderr
    assert "only a worker needs it" in done.stdout
    assert str(ROOT / "worker") not in done.stdout


@pytest.mark.timeout(300)
def test_camera_runs_on_the_base_install(base: Path, tmp_path: Path) -> None:
    assert run(base, "sightline", "parts", str(tmp_path / "p"), "--train=2", "--good=1", "--bad=0").returncode == 0
    from worker.demo.processes import free_ports

    work, live = (f"tcp://127.0.0.1:{port}" for port in free_ports(2))
    done = run(
        base,
        "sightline",
        "camera",
        str(tmp_path / "p"),
        "--camera=cam1",
        f"--work={work}",
        f"--live={live}",
        "--drain-s=1",
    )
    assert done.returncode == 1  # it published, and nobody judged
    assert "frames without a stored verdict" in done.stderr


@pytest.mark.timeout(300)
def test_subscribe_audit_and_readers_run_on_the_base_install(
    base: Path, redis_url: str, line: str, tmp_path: Path
) -> None:
    from tests.worker.test_reader import Writer

    Writer(redis_url, line).store(0, 1, 2)
    arguments = ["--redis", redis_url, "--line", line, "--from=0", "--count=3"]
    done = run(base, "sightline", "subscribe", *arguments, "--json")
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.splitlines()) == 3
    audit = run(base, "sightline", "audit", *arguments[:4])
    assert audit.returncode == 0, audit.stderr
    pictures = (
        "import sys, numpy; from worker.reader import ResultReader as R; from worker.async_reader import *;"
        f"v = next(R({redis_url!r}, {line!r}).follow(start='0'));"
        "print(v.overlay(numpy.zeros((4, 6, 3), 'uint8')).shape, v.anomaly_map(4, 6).shape, 'torch' in sys.modules)"
    )
    assert run(base, "python", "-c", pictures).stdout.strip() == "(4, 6, 3) (4, 6) False"


@pytest.mark.timeout(300)
@pytest.mark.parametrize("command", [["recordings", "list"], ["replay"]])
def test_what_needs_mcap_says_how_to_get_it(base: Path, command: list[str]) -> None:
    done = run(base, "sightline", *command, "recording.mcap")
    assert done.returncode == 2
    assert "sightline[record]" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.timeout(300)
def test_a_gateway_says_how_to_get_what_it_needs_besides(base: Path) -> None:
    done = run(base, "sightline", "gate", "--config", str(ROOT / "deploy" / "gate.toml"))
    assert done.returncode == 2
    assert "sightline[plc]" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.timeout(300)
@pytest.mark.parametrize("command", [["train", "."], ["worker", "--config", "deploy/worker.toml"], ["demo"]])
def test_what_needs_torch_says_how_to_get_it(base: Path, command: list[str], tmp_path: Path) -> None:
    arguments = [*command, "--out", str(tmp_path / "o")] if command[0] != "worker" else command
    done = subprocess.run([str(base / "sightline"), *arguments], capture_output=True, text=True, check=False, cwd=ROOT)
    assert done.returncode == 2
    assert "sightline[worker]" in done.stderr
    assert "Traceback" not in done.stderr
