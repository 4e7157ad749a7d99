"""How many frames a second the line around the engine carries, each acknowledged, beside plain sockets in the same run.

Acknowledged: from `publish` until the worker's DONE for it came back, which it sends after Redis has the verdict.
"""

import platform
import statistics
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import psutil
from pydantic import SecretStr

from producers.frame import FrameTag, make_frame
from producers.protocol import FRAME
from producers.publisher import PublisherSettings
from worker.bench.bursts import SHAPE, Burster, picture, publish, pull, push, seconds
from worker.bench.null import RECIPE, start_null_worker
from worker.demo.processes import Processes, free_ports
from worker.settings import CameraSettings, WorkerSettings

PAIRS = 5
MAX_BATCH = 32
WARM_UP = 2000  # frames: retention has been full and Redis's stream has been cut once
MAX_RESULTS = 1000  # entries in the stream: its growth is Redis's business and would hide everybody else's
CAMERA = "bench"
SESSION = "00000000-0000-0000-0000-000000000000"


@dataclass(frozen=True)
class Setup:
    """What a case is measured with.

    Attributes:
        sockets: how the work socket is protected.
        aof: whether Redis writes each verdict to its disk before it answers.
    """

    sockets: Literal["plain"] = "plain"
    aof: Literal["off", "always"] = "off"

    def redis_options(self) -> list[str]:
        """For the command line of redis-server."""
        return [] if self.aof == "off" else ["--appendonly", "yes", "--appendfsync", "always"]

    def publisher(self, work_port: int, live_port: int) -> PublisherSettings:
        """Of the publisher, whose defaults are kept."""
        ends = {"work": f"tcp://127.0.0.1:{work_port}", "live": f"tcp://127.0.0.1:{live_port}"}
        return PublisherSettings(camera=CAMERA, recipe=RECIPE, **ends)

    def worker(self, work_port: int, redis_url: str) -> WorkerSettings:
        """Of the null worker."""
        return WorkerSettings(
            line="bench",
            redis=SecretStr(redis_url),
            name="null",
            cameras={CAMERA: CameraSettings(endpoint=f"tcp://127.0.0.1:{work_port}", recipe=RECIPE)},
            max_batch=MAX_BATCH,
            max_results=MAX_RESULTS,
            log_level="warning",
        )


SETUPS = (Setup(), Setup(aof="always"))


@dataclass(frozen=True)
class Usage:
    """What a process has used, of the processor so far and of memory now."""

    cpu_s: float
    resident_bytes: int

    @classmethod
    def of(cls, pid: int) -> "Usage":
        """A process's own, its children left out."""
        process = psutil.Process(pid)
        times = process.cpu_times()
        return cls(times.user + times.system, process.memory_info().rss)


@dataclass(frozen=True)
class Case:
    """What one setup came to: medians of the pairs, and the processes' own costs.

    Attributes:
        sockets: see `Setup`.
        aof: likewise.
        acknowledged_fps: frames a second, from `publish` until DONE.
        plain_fps: the same bytes over a plain PUSH and PULL.
        ratio: of the two.
        cpu_us: microseconds of processor time a frame, by process: `publisher, worker, redis`.
        resident_mib: memory at the end, by process.
        resident_growth: from after the warm-up until the end, as a share, by process.
    """

    sockets: str
    aof: str
    acknowledged_fps: float
    plain_fps: float
    ratio: float
    cpu_us: dict[str, float]
    resident_mib: dict[str, float]
    resident_growth: dict[str, float]


@dataclass(frozen=True)
class TransportBench:
    """All cases, and the first one's figures once more: plain sockets, nothing written to disk."""

    machine: str
    frames: int
    cases: tuple[Case, ...]

    def to_json(self) -> dict[str, Any]:
        """For machines."""
        first = self.cases[0]
        top = {"acknowledged_fps": first.acknowledged_fps, "plain_fps": first.plain_fps, "ratio": first.ratio}
        return {**top, **asdict(self), "shape": SHAPE, "max_batch": MAX_BATCH, "pairs": PAIRS}


def bench_transport(frames: int, *, progress: Callable[[int], None]) -> TransportBench:
    """Measures every setup.

    Args:
        frames: of each setup, shared among the pairs.
        progress: called with the frames that were sent since it was called last.

    Raises:
        ResultsUnavailable: there is no redis-server.
        WorkerError: a process ended, or hangs.
    """
    machine = f"{platform.machine()}, {psutil.cpu_count()} CPUs"
    with _plain_sockets() as plain:
        return TransportBench(machine, frames, tuple(_measure(setup, frames, plain, progress) for setup in SETUPS))


def frames_in_all(frames: int) -> int:
    """What `progress` adds up to."""
    return len(SETUPS) * (WARM_UP + PAIRS * 2 * _burst(frames))


def _burst(frames: int) -> int:
    return max(1, frames // PAIRS)


def _measure(setup: Setup, frames: int, plain: Callable[[int], float], progress: Callable[[int], None]) -> Case:
    burst = _burst(frames)
    with _line(setup) as (publisher, pids):
        seconds(WARM_UP, publisher)
        progress(WARM_UP)
        usage, cpu_s = {name: Usage.of(pid) for name, pid in pids.items()}, dict.fromkeys(pids, 0.0)
        first, pairs = usage, []
        for _ in range(PAIRS):
            plain_s = plain(burst)
            before = {name: Usage.of(pid) for name, pid in pids.items()}
            acknowledged_s = seconds(burst, publisher)
            usage = {name: Usage.of(pid) for name, pid in pids.items()}
            cpu_s = {name: cpu_s[name] + usage[name].cpu_s - before[name].cpu_s for name in pids}
            pairs.append((burst / plain_s, burst / acknowledged_s))
            progress(2 * burst)
    return Case(
        setup.sockets,
        setup.aof,
        acknowledged_fps=statistics.median(acknowledged for _, acknowledged in pairs),
        plain_fps=statistics.median(plain for plain, _ in pairs),
        ratio=statistics.median(acknowledged / plain for plain, acknowledged in pairs),
        cpu_us={name: spent / (PAIRS * burst) * 1e6 for name, spent in cpu_s.items()},
        resident_mib={name: used.resident_bytes / 2**20 for name, used in usage.items()},
        resident_growth={name: used.resident_bytes / first[name].resident_bytes - 1 for name, used in usage.items()},
    )


@contextmanager
def _line(setup: Setup) -> Iterator[tuple[Burster, dict[str, int]]]:
    """A publisher, a null worker and a Redis, each a process of its own. Yields the publisher and all their ids."""
    work, live, redis_port = free_ports(3)
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="sightline-bench-")))
        processes = stack.enter_context(Processes(folder))
        url = processes.redis(redis_port, *setup.redis_options())
        publisher = stack.enter_context(Burster("publisher", publish, setup.publisher(work, live)))
        worker = start_null_worker(setup.worker(work, url))
        stack.callback(worker.join, 10)
        stack.callback(worker.terminate)
        publisher.ready()
        yield publisher, {"publisher": publisher.pid, "worker": worker.pid or 0, "redis": processes.pid("redis")}


@contextmanager
def _plain_sockets() -> Iterator[Callable[[int], float]]:
    """Two processes with plain sockets. Yields how long they take to bring so many frames across, in seconds."""
    endpoint = f"tcp://127.0.0.1:{free_ports(1)[0]}"
    tag = FrameTag(camera=CAMERA, session=SESSION, seq=0, captured_ns=0, recipe=RECIPE, simulated=True)
    frame = make_frame(tag, picture(), color="bgr")
    message = [FRAME, frame.header.to_bytes(), frame.payload]
    with Burster("plain PULL", pull, endpoint) as puller, Burster("plain PUSH", push, endpoint, message) as pusher:
        for burster in (puller, pusher):
            burster.ready()
        seconds(WARM_UP, puller, pusher)
        yield lambda frames: seconds(frames, puller, pusher)
