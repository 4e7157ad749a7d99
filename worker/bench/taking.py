"""Processes of `bench replay`: cameras that record and keep their own account, and a taker of what is replayed.

No torch in here, and nothing of recordings in the account: it holds what the publisher was handed.
"""

import hashlib
import json
import queue
import time
import zlib
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np

from producers.daemon import configure_logging
from producers.memory import collect_garbage_rarely, keep_freed_memory
from producers.publisher import FramePublisher, PublisherSettings
from producers.recording.recorder import Recorder
from producers.recording.replay import wait_until
from producers.recording.settings import RecordingSettings
from worker.batcher import ReceivedFrame
from worker.bench.child import PATIENCE_S, serve
from worker.errors import WorkerError
from worker.intake import Intake
from worker.link import GoneFrame, LinkSettings
from worker.settings import CameraSettings

PICTURES = 16  # drawn for each camera: they come again, each time under another part
ITS_OWN = {"age_us", "sent_mono_us", "attempt", "session", "seq", "captured_ns", "simulated", "original"}
"""What a replay may say differently of a frame."""


@dataclass(frozen=True)
class Account:
    """What is known of a frame without any recording.

    Attributes:
        fields: of its header, but for those that are a replay's own.
        digest: of its payload.
        captured_ns: UTC since the epoch.
        received_ns: when it was taken, on the same clock; 0 where it was captured.
    """

    fields: str
    digest: bytes
    captured_ns: int
    received_ns: int = 0


def _fields(header: Mapping[str, Any]) -> str:
    return json.dumps({name: value for name, value in header.items() if name not in ITS_OWN}, sort_keys=True)


def record_cameras(folder: Path, cameras: Sequence[PublisherSettings], side: int, pipe: Connection) -> None:
    """Publishes frames of several cameras and records them; told (frames a camera, frames a second).

    Answers with an account of each by its id, from what the publisher was handed, and the recorders' counts.
    """
    configure_logging("error")
    keep_freed_memory()
    with ExitStack() as stack:
        recorders = [
            stack.enter_context(Recorder(RecordingSettings(out=folder, name=settings.camera))) for settings in cameras
        ]
        publishers = [
            stack.enter_context(FramePublisher(settings, record=recorder.published))
            for settings, recorder in zip(cameras, recorders, strict=True)
        ]
        pictures = np.random.default_rng(0).integers(0, 256, (PICTURES, side, side, 3), np.uint8)
        collect_garbage_rarely()

        def work(order: tuple[int, float]) -> tuple[dict[str, Account], list[dict[str, int]]]:
            frames, rate = order
            found: dict[str, Account] = {}
            began = time.monotonic()
            for number in range(frames):
                wait_until(began + number / rate, stopping=lambda: False, clock=time.monotonic, sleep=time.sleep)
                for publisher in publishers:
                    image = pictures[number % PICTURES].copy()
                    frame, account = _publish(publisher, image, number)
                    found[frame] = account
            time.sleep(1.5)  # the window, and a moment
            return found, [recorder.counts() for recorder in recorders]

        serve(pipe, work)


def _publish(
    publisher: FramePublisher, image: "np.ndarray[Any, np.dtype[np.uint8]]", number: int
) -> tuple[str, Account]:
    data = image.tobytes()
    said: dict[str, Any] = {"part_id": f"P{number}", "trigger": number, "view": "top", "meta": {"lot": str(number % 7)}}
    at_ns = time.time_ns()
    frame = publisher.publish(image, color="rgb", copy=False, **said)
    known = {"encoding": "raw", "shape": list(image.shape), "dtype": "uint8", "color": "rgb", "crc32": zlib.crc32(data)}
    named = {"camera": publisher.settings.camera, "recipe": publisher.settings.recipe}
    return str(frame), Account(_fields({**said, **known, **named}), hashlib.sha1(data).digest(), at_ns)  # noqa: S324


def take(endpoints: Mapping[str, str], recipe: str, pipe: Connection) -> None:
    """Takes frames as a worker does, and answers for each at once; told how many, answers with an account of each.

    The accounts are by the id of the frame that was replayed; `ITS_OWN` fields are left out.
    """
    configure_logging("error")
    keep_freed_memory()
    came: queue.SimpleQueue[list[ReceivedFrame | GoneFrame]] = queue.SimpleQueue()
    cameras = {name: CameraSettings(endpoint=endpoint, recipe=recipe) for name, endpoint in endpoints.items()}
    link = LinkSettings("taker", "first", (recipe,), max_frame_bytes=1 << 28, longest_batch_ms=0.0, ping_s=0.5)
    intake = Intake(cameras, link, credit=128, deliver=came.put, paused=lambda: False, beat_timeout_s=60.0)
    intake.start()
    collect_garbage_rarely()

    def work(frames: int) -> dict[str, Account]:
        taken: list[tuple[ReceivedFrame, bytes, int]] = []
        ends = time.monotonic() + PATIENCE_S + frames / 20
        while len(taken) < frames and time.monotonic() < ends:
            intake.beat()
            try:
                batch = came.get(timeout=0.2)
            except queue.Empty:
                continue
            now_ns = time.time_ns()
            found = [item for item in batch if isinstance(item, ReceivedFrame)]
            taken += [(item, hashlib.sha1(item.payload).digest(), now_ns) for item in found]  # noqa: S324
            intake.stored([item.header.id for item in found])
        if len(taken) < frames:
            raise WorkerError(f"only {len(taken)} of {frames} frames came")
        return dict(_account(*one) for one in taken)

    serve(pipe, work)
    intake.close()


def _account(frame: ReceivedFrame, digest: bytes, received_ns: int) -> tuple[str, Account]:
    header = json.loads(frame.header.to_bytes())
    if not header["simulated"]:
        raise WorkerError("a replayed frame is not marked simulated")
    return header["original"], Account(_fields(header), digest, header["captured_ns"], received_ns)
