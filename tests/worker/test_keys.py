"""Keys and the real commands: `sightline keys`, `camera --key`, a worker's settings, `check`."""

import json
import os
from pathlib import Path

import pytest

from producers.daemon import ExitCode, load_settings
from producers.errors import SettingsError
from producers.publisher import FramePublisher, PublisherSettings
from tests.producers.keyring import Keyring
from tests.producers.scripted_worker import ScriptedWorker
from tests.worker.processes import running, sightline
from worker.demo.processes import free_ports
from worker.settings import WorkerSettings

NOWHERE = "redis://127.0.0.1:1/0"


@pytest.fixture
def keyring(tmp_path: Path) -> Keyring:
    return Keyring(tmp_path)


def write_config(path: Path, *, endpoint: str, key: Path | None, server_key: str | None) -> Path:
    lines = [f'redis = "{NOWHERE}"', f'recipes = "{path.parent}"']
    lines += [f'key = "{key}"'] if key else []
    lines += ["[cameras.cam1]", f'endpoint = "{endpoint}"', 'recipe = "part"']
    lines += [f'server_key = "{server_key}"'] if server_key else []
    path.write_text("\n".join(lines), encoding="utf-8")
    return path


@pytest.mark.parametrize("command", ["view", "record", "replay", "camera"])
def test_no_command_repeats_a_secret_that_was_pasted_for_its_file(command: str, tmp_path: Path) -> None:
    arguments = {
        "view": ["tcp://127.0.0.1:1"],
        "record": ["--live", "tcp://127.0.0.1:1", "--out", str(tmp_path)],
        "replay": [str(tmp_path)],
        "camera": [str(tmp_path), "--camera", "cam1"],
    }
    for secret in ("k" * 40, "k" * 39 + "/", "k//" + "k" * 37):
        done = sightline(command, *arguments[command], "--key", secret)
        assert done.returncode == ExitCode.SETTINGS
        assert "not a key" in " ".join(done.stderr.replace("│", " ").split())
        assert "k" * 30 not in done.stdout + done.stderr


def test_keys_new_makes_a_pair_once_and_shows_its_public_half_alone(tmp_path: Path) -> None:
    folder = tmp_path / "keys"
    done = sightline("keys", "new", "cam1", "--dir", str(folder))
    assert done.returncode == 0, done.stderr
    public = (folder / "cam1.pub").read_text().strip()
    assert public in done.stdout
    again = sightline("keys", "new", "cam1", "--dir", str(folder))
    assert again.returncode == ExitCode.SETTINGS
    assert "never overwritten" in again.stderr
    shown = sightline("keys", "list", "--dir", str(folder))
    as_json = sightline("keys", "list", "--dir", str(folder), "--json")
    entry = {"name": "cam1", "role": "secret", "public": public, "problem": None}
    assert json.loads(as_json.stdout) == [entry]
    assert public in shown.stdout
    secret = (folder / "cam1.key").read_text().split('"')[-2]
    said = [text for run in (done, again, shown, as_json) for text in (run.stdout, run.stderr)]
    assert not any(secret in text for text in said)


def test_keys_list_says_no_if_a_secret_lies_open(keyring: Keyring) -> None:
    keyring.camera_key.chmod(0o644)
    done = sightline("keys", "list", "--dir", str(keyring.folder))
    assert done.returncode == ExitCode.NO
    assert "chmod 600" in done.stdout


def test_help_teaches_how_keys_are_laid_out() -> None:
    text = sightline("keys", "--help").stdout
    assert all(word in text for word in ("--key", "DIR/workers", "DIR/viewers", "server_key"))


def test_a_camera_with_keys_serves_a_worker_with_keys_and_logs_no_secret(
    keyring: Keyring, tmp_path: Path, parts_root: Path
) -> None:
    picture = next((parts_root / "train" / "good").iterdir())
    work, live = (f"tcp://127.0.0.1:{port}" for port in free_ports(2))
    pair, log = keyring.admit("w1", "workers"), tmp_path / "camera.log"
    ends, keys = ("--work", work, "--live", live), ("--key", str(keyring.camera_key), "--log-level", "debug")
    with (
        running("camera", str(picture), "--camera=cam1", *ends, *keys, log=log) as camera,
        ScriptedWorker(work, key=pair, server_key=keyring.server_key) as worker,
    ):
        worker.hello(credit=1)
        worker.stored(worker.frame(patience_s=60)[0].id)
        assert camera.wait(60) == ExitCode.OK
    assert "key let in" in log.read_text()
    assert not any(secret in log.read_text() for secret in keyring.secrets)


def test_a_camera_with_half_a_set_of_keys_says_which_half_is_missing(keyring: Keyring, parts_root: Path) -> None:
    (keyring.folder / "viewers").rmdir()
    done = sightline("camera", str(parts_root / "test"), "--camera=cam1", "--key", str(keyring.camera_key))
    assert done.returncode == ExitCode.SETTINGS
    assert "viewers" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("has_key", "has_server_key", "words"), [(False, True, "no key of its own"), (True, False, "server_key")]
)
def test_a_worker_with_half_a_set_of_keys_is_refused_before_it_connects(
    keyring: Keyring, tmp_path: Path, has_key: bool, has_server_key: bool, words: str
) -> None:
    pytest.importorskip("torch")
    from worker.pipeline import Pipeline

    key, server_key = keyring.camera_key if has_key else None, keyring.server_key if has_server_key else None
    config = write_config(tmp_path / "w.toml", endpoint="tcp://127.0.0.1:1", key=key, server_key=server_key)
    with pytest.raises(SettingsError, match=words):  # Redis, which isn't there either, would come later
        Pipeline.open(load_settings(WorkerSettings, config, {}))


def test_a_server_key_that_is_none_is_named_and_not_repeated(keyring: Keyring, tmp_path: Path) -> None:
    config = write_config(
        tmp_path / "w.toml", endpoint="tcp://127.0.0.1:1", key=keyring.camera_key, server_key="tooshort"
    )
    done = sightline("check", "--config", str(config))
    assert done.returncode == ExitCode.SETTINGS
    assert "cameras.cam1.server_key" in done.stderr
    assert "tooshort" not in done.stderr


def test_a_secret_in_place_of_its_file_is_never_shown(keyring: Keyring, tmp_path: Path) -> None:
    config = write_config(
        tmp_path / "w.toml", endpoint="tcp://127.0.0.1:1", key=Path(keyring.secrets[0]), server_key=keyring.server_key
    )
    done = sightline("check", "--config", str(config))
    assert done.returncode == ExitCode.SETTINGS
    assert "not a key" in done.stderr
    assert keyring.secrets[0] not in done.stdout + done.stderr


def test_check_tries_a_camera_with_keys_and_shows_no_secret(tmp_path: Path) -> None:
    keyring = Keyring(tmp_path, folder="[keys]")
    work, live = (f"tcp://127.0.0.1:{port}" for port in free_ports(2))
    pair = keyring.pair("w1")
    config = write_config(
        tmp_path / "w.toml", endpoint=work, key=keyring.folder / "w1.key", server_key=keyring.server_key
    )
    settings = PublisherSettings(camera="cam1", work=work, live=live, key=keyring.camera_key)
    with FramePublisher(settings):
        refused = sightline("check", "--config", str(config))
        keyring.admit("w1", "workers")
        let_in = sightline("check", "--json", "--config", str(config))
    assert "does not list this worker's key" in refused.stdout
    assert f"public key, {pair.public}" in refused.stdout
    assert f"[keys]{os.sep}w1.key" in refused.stdout, "brackets are no markup, and keys hold them, too"
    assert {finding["what"]: finding["ok"] for finding in json.loads(let_in.stdout)}["camera cam1"]
    said = refused.stdout + let_in.stdout + refused.stderr + let_in.stderr
    assert not any(secret in said for secret in keyring.secrets)


def test_check_says_of_a_key_that_cannot_be_used_why_and_tries_no_camera_in_plain(
    keyring: Keyring, tmp_path: Path
) -> None:
    keyring.camera_key.chmod(0o644)
    config = write_config(
        tmp_path / "w.toml", endpoint="tcp://127.0.0.1:1", key=keyring.camera_key, server_key=keyring.server_key
    )
    done = sightline("check", "--json", "--config", str(config))
    found = {finding["what"]: finding for finding in json.loads(done.stdout)}
    assert done.returncode == ExitCode.NO
    assert "chmod 600" in found["key"]["detail"]
    assert "not tried" in found["camera cam1"]["detail"]
