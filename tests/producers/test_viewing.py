"""`sightline view`: what comes from a camera, at a glance."""

import json
import threading
from pathlib import Path

import numpy as np
import pytest

from producers.errors import SettingsError
from producers.keys import new_pair
from producers.view_cli import view
from producers.viewing import View
from producers.watching import live_ends
from tests.producers.conftest import Publish
from tests.producers.recording.frames import frame, tag


def test_frames_a_second_are_those_of_the_last_moments() -> None:
    """A camera that stops is called still, and its rate goes down."""
    known = View()
    for number in range(101):
        known.add(frame(number).header, 100 + number / 20)
    (row,) = known.rows(105.0, {})
    assert (row["fps"], row["state"], row["frames"], row["seq"]) == (20.0, "live", 101, 100)
    (row,) = known.rows(108.5, {})
    assert row["state"] == "still"
    assert 0 < row["fps"] < 20
    (row,) = known.rows(200.0, {})
    assert row["fps"] == 0


def test_each_camera_has_a_row_with_its_last_frame() -> None:
    """A publisher that was started again counts as another session."""
    known = View()
    other = frame(5, camera="cam2", part_id="A-1042", recipe="part")
    known.add(other.header, 1.0)
    again = other.header.model_copy(update={"session": tag(0).session.replace("1", "2"), "seq": 0})
    known.add(again, 1.1)
    known.add(frame(1).header, 1.0)
    one, two = known.rows(1.2, {"cam1": 3})
    assert (one["camera"], one["missed"], one["sessions"], one["shape"]) == ("cam1", 3, 1, [16, 16, 3])
    assert (two["camera"], two["part_id"], two["recipe"], two["sessions"], two["seq"]) == (
        "cam2",
        "A-1042",
        "part",
        2,
        0,
    )


def test_a_camera_is_seen_as_it_publishes(
    publish: Publish, endpoints: tuple[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    """A look for machines, and one for people where there is no terminal."""
    over = threading.Event()

    def keep_publishing() -> None:
        while not over.wait(0.01):
            publisher.publish(np.zeros((8, 6, 3), np.uint8), part_id="A-1042")

    publisher = publish(policy="drop_oldest")
    thread = threading.Thread(target=keep_publishing)
    thread.start()
    try:
        assert view([endpoints[1]], every_s=0.5, looks=2, as_json=True) == 0
        row = json.loads(capsys.readouterr().out.splitlines()[-1])
        assert view([endpoints[1]], every_s=0.5, looks=2) == 0
    finally:
        over.set()
        thread.join()
    assert (row["camera"], row["state"], row["missed"], row["part_id"]) == ("cam1", "live", 0, "A-1042")
    assert row["fps"] > 0
    assert "6 x 8 x 3 raw" in capsys.readouterr().out


def test_keys_that_do_not_fit_are_told(tmp_path: Path) -> None:
    """One for each endpoint, and one of the viewer's own."""
    new_pair(tmp_path, "cam1")
    with pytest.raises(SettingsError, match="once for each endpoint"):
        live_ends(["tcp://127.0.0.1:1", "tcp://127.0.0.1:2"], [tmp_path / "cam1.pub"])
    with pytest.raises(SettingsError, match="give a --key"):
        view(["tcp://127.0.0.1:1"], server_key=[tmp_path / "cam1.pub"])
