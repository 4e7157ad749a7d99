"""The README is true to the letter: every command and every example in it is run."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from worker.demo.processes import free_ports, redis_server

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
SHELL = dict(re.findall(r"<!-- ([\w -]+) -->\n```sh\n(.*?)```", README, re.DOTALL))
PYTHON = re.findall(r"```python\n(.*?)```", README, re.DOTALL)


class Place:
    """A folder like a clone's, a PATH with `sightline` and `redis-server`, and ports nobody else has."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.ports = dict(zip(("6379", "5555", "5556"), map(str, free_ports(3)), strict=True))
        tools = folder / "tools"
        tools.mkdir()
        (tools / "redis-server").symlink_to(redis_server())
        (tools / "sightline").write_text(f'#!/bin/sh\nexec "{sys.executable}" -m worker.cli "$@"\n')
        (tools / "sightline").chmod(0o755)
        ports = {
            "SIGHTLINE_REDIS": f"redis://127.0.0.1:{self.ports['6379']}/0",
            "SIGHTLINE_WORK": f"tcp://127.0.0.1:{self.ports['5555']}",
            "SIGHTLINE_LIVE": f"tcp://127.0.0.1:{self.ports['5556']}",
        }
        self.environment = {**os.environ, **ports, "PATH": f"{tools}:{os.environ['PATH']}", "PYTHONPATH": str(ROOT)}
        shutil.copytree(ROOT / "deploy", folder / "deploy")
        toml = folder / "deploy" / "worker.toml"
        toml.write_text(self.here(toml.read_text()))
        (folder / "worker.toml").write_text(toml.read_text())

    def here(self, text: str) -> str:
        """The same commands on this machine's free ports."""
        for port, free in self.ports.items():
            text = re.sub(rf"\b{port}\b", free, text)
        return (
            text.replace("camera-pc", "127.0.0.1").replace("line-server", "127.0.0.1").replace("0.0.0.0", "127.0.0.1")
        )

    def shell(self, script: str) -> "subprocess.Popen[str]":
        """Runs commands; whatever they leave in the background ends with them."""
        ended = "set -e\ntrap 'code=$?; kill $(jobs -p) 2>/dev/null || true; wait; exit $code' EXIT\n"
        return subprocess.Popen(
            ["bash", "-c", ended + self.here(script)],
            cwd=self.folder,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Place:
    pytest.importorskip("torch")
    return Place(tmp_path_factory.mktemp("readme"))


@pytest.mark.timeout(400)
def test_the_pieces_run_by_hand_on_one_machine(place: Place) -> None:
    process = place.shell(SHELL["by hand"])
    out, err = process.communicate(timeout=390)
    assert process.returncode == 0, err
    assert len([line for line in out.splitlines() if line.startswith("cam1 ")]) == 120
    assert "image AUROC" in out


@pytest.mark.timeout(200)
def test_the_pieces_run_by_hand_on_two_machines(place: Place) -> None:
    """After the test above, whose parts and recipe are there; the two machines are this one."""
    redis = place.shell('redis-server --port 6379 --save ""')
    worker = place.shell(f"exec {SHELL['line-server'].strip()}")
    subscriber = place.shell(SHELL["anywhere"])
    camera = place.shell(SHELL["camera-pc"])
    try:
        assert camera.wait(150) == 0, camera.communicate()[1]
        out, err = subscriber.communicate(timeout=30)
        assert subscriber.returncode == 0, err
        assert len(set(out.splitlines())) == 120
    finally:
        for process in (worker, subscriber, camera, redis):
            process.terminate()
            process.communicate()


@pytest.mark.parametrize("example", PYTHON, ids=["publish", "read", "watch"])
def test_the_examples_are_whole_programs_that_import(example: str) -> None:
    imports = "\n".join(line for line in example.splitlines() if line.startswith(("import ", "from ")))
    subprocess.run([sys.executable, "-c", imports], check=True, cwd=ROOT)
    compile(example, "README.md", "exec")


@pytest.mark.timeout(60)
def test_the_examples_work_together(place: Place, redis_url: str) -> None:
    """The viewer sees what the publisher of the example publishes; the reader connects."""
    publish, read, watch = (place.here(example) for example in PYTHON)
    ports = f'work="tcp://127.0.0.1:{place.ports["5555"]}", live="tcp://127.0.0.1:{place.ports["5556"]}", '
    publish = publish.replace('camera="cam1", ', f'camera="cam1", {ports}')
    viewer = subprocess.Popen([sys.executable, "-c", watch], stdout=subprocess.PIPE, text=True, cwd=ROOT)
    try:
        looped = publish.replace("    publisher.publish(", "    for _ in range(40):\n        publisher.publish(")
        looped = looped.replace('part_id="A-1042")', 'part_id="A-1042"); __import__("time").sleep(0.1)')
        subprocess.run([sys.executable, "-c", looped], check=True, cwd=ROOT, timeout=50)
        out, _ = viewer.communicate(timeout=5)
        assert '"part_id":"A-1042"' in out
        assert out.rstrip().endswith(str(256 * 256 * 3))
    finally:
        viewer.kill()
        viewer.wait()
    reader = read.replace(f"redis://127.0.0.1:{place.ports['6379']}/0", redis_url).replace(
        "follow(start", "follow(until=lambda: True, start"
    )
    subprocess.run([sys.executable, "-c", reader], check=True, cwd=ROOT, timeout=30)


def test_the_keys_are_made_as_it_says(place: Place) -> None:
    keys = place.shell(SHELL["keys"])
    out, err = keys.communicate(timeout=60)
    assert keys.returncode == 0, err
    assert "w1" in out


def test_every_command_in_the_readme_is_in_a_block_that_is_run() -> None:
    commands = set(re.findall(r"^(sightline \w+)", README, re.MULTILINE))
    run = "\n".join(SHELL.values())
    assert commands
    assert all(command in run for command in commands)


def test_the_make_targets_of_the_readme_are_there() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    assert all(f"\n{target}:" in makefile for target in set(re.findall(r"(?:^|`)make ([\w-]+)", README, re.M)))
