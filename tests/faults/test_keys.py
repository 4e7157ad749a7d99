"""Workers with a wrong key, none, or one that is listed late: who is not let in sees no frame and costs none."""

from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch")

from tests.faults.conftest import PATIENT_S, OpenLine
from tests.faults.harness import PATIENCE_S, expect_one_verdict_each
from tests.producers.keyring import Keyring
from tests.producers.scripted_worker import wait_until


@pytest.fixture
def keyring(tmp_path: Path) -> Keyring:
    """A camera's keys, those of a worker that is listed, and those of one that is not."""
    keys = Keyring(tmp_path)
    keys.admit("w2", "workers")
    keys.pair("w1")
    return keys


def key_of(keyring: Keyring, name: str) -> Path:
    return keyring.folder / f"{name}.key"


@pytest.mark.parametrize("kind", ["no key", "a key that is not listed", "a wrong key of the camera"])
def test_a_worker_that_is_not_let_in_judges_nothing_and_costs_no_frame(
    open_line: OpenLine, keyring: Keyring, kind: str
) -> None:
    keys: dict[str, dict[str, Any]] = {
        "no key": {},
        "a key that is not listed": {"key": key_of(keyring, "w1"), "server_key": keyring.server_key},
        "a wrong key of the camera": {"key": key_of(keyring, "w2"), "server_key": keyring.pair("w1").public},
    }
    line = open_line(key=keyring.camera_key, heartbeat_s=PATIENT_S)
    line.worker("w1", **keys[kind])
    line.publish()
    wait_until(lambda: line.worker_counts("w1")["heartbeat_ns"] > 0, what="it runs", patience_s=PATIENCE_S)
    line.worker("w2", key=key_of(keyring, "w2"), server_key=keyring.server_key)
    line.drain()
    line.publish()
    verdicts = expect_one_verdict_each(line)
    assert {verdict.worker for verdict in verdicts} == {"w2"}


def test_frames_wait_for_a_worker_whose_key_is_listed_late(open_line: OpenLine, keyring: Keyring) -> None:
    line = open_line(key=keyring.camera_key, heartbeat_s=PATIENT_S)
    line.worker("w1", key=key_of(keyring, "w1"), server_key=keyring.server_key)
    line.publish()
    keeper = line.publisher._doorkeeper
    assert keeper is not None
    wait_until(lambda: keeper.refused > 0, what="a refused handshake", patience_s=PATIENCE_S)
    assert line.stream_length() == 0
    keyring.admit("w1", "workers")
    expect_one_verdict_each(line)
