"""Whether a replay is what was recorded: every byte, every header field, its timing, and how fast it can be.

Cameras publish and record in one process, which keeps an account of what it handed to the publishers; `sightline
replay` replays the recording; a taker in a third process accounts for what arrives.
"""

import platform
import random
import socket
import statistics
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import psutil

from producers.publisher import PublisherSettings
from producers.recording.daemon import endpoints
from producers.recording.folder import Recording
from producers.recording.message import PICTURES, Wanted
from worker.bench.child import PATIENCE_S, Child
from worker.bench.taking import Account, record_cameras, take
from worker.demo.processes import Processes, free_ports
from worker.errors import WorkerError

RECIPE = "bench"
CAMERAS = ("cam1", "cam2")
SIDE = 256
LOOK_S = 0.25
PASSES = 3  # at full speed: the median counts
BELOW_EPHEMERAL = (20_000, 32_000)  # where systems take no ports from for whoever dials

Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class ReplayBench:
    """What came of it.

    Attributes:
        machine: that it ran on.
        frames: recorded, of all cameras.
        identical: whether each frame was replayed, payload and header fields being those that the publisher was handed.
        differences: frames that were not.
        dropped: frames that the recorders left out.
        timing_error_p50_ms: of a frame's offset from the first one, replayed against recorded, at speed 1.
        timing_error_p99_ms: likewise.
        timing_error_max_ms: likewise.
        max_fps: frames a second at full speed, from the first capture until the last one was taken.
        recorded_fps: at which they were published and recorded.
        mib: size of the recording.
    """

    machine: str
    frames: int
    identical: bool
    differences: int
    dropped: int
    timing_error_p50_ms: float
    timing_error_p99_ms: float
    timing_error_max_ms: float
    max_fps: float
    recorded_fps: float
    mib: float

    def to_json(self) -> dict[str, Any]:
        """For machines."""
        return {**asdict(self), "cameras": len(CAMERAS), "shape": [SIDE, SIDE, 3], "passes": PASSES}


def bench_replay(frames: int, *, rate: float, progress: Progress = lambda what, done, total: None) -> ReplayBench:
    """Records and replays.

    Args:
        frames: of all cameras together.
        rate: frames a second of each camera.
        progress: told `what, done, total`.

    Raises:
        WorkerError: a process ended, or frames did not come.
    """
    with tempfile.TemporaryDirectory(prefix="sightline-bench-") as name:
        folder = Path(name)
        recordings = folder / "recordings"
        progress("record", 0, 1)
        handed, dropped = _record(recordings, -(-frames // len(CAMERAS)), rate)
        progress("record", 1, 1)
        stored_ns = _stored_times(recordings)
        mib = sum(path.stat().st_size for path in recordings.iterdir()) / 2**20
        with Processes(folder) as processes:
            paced = _replay(processes, recordings, "1", len(handed), PATIENCE_S + len(handed) / rate)
            progress("replay", 1, 1 + PASSES)
            fps, wrong = [], _differences(handed, paced)
            for number in range(PASSES):
                fast = _replay(processes, recordings, "max", len(handed), PATIENCE_S)
                wrong |= _differences(handed, fast)
                fps.append(_fps(fast))
                progress("replay", 2 + number, 1 + PASSES)
    errors_ms = _timing_errors_ms(stored_ns, paced)
    spent_s = (max(one.captured_ns for one in handed.values()) - min(one.captured_ns for one in handed.values())) / 1e9
    p50, p99 = (float(np.percentile(errors_ms, share)) for share in (50, 99))
    return ReplayBench(
        f"{platform.machine()}, {psutil.cpu_count()} CPUs",
        frames=len(handed),
        identical=not wrong and not dropped,
        differences=len(wrong),
        dropped=dropped,
        timing_error_p50_ms=p50,
        timing_error_p99_ms=p99,
        timing_error_max_ms=max(errors_ms),
        max_fps=statistics.median(fps),
        recorded_fps=(len(handed) - len(CAMERAS)) / spent_s,
        mib=mib,
    )


def _record(folder: Path, frames: int, rate: float) -> tuple[dict[str, Account], int]:
    ports = free_ports(2 * len(CAMERAS))
    settings = [
        PublisherSettings(
            camera=name,
            recipe=RECIPE,
            work=f"tcp://127.0.0.1:{ports[2 * number]}",
            live=f"tcp://127.0.0.1:{ports[2 * number + 1]}",
            policy="drop_oldest",  # nobody judges: the line's end is not what is measured
            retain_frames=16,
        )
        for number, name in enumerate(CAMERAS)
    ]
    with Child("cameras", record_cameras, folder, settings, SIDE) as cameras:
        cameras.answer()
        cameras.tell((frames, rate))
        handed, counts = cameras.answer(PATIENCE_S + 2 * frames / rate)
    return handed, sum(count["dropped"] + count["failures"] for count in counts)


def _stored_times(folder: Path) -> dict[str, int]:
    """When each frame was captured, by its id, as the recording has it."""
    headers = (message.frame()[0] for message in Recording(folder).messages(Wanted(topics=PICTURES)))
    return {str(header.id): header.captured_ns for header in headers}


def _replay(processes: Processes, folder: Path, speed: str, frames: int, within_s: float) -> dict[str, Account]:
    port = _ports_in_a_row(2 * len(CAMERAS))
    works = endpoints(f"tcp://127.0.0.1:{port}", len(CAMERAS))
    with Child("taker", take, dict(zip(CAMERAS, works, strict=True)), RECIPE) as taker:
        taker.answer()
        taker.tell(frames)
        where = [f"--work={works[0]}", f"--live=tcp://127.0.0.1:{port + 1}", f"--state={processes.folder / 'state'}"]
        replaying = processes.sightline(
            "replay", "replay", str(folder), f"--speed={speed}", "--log-level=error", *where
        )
        try:
            ends = time.monotonic() + within_s
            while not taker.answered(LOOK_S) and time.monotonic() < ends:
                if replaying.poll():
                    break
            if replaying.poll():
                words = processes.last_words("replay")
                raise WorkerError(f"the replay ended with exit code {replaying.returncode}: {words}")
            found: dict[str, Account] = taker.answer(0)
            replaying.wait(PATIENCE_S)
        finally:
            processes.stop("replay")
    return found


def _ports_in_a_row(count: int) -> int:
    """The first of so many ports, one after the other, that nobody has, not even at his own end of a connection."""
    while True:
        first = random.randrange(*BELOW_EPHEMERAL)  # noqa: S311 - nothing is secret about a port
        if all(_is_free(port) for port in range(first, first + count)):
            return first


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True


def _differences(handed: Mapping[str, Account], replayed: Mapping[str, Account]) -> set[str]:
    """Frames that are not the same, or not there, or were never handed to a publisher."""
    both = handed.keys() & replayed.keys()
    alike = {
        frame
        for frame in both
        if (handed[frame].fields, handed[frame].digest) == (replayed[frame].fields, replayed[frame].digest)
    }
    return (handed.keys() | replayed.keys()) - alike


def _timing_errors_ms(recorded_ns: Mapping[str, int], replayed: Mapping[str, Account]) -> list[float]:
    first = min(replayed, key=lambda frame: recorded_ns[frame])
    began_ns, first_ns = replayed[first].captured_ns, recorded_ns[first]
    return [
        abs((one.captured_ns - began_ns) - (recorded_ns[frame] - first_ns)) / 1e6 for frame, one in replayed.items()
    ]


def _fps(replayed: Mapping[str, Account]) -> float:
    began = min(one.captured_ns for one in replayed.values())
    return len(replayed) / ((max(one.received_ns for one in replayed.values()) - began) / 1e9)
