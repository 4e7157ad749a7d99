"""The systemd units: systemd finds no fault with them, they shut in what they start, and it does start."""

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from producers.daemon import ExitCode
from producers.publisher import FramePublisher, PublisherSettings
from tests.deploy.tools import DEPLOY, run_tool, shipped
from tests.notified import Listener, listening
from tests.worker.processes import SIGHTLINE, sightline, write_config
from worker.demo.processes import free_ports
from worker.settings import WorkerSettings

UNITS = ("sightline-worker@", "sightline-camera@", "sightline-gate@")
INSTALLED = "/opt/sightline/bin/sightline"

linux = pytest.mark.skipif(sys.platform != "linux", reason="systemd is Linux's")


def value(unit: str, key: str) -> str:
    (found,) = re.findall(rf"^{key}=(.*)$", shipped(f"{unit}.service"), re.MULTILINE)
    return str(found)


@pytest.fixture
def here(tmp_path: Path) -> Path:
    """A folder with one instance of each unit, which starts a program that there is on this machine."""
    for unit in UNITS:
        text = shipped(f"{unit}.service")
        assert text.count(INSTALLED) == 1
        (tmp_path / f"{unit}a.service").write_text(text.replace(INSTALLED, sys.executable), encoding="utf-8")
    return tmp_path


@linux
@pytest.mark.parametrize("unit", UNITS)
def test_systemd_finds_no_fault(unit: str, here: Path) -> None:
    assert run_tool("systemd-analyze", "verify", f"./{unit}a.service", cwd=here) == "", "not even a warning"


@linux
@pytest.mark.parametrize("unit", UNITS)
def test_exposure_stays_below_two_of_ten(unit: str, here: Path) -> None:
    """Systemd 252 says 1.6 for the worker, 1.2 for the camera and 1.3 for the gateway; later ones look at more."""
    run_tool("systemd-analyze", "security", "--offline=yes", "--threshold=20", f"./{unit}a.service", cwd=here)


def calls(group: str) -> set[str]:
    """The system calls of one of systemd's groups."""
    words = [line.strip() for line in run_tool("systemd-analyze", "syscall-filter", group).splitlines()[1:]]
    named = [word for word in words if word and not word.startswith("#")]
    return {call for word in named for call in (calls(word) if word.startswith("@") else {word})}


@linux
@pytest.mark.parametrize("unit", UNITS)
def test_no_unit_forbids_what_libzmq_and_torch_can_t_do_without(unit: str) -> None:
    """A libzmq that may not set the scheduling of its threads, or list network interfaces when it binds, aborts."""
    allowed: set[str] = set()
    for line in re.findall(r"^SystemCallFilter=(.*)$", shipped(f"{unit}.service"), re.MULTILINE):
        groups = {call for group in line.removeprefix("~").split() for call in calls(group)}
        allowed = allowed - groups if line.startswith("~") else allowed | groups
    assert {"sched_setscheduler", "sched_setaffinity", "mbind", "eventfd2", "epoll_wait", "futex"} <= allowed
    assert "AF_NETLINK" in value(unit, "RestrictAddressFamilies").split()
    assert not {"mount", "reboot", "init_module", "ptrace", "chown", "setuid"} & allowed


@linux
def test_the_user_that_the_units_name_can_be_made() -> None:
    run_tool("systemd-sysusers", "--dry-run", str(DEPLOY / "sightline.sysusers"))
    name = shipped("sightline.sysusers").split()[1]
    assert {value(unit, "User") for unit in UNITS} == {name}


def test_systemd_has_more_patience_than_a_daemon_takes_to_drain() -> None:
    drain_s = WorkerSettings.model_fields["drain_s"].default
    assert int(value("sightline-worker@", "TimeoutStopSec")) > drain_s
    assert int(value("sightline-worker@", "WatchdogSec")) > drain_s, "the loop does not turn while the last are stored"
    assert int(value("sightline-camera@", "TimeoutStopSec")) > 60, "--drain-s"


def test_what_a_new_start_can_t_cure_is_not_started_again() -> None:
    assert value("sightline-worker@", "RestartPreventExitStatus") == f"{ExitCode.SETTINGS:d} {ExitCode.BUNDLE:d}"
    assert value("sightline-camera@", "RestartPreventExitStatus") == f"{ExitCode.SETTINGS:d}"
    assert value("sightline-gate@", "RestartPreventExitStatus") == f"{ExitCode.SETTINGS:d}"


@contextmanager
def started(command: list[str], systemd: Listener, log: Path, **more: str) -> Iterator[None]:
    """A unit's command as systemd starts it."""
    environment = {**os.environ, **more, "NOTIFY_SOCKET": systemd.address, "WATCHDOG_USEC": "1000000"}
    assert command[0] == INSTALLED
    with log.open("wb") as output:
        process = subprocess.Popen([*SIGHTLINE, *command[1:]], stdout=output, stderr=output, env=environment)
    try:
        yield
    finally:
        process.kill()
        process.wait()


def words(unit: str, instance: str, environment: dict[str, str]) -> list[str]:
    """What systemd makes of `ExecStart`: `${NAME}` is one word, `$NAME` as many as it has."""
    line = value(unit, "ExecStart").replace("%i", instance).replace("%H", "plant-pc")
    found = []
    for word in shlex.split(line):
        if word.startswith("$") and not word.startswith("${"):
            found += shlex.split(environment[word[1:]])
        else:
            found.append(re.sub(r"\$\{(\w+)\}", lambda match: environment[match[1]], word))
    return found


@linux
def test_the_camera_unit_starts_a_camera_with_the_shipped_environment(tmp_path: Path) -> None:
    lines = [line for line in shipped("camera.env").splitlines() if line and not line.startswith("#")]
    environment = dict(line.split("=", 1) for line in lines)
    for port in sorted(set(re.findall(r"127\.0\.0\.1:(\d+)", " ".join(lines)))):
        free = str(free_ports(1)[0])
        environment = {key: text.replace(f":{port}", f":{free}") for key, text in environment.items()}
    command = [word.replace("/var/lib", str(tmp_path)) for word in words("sightline-camera@", "cam1", environment)]
    with listening(tmp_path) as systemd, started(command, systemd, tmp_path / "log", **environment):
        systemd.wait_for("READY=1")
        systemd.wait_for("WATCHDOG=1")


@linux
def test_the_worker_unit_starts_a_worker(tmp_path: Path, redis_url: str, line: str, recipes: Path) -> None:
    pytest.importorskip("torch")
    work, live = (f"tcp://127.0.0.1:{port}" for port in free_ports(2))
    config = write_config(tmp_path / "worker-a.toml", line=line, redis=redis_url, recipes=recipes, endpoint=work)
    command = [word.replace("/etc/sightline", str(config.parent)) for word in words("sightline-worker@", "a", {})]
    with (
        FramePublisher(PublisherSettings(camera="cam1", work=work, live=live)),
        listening(tmp_path) as systemd,
        started(command, systemd, tmp_path / "log"),
    ):
        systemd.wait_for("READY=1", 90)
        systemd.wait_for("WATCHDOG=1")


@linux
def test_the_gate_unit_starts_a_gateway_that_says_what_it_lacks(tmp_path: Path, redis_url: str, line: str) -> None:
    pytest.importorskip("pymodbus")
    text = shipped("gate.toml").replace("127.0.0.1:1502", f"127.0.0.1:{free_ports(1)[0]}")
    (tmp_path / "gate-a.toml").write_text(text, encoding="utf-8")
    command = [word.replace("/etc/sightline", str(tmp_path)) for word in words("sightline-gate@", "a", {})]
    here = {"SIGHTLINE_REDIS": redis_url, "SIGHTLINE_LINE": line}
    with listening(tmp_path) as systemd, started(command, systemd, tmp_path / "log", **here):
        systemd.wait_for("READY=1")
        systemd.wait_for("WATCHDOG=1")
        systemd.wait_for("STATUS=waits: no PLC is there")


def test_the_shipped_worker_settings_are_read(tmp_path: Path) -> None:
    done = sightline("check", "--json", "--config", str(DEPLOY / "worker.toml"), cwd=tmp_path)
    assert done.returncode == ExitCode.NO, "nothing runs here, but the file is right"


def test_the_page_names_every_file_beside_it_and_every_exit_code() -> None:
    page = shipped("README.md")
    for path in DEPLOY.iterdir():
        assert path.name in page, path.name
    rows = dict(re.findall(r"^\| (\d+) \| `(\w+)`", page, re.MULTILINE))
    assert {code: name for code, name in rows.items() if int(code) < 128} == {str(int(c)): c.name for c in ExitCode}
