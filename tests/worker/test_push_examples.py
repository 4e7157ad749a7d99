"""The examples for camera programs are true: what they push is judged, each picture once."""

import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.importorskip("torch")

from producers.push import PushHeader
from tests.worker.processes import eventually, running, stored_verdicts
from worker.bench.null import start_null_worker
from worker.demo.processes import free_ports
from worker.settings import CameraSettings, WorkerSettings

EXAMPLES = Path(__file__).parent.parent.parent / "examples" / "push"
SOURCES = [EXAMPLES / "push.py", EXAMPLES / "push.cpp", EXAMPLES / "csharp" / "Push.cs"]
MANDATORY = {"shape", "dtype", "color", "encoding"}
COUNT = 5


class Door:
    """A camera daemon with a push door, a null worker, and a line in a real Redis."""

    def __init__(self, redis: str, line: str, endpoint: str) -> None:
        self.redis, self.line, self.endpoint = redis, line, endpoint

    def expect_all_judged(self, program: list[str], *, timeout_s: float = 60) -> None:
        """Runs a program that pushes `COUNT` pictures; each must end as one verdict that names its part."""
        done = subprocess.run(
            [*program, self.endpoint, str(COUNT)], capture_output=True, text=True, check=False, timeout=timeout_s
        )
        assert done.returncode == 0, done.stderr
        assert eventually(lambda: len(stored_verdicts(self.redis, self.line)) >= COUNT)
        verdicts = sorted(stored_verdicts(self.redis, self.line), key=lambda verdict: verdict.tag.seq)
        assert [verdict.tag.seq for verdict in verdicts] == list(range(COUNT))
        assert [verdict.tag.part_id for verdict in verdicts] == [f"P-{number}" for number in range(COUNT)]
        assert [verdict.tag.trigger for verdict in verdicts] == list(range(COUNT))
        assert [verdict.reason.word for verdict in verdicts] == ["ok"] * COUNT, "the null engine passes a dark corner"
        assert all(verdict.tag.simulated for verdict in verdicts)


@pytest.fixture
def door(tmp_path: Path, redis_url: str, line: str) -> Iterator[Door]:
    """Up while the test runs; at the end the daemon must leave with every verdict stored."""
    work, live, push = free_ports(3)
    settings = WorkerSettings.model_validate(
        {
            "line": line,
            "redis": redis_url,
            "cameras": {"cam1": CameraSettings(endpoint=f"tcp://127.0.0.1:{work}", recipe="null")},
            "name": "null",
            "ping_s": 0.1,
        }
    )
    worker = start_null_worker(settings)
    ends = [f"--work=tcp://127.0.0.1:{work}", f"--live=tcp://127.0.0.1:{live}"]
    log = tmp_path / "camera.log"
    try:
        with running("camera", f"push://127.0.0.1:{push}", "--camera=cam1", *ends, log=log) as camera:
            yield Door(redis_url, line, f"tcp://127.0.0.1:{push}")
            camera.send_signal(signal.SIGTERM)
            assert camera.wait(60) == 0, log.read_text()
    finally:
        worker.kill()
        worker.join()


def test_what_the_python_example_pushes_is_judged_once_each(door: Door) -> None:
    door.expect_all_judged([sys.executable, str(SOURCES[0])])


@pytest.fixture
def built_cpp(tmp_path: Path) -> list[str]:
    """The C++ example, built as its comment says, every warning an error."""
    compiler = shutil.which("g++")
    if compiler is None:
        pytest.skip("no g++: apt install g++")
    probe = [compiler, "-E", "-x", "c++", "-include", "zmq.h", "/dev/null"]
    if subprocess.run(probe, capture_output=True, check=False).returncode:
        pytest.skip("no zmq.h: apt install libzmq3-dev")
    program = str(tmp_path / "push")
    strict = ["-std=c++17", "-O2", "-Wall", "-Wextra", "-Wconversion", "-Werror"]
    command = [compiler, *strict, str(SOURCES[1]), "-o", program, "-lzmq"]
    built = subprocess.run(command, capture_output=True, text=True, check=False)
    assert built.returncode == 0, built.stderr
    return [program]


def test_what_the_cpp_example_pushes_is_judged_once_each(built_cpp: list[str], door: Door) -> None:
    door.expect_all_judged(built_cpp)


@pytest.fixture
def built_csharp(tmp_path: Path) -> list[str]:
    """The C# example, built where there is an SDK and a registry with NetMQ."""
    dotnet = shutil.which("dotnet")
    if dotnet is None:
        pytest.skip("no dotnet: install the .NET SDK, 8 or later")
    project = tmp_path / "csharp"
    shutil.copytree(SOURCES[2].parent, project)
    restored = subprocess.run([dotnet, "restore"], cwd=project, capture_output=True, text=True, check=False)
    if restored.returncode:
        pytest.skip(f"NetMQ can't be had: {restored.stdout.strip().splitlines()[-1:]}")
    command = [dotnet, "build", "--no-restore"]
    built = subprocess.run(command, cwd=project, capture_output=True, text=True, check=False)
    assert built.returncode == 0, built.stdout
    return [dotnet, "run", "--no-build", "--project", str(project), "--"]


@pytest.mark.timeout(400)
def test_what_the_csharp_example_pushes_is_judged_once_each(built_csharp: list[str], door: Door) -> None:
    door.expect_all_judged(built_csharp, timeout_s=120)


def written_keys(source: Path) -> list[str]:
    """The keys of the header that an example's code writes: the names in quotes before a colon."""
    code = re.sub(r"(//|#(?!include)).*", "", source.read_text(encoding="utf-8"))
    return re.findall(r'"{1,2}([a-z][a-z_0-9]*)"{1,2}\s*:(?!:)', code)


@pytest.mark.parametrize("source", SOURCES, ids=lambda source: source.name)
def test_an_example_writes_only_keys_that_the_door_takes_and_all_that_it_needs(source: Path) -> None:
    keys = written_keys(source)
    assert len(keys) == len(set(keys))
    assert set(keys) == MANDATORY | {"part_id", "trigger"}
    assert {name for name, field in PushHeader.model_fields.items() if field.is_required()} == MANDATORY
    assert set(keys) <= set(PushHeader.model_fields)


@pytest.mark.parametrize("source", SOURCES, ids=lambda source: source.name)
def test_an_example_names_every_optional_key_there_is(source: Path) -> None:
    text = re.sub(r"\s+(//|#)?\s*", " ", source.read_text(encoding="utf-8"))
    (named,) = re.findall(r"Optional besides part_id and trigger: ([a-z_0-9, ]+)\.", text)
    assert MANDATORY | set(written_keys(source)) | set(named.split(", ")) == set(PushHeader.model_fields)
