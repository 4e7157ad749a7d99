"""Two cameras that record what they publish, in a process that is to be killed.

Arguments: FOLDER FRAMES RATE SIDE.

What is handed to a publisher is noted first, in a file that nothing but the kernel holds back.
"""

import os
import sys
import time
import zlib
from contextlib import ExitStack
from pathlib import Path

import numpy as np

from producers.daemon import configure_logging
from producers.publisher import FramePublisher, PublisherSettings
from producers.recording.recorder import Recorder
from producers.recording.settings import RecordingSettings
from worker.demo.processes import free_ports

WINDOW_S = 0.2


def main(folder: Path, frames: int, rate: float, side: int) -> None:
    """Publishes so many frames a camera, and stays."""
    configure_logging("error")
    ports = free_ports(4)
    notes = os.open(folder / "notes.txt", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    with ExitStack() as stack:
        publishers = []
        for number, camera in enumerate(("cam1", "cam2")):
            recording = RecordingSettings(out=folder, name=camera, window_s=WINDOW_S)
            recorder = stack.enter_context(Recorder(recording))
            work, live = (f"tcp://127.0.0.1:{port}" for port in ports[2 * number : 2 * number + 2])
            settings = PublisherSettings(camera=camera, work=work, live=live, policy="drop_oldest", retain_frames=8)
            publishers.append(stack.enter_context(FramePublisher(settings, record=recorder.published)))
        began, dice = time.monotonic(), np.random.default_rng(1)
        for seq in range(frames):
            time.sleep(max(0.0, began + seq / rate - time.monotonic()))
            for publisher in publishers:
                image = dice.integers(0, 256, (side, side, 3), np.uint8)
                camera, part = publisher.settings.camera, f"P{seq}"
                crc = zlib.crc32(image.tobytes())
                os.write(notes, f"{camera} {seq} {crc} {part} {time.monotonic()}\n".encode())
                publisher.publish(image, part_id=part, copy=False)
        time.sleep(60)


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3]), int(sys.argv[4]))
