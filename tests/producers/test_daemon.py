"""`producers.daemon`: where settings come from, and how a signal ends the work."""

import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from pydantic import Field

from producers.daemon import DaemonSettings, configure_logging, load_settings, stop_requested
from producers.errors import SettingsError
from tests.producers.scripted_worker import wait_until


class OvenSettings(DaemonSettings):
    """Settings of a daemon that there isn't."""

    heat: int = Field(default=1, ge=0)
    door: str = "shut"
    trays: dict[str, int] = Field(default={})


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "oven.toml"
    path.write_text("heat = 2\n[trays]\nlow = 1\nhigh = 2\n")
    return path


def test_defaults_give_way_to_the_file(file: Path) -> None:
    assert load_settings(OvenSettings, None, {}).heat == 1
    settings = load_settings(OvenSettings, file, {})
    assert (settings.heat, settings.door) == (2, "shut")


def test_the_file_gives_way_to_the_environment(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SIGHTLINE_HEAT", "3")
    monkeypatch.setenv("SIGHTLINE_TRAYS__LOW", "5")
    settings = load_settings(OvenSettings, file, {})
    assert settings.heat == 3
    assert settings.trays == {"low": 5, "high": 2}


def test_the_environment_gives_way_to_flags(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SIGHTLINE_HEAT", "3")
    assert load_settings(OvenSettings, file, {"heat": 4}).heat == 4


def test_a_flag_that_was_not_given_changes_nothing(file: Path) -> None:
    assert load_settings(OvenSettings, file, {"heat": None}).heat == 2


def test_an_unknown_key_is_one_sentence_that_names_the_file_and_the_key(file: Path) -> None:
    file.write_text("haet = 2\n")
    with pytest.raises(SettingsError) as caught:
        load_settings(OvenSettings, file, {})
    assert str(caught.value) == f"{file}: unknown key haet"


def test_a_value_of_the_wrong_kind_names_the_file_and_the_key(file: Path) -> None:
    file.write_text("[trays]\nlow = 'hot'\n")
    with pytest.raises(SettingsError, match=r"oven\.toml: trays\.low: .*integer"):
        load_settings(OvenSettings, file, {})


@pytest.mark.parametrize(
    ("content", "word"), [(b"heat = ", "TOML"), (b"heat = 1\nheat = 2", "TOML"), (b"\xff\xfe", "TOML")], ids=str
)
def test_a_file_that_is_not_toml_says_so(file: Path, content: bytes, word: str) -> None:
    file.write_bytes(content)
    with pytest.raises(SettingsError, match=word):
        load_settings(OvenSettings, file, {})


def test_a_file_that_is_not_there_says_so(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="No such file"):
        load_settings(OvenSettings, tmp_path / "nowhere.toml", {})
    with pytest.raises(SettingsError, match="can't be read"):
        load_settings(OvenSettings, tmp_path, {})


def test_a_broken_list_in_the_environment_is_a_settings_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SIGHTLINE_TRAYS", "{low")
    with pytest.raises(SettingsError, match="trays"):
        load_settings(OvenSettings, None, {})


def test_a_log_level_that_there_is_not_is_a_settings_error() -> None:
    with pytest.raises(SettingsError, match="loud"):
        configure_logging("loud")


def test_the_first_signal_raises_the_flag_and_calls_back() -> None:
    called: list[str] = []
    before = signal.getsignal(signal.SIGTERM)
    with stop_requested(lambda: called.append("stop")) as stopping:
        assert not stopping()
        signal.raise_signal(signal.SIGTERM)
        assert stopping()
    assert called == ["stop"]
    assert signal.getsignal(signal.SIGTERM) is before


STUBBORN = """
import time
from producers.daemon import stop_requested
with stop_requested(lambda: print("stopping", flush=True)) as stopping:
    print("ready", flush=True)
    while True:
        time.sleep(60)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGTERM to send")
@pytest.mark.parametrize("second", [signal.SIGTERM, signal.SIGINT])
def test_a_second_signal_leaves_at_once(second: signal.Signals) -> None:
    with subprocess.Popen([sys.executable, "-c", STUBBORN], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            assert process.stdout.readline() == "ready\n"
            process.send_signal(signal.SIGTERM)
            assert process.stdout.readline() == "stopping\n"
            assert process.poll() is None
            process.send_signal(second)
            wait_until(lambda: process.poll() is not None, what="it leaves")
        finally:
            process.kill()
    assert process.returncode == 128 + second


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGUSR1")
def test_a_daemon_says_where_its_threads_stand_and_goes_on() -> None:
    command = [sys.executable, "-c", STUBBORN]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        try:
            assert process.stdout.readline() == "ready\n"
            process.send_signal(signal.SIGUSR1)
            assert "most recent call first" in process.stderr.readline()
            assert re.search(r'"<string>", line [57] in <module>', process.stderr.readline())
            assert process.poll() is None
        finally:
            process.kill()
