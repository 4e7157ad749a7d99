"""The command: bad input gets one clear sentence, a named exit code, and leaves nothing half-written."""

import json
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from producers.daemon import ExitCode
from tests.worker.processes import sightline, write_config
from worker.cli import exit_code
from worker.demo.processes import free_ports

NOWHERE = "redis://user:secret@127.0.0.1:1/0"


def expect(done: "subprocess.CompletedProcess[str]", code: ExitCode, *words: str) -> None:
    """One sentence on standard error that says what is wrong, and the code."""
    assert done.returncode == code, done.stderr
    lines = [line for line in done.stderr.splitlines() if line.startswith("sightline ")]
    assert len(lines) == 1, done.stderr
    assert "Traceback" not in done.stderr
    for word in words:
        assert word in lines[0]


def config(tmp_path: Path, text: str = "", *, redis: str = NOWHERE, recipes: Path | None = None) -> Path:
    path = write_config(
        tmp_path / "worker.toml",
        line="test",
        redis=redis,
        recipes=recipes or tmp_path / "recipes",
        endpoint="tcp://127.0.0.1:1",
    )
    path.write_text(text + path.read_text())
    return path


def test_an_unknown_key_in_the_file_is_named(tmp_path: Path) -> None:
    expect(sightline("worker", "--config", str(config(tmp_path, "max_bach = 4\n"))), ExitCode.SETTINGS, "max_bach")


def test_a_file_that_is_not_toml_is_named(tmp_path: Path) -> None:
    expect(sightline("worker", "--config", str(config(tmp_path, "= 4\n"))), ExitCode.SETTINGS, "worker.toml")


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    expect(sightline("worker", "--config", str(tmp_path / "none.toml")), ExitCode.SETTINGS, "none.toml")


def test_a_worker_without_cameras_is_refused(tmp_path: Path) -> None:
    (tmp_path / "worker.toml").write_text('line = "a"\n')
    expect(sightline("worker", "--config", str(tmp_path / "worker.toml")), ExitCode.SETTINGS, "cameras")


def test_redis_that_is_not_there_is_named_without_its_password(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    done = sightline("worker", "--config", str(config(tmp_path)))
    expect(done, ExitCode.UNREACHABLE, "redis://127.0.0.1:1/0")
    assert "secret" not in done.stderr


def test_a_recipe_without_a_bundle_is_named(tmp_path: Path, redis_url: str) -> None:
    pytest.importorskip("torch")
    done = sightline("worker", "--config", str(config(tmp_path, redis=redis_url)))
    expect(done, ExitCode.BUNDLE, "recipe part")


def test_a_bundle_whose_digest_is_wrong_is_refused(tmp_path: Path, redis_url: str, recipes: Path) -> None:
    damaged = tmp_path / "recipes" / "part"
    damaged.mkdir(parents=True)
    (damaged / "manifest.json").write_bytes((recipes / "part" / "manifest.json").read_bytes())
    weights = bytearray((recipes / "part" / "model.safetensors").read_bytes())
    weights[-1] ^= 1
    (damaged / "model.safetensors").write_bytes(weights)
    done = sightline("worker", "--config", str(config(tmp_path, redis=redis_url)))
    expect(done, ExitCode.BUNDLE, "sha256")
    expect(sightline("inspect", str(damaged), "x.png"), ExitCode.BUNDLE, "sha256")


def test_subscribe_says_that_redis_is_not_there() -> None:
    expect(sightline("subscribe", "--redis", NOWHERE), ExitCode.UNREACHABLE, "127.0.0.1:1")


def test_a_port_in_use_is_named(tmp_path: Path, parts_root: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        endpoint = f"tcp://127.0.0.1:{taken.getsockname()[1]}"
        done = sightline("camera", str(parts_root / "test"), "--camera=cam1", f"--work={endpoint}")
    expect(done, ExitCode.ADDRESS_TAKEN, endpoint)


def test_an_endpoint_that_others_can_reach_is_refused_without_insecure(parts_root: Path) -> None:
    done = sightline("camera", str(parts_root / "test"), "--camera=cam1", "--work=tcp://0.0.0.0:5555")
    expect(done, ExitCode.SETTINGS, "--insecure")


@pytest.mark.parametrize("name", ["CAM", "cam 1", "", "c" * 33])
def test_a_camera_of_a_bad_name_is_refused(name: str, parts_root: Path) -> None:
    expect(sightline("camera", str(parts_root / "test"), f"--camera={name}"), ExitCode.SETTINGS, "--camera")


def test_a_folder_without_pictures_is_refused(tmp_path: Path) -> None:
    expect(sightline("camera", str(tmp_path), "--camera=cam1"), ExitCode.DATA, str(tmp_path))


def test_training_without_good_pictures_is_refused_and_leaves_nothing(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    done = sightline("train", str(tmp_path), "--out", str(tmp_path / "bundle"))
    expect(done, ExitCode.DATA, "train/good")
    assert list(tmp_path.iterdir()) == []


def test_parts_are_not_drawn_over_something(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("keep")
    expect(sightline("parts", str(tmp_path)), ExitCode.DATA, "not empty")
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def test_the_demo_refuses_data_that_is_none_before_it_starts_anything(tmp_path: Path) -> None:
    expect(sightline("demo", "--data", str(tmp_path), cwd=tmp_path), ExitCode.DATA, "train/good")
    assert list(tmp_path.iterdir()) == []


def test_a_mistyped_flag_is_a_settings_error() -> None:
    assert sightline("camera", "--bogus").returncode == ExitCode.SETTINGS


def test_every_error_that_is_raised_on_purpose_has_an_exit_code() -> None:
    from model.errors import ModelError
    from producers.errors import ProducersError
    from worker.errors import WorkerError

    def family(root: type[Exception]) -> list[type[Exception]]:
        return [root, *(kind for child in root.__subclasses__() for kind in family(child))]

    for kind in [*family(ModelError), *family(ProducersError), *family(WorkerError)]:
        code = exit_code(kind("x"))
        assert code is not None
        assert code is not ExitCode.OK
    assert exit_code(RuntimeError("x")) is None


def test_check_says_what_is_installed_and_from_where() -> None:
    done = sightline("check", "--json")
    assert done.returncode == 0
    found = {finding["what"]: finding["detail"] for finding in json.loads(done.stdout)}
    assert {"python", "producers", "model", "worker", "pyzmq", "redis"} <= found.keys()
    assert str(Path(__file__).parent.parent.parent / "worker") in found["worker"]


def test_check_tries_every_connection_and_shows_no_password(tmp_path: Path, redis_url: str, recipes: Path) -> None:
    done = sightline("check", "--json", "--config", str(config(tmp_path)))
    assert done.returncode == ExitCode.NO
    assert "secret" not in done.stdout + done.stderr
    verdicts = {finding["what"]: finding["ok"] for finding in json.loads(done.stdout)}
    assert (verdicts["redis"], verdicts["camera cam1"], verdicts["recipe part"]) == (False, False, False)


def test_check_is_content_when_all_is_well(tmp_path: Path, redis_url: str, recipes: Path) -> None:
    from producers.publisher import FramePublisher, PublisherSettings

    work, live = (f"tcp://127.0.0.1:{port}" for port in free_ports(2))
    path = write_config(tmp_path / "w.toml", line="test", redis=redis_url, recipes=recipes, endpoint=work)
    with FramePublisher(PublisherSettings(camera="cam1", work=work, live=live)):
        done = sightline("check", "--config", str(path))
    assert done.returncode == 0, done.stdout


def test_help_is_there_for_every_command() -> None:
    commands = ["demo", "camera", "worker", "subscribe", "check", "parts", "train", "evaluate", "inspect"]
    shown = sightline("--help").stdout
    assert all(command in shown for command in commands)
    for command in commands:
        done = sightline(command, "--help")
        assert done.returncode == 0
        assert "Usage: " in done.stdout


def test_the_base_commands_do_not_import_torch() -> None:
    """In this very environment, where torch may be installed: importing it would cost seconds at every start."""
    program = "import sys, worker.cli, worker.subscribe, worker.reader, worker.check, producers.camera; "
    done = subprocess.run(
        [sys.executable, "-c", program + "print('torch' in sys.modules)"], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "False"
