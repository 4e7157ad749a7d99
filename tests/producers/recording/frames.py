"""Frames to record, and what a recording hands back."""

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from producers.frame import Frame, FrameTag, Picture, frame_of, make_frame
from producers.recording.message import ALL, PICTURES, Wanted
from producers.recording.reading import read_messages
from producers.recording.recorder import Recorder
from producers.recording.settings import RecordingSettings

SESSION = "00000000-0000-4000-8000-000000000001"
START_NS = 1_790_000_000_000_000_000
STEP_NS = 5_000_000


def tag(seq: int, *, camera: str = "cam1", **fields: Any) -> FrameTag:
    """Of a frame that was captured 5 ms after the one before."""
    known = {"camera": camera, "session": SESSION, "seq": seq, "captured_ns": START_NS + seq * STEP_NS}
    return FrameTag(**{**known, "simulated": True, **fields})


def frame(seq: int, *, camera: str = "cam1", side: int = 16, **fields: Any) -> Frame:
    """Of pixels that no other frame has."""
    pixels = np.random.default_rng([seq, len(camera)]).integers(0, 256, (side, side, 3), np.uint8)
    return make_frame(tag(seq, camera=camera, **fields), pixels, color="bgr", meta={"lot": str(seq)})


def jpeg(seq: int) -> Frame:
    """A JPEG file as a frame."""
    payload = cv2.imencode(".jpg", np.full((16, 24, 3), seq % 256, np.uint8))[1].tobytes()
    picture = Picture(encoding="jpeg", shape=(16, 24, 3), dtype="uint8", color="bgr")
    return frame_of(tag(seq), picture, payload)


def record(out: Path, *frames: Frame, **settings: Any) -> None:
    """Records frames, and ends the file."""
    with Recorder(RecordingSettings(out=out, **settings)) as recorder:
        for one in frames:
            recorder.published(one)


def header_of(one: Frame) -> dict[str, Any]:
    """What a recording must say of a frame that a publisher took."""
    header: dict[str, Any] = json.loads(one.stamped(now=one.captured_mono, attempt=1).to_bytes())
    return header


def read(path: Path, wanted: Wanted = ALL) -> list[tuple[dict[str, Any], bytes]]:
    """Headers and payloads of the pictures in a file; fails where anything can't be read."""
    told: list[str] = []
    found = [message.frame() for message in read_messages(path, wanted, tell=told.append) if message.topic in PICTURES]
    assert not told, told
    return [(json.loads(text), payload) for _, text, payload in found]
