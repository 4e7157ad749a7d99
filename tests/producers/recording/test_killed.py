"""Cameras that record are killed at a random moment: nothing older than the window is missing."""

import os
import random
import subprocess
import sys
import time
import zlib
from pathlib import Path

import pytest

from producers.recording.examine import examine, repair
from producers.recording.folder import files_of
from tests.producers.recording.frames import read
from tests.producers.recording.test_recorder import read_whole
from tests.producers.recording.two_cameras import WINDOW_S

LONG = os.environ.get("SIGHTLINE_FAULTS") == "long"
FRAMES, RATE, SIDE = (500, 200.0, 256) if LONG else (150, 100.0, 64)
SLACK_S = 1.0  # a busy machine lets a thread wait


@pytest.mark.timeout(120)
def test_what_is_older_than_the_window_is_read_after_a_kill(tmp_path: Path) -> None:
    """Two cameras, SIGKILL: of each every frame from the first on, with the bytes that the publisher was handed."""
    command = [sys.executable, "-m", "tests.producers.recording.two_cameras", str(tmp_path)]
    process = subprocess.Popen([*command, str(FRAMES), str(RATE), str(SIDE)])
    notes = tmp_path / "notes.txt"
    try:
        enough = random.Random().randrange(FRAMES, 2 * FRAMES)  # of both cameras together
        ends = time.monotonic() + 60
        while not notes.exists() or notes.read_bytes().count(b"\n") < enough:
            assert process.poll() is None
            assert time.monotonic() < ends
            time.sleep(0.002)
    finally:
        killed = time.monotonic()
        process.kill()
        process.wait()
    handed = [line.split() for line in notes.read_text().splitlines()]
    assert len(handed) >= enough
    for camera in ("cam1", "cam2"):
        mine = [(int(seq), int(crc), part, float(at)) for name, seq, crc, part, at in handed if name == camera]
        (path,) = (path for path in files_of(tmp_path) if path.name.startswith(camera))
        found = [(header["seq"], zlib.crc32(payload), header["part_id"]) for header, payload in read_whole(path)]
        assert found == [line[:3] for line in mine[: len(found)]]
        assert len(found) >= sum(at < killed - WINDOW_S - SLACK_S for *_, at in mine)
        assert not examine(path, thoroughly=True).whole
        saved, report = repair(path, keep=False)
        assert (saved, report.sound) == (len(found), True)
        assert len(read(path)) == saved
