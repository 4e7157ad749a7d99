"""How many frames a second the line around the engine carries, each acknowledged, beside plain sockets in the same run.

Acknowledged: from `publish` until the worker's DONE for it came back, which it sends after Redis has the verdict.
"""

import platform
import shutil
import statistics
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import psutil
from pydantic import SecretStr

from producers.frame import FrameTag, make_frame
from producers.keys import new_pair, read_public
from producers.protocol import FRAME
from producers.publisher import PublisherSettings
from worker.bench.bursts import SHAPE, Burster, picture, publish, pull, push, seconds
from worker.bench.null import RECIPE, start_null_worker
from worker.bench.usage import Usage
from worker.demo.processes import Processes, free_ports
from worker.settings import CameraSettings, WorkerSettings

PAIRS = 5
MAX_BATCH = 32
WARM_UP = 10_000  # frames, or as many as are measured: by then every heap has about found its size
PLAIN_WARM_UP = 1000  # messages
MAX_RESULTS = 1000  # entries in the stream: its growth is Redis's business and would hide everybody else's
CAMERA = "bench"
SESSION = "00000000-0000-0000-0000-000000000000"


Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Setup:
    """What a case is measured with.

    Attributes:
        sockets: how the work socket is protected.
        aof: whether Redis writes each verdict to its disk before it answers.
    """

    sockets: Literal["plain", "curve"] = "plain"
    aof: Literal["off", "always"] = "off"

    def make_keys(self, folder: Path) -> None:
        """Makes what `publisher` and `worker` look for in the same folder, if this setup has keys at all."""
        if self.sockets == "curve":
            for name in ("camera", "worker"):
                new_pair(folder, name)
            for door in ("workers", "viewers"):
                (folder / door).mkdir()
            shutil.copy(folder / "worker.pub", folder / "workers")

    def __str__(self) -> str:
        return f"{self.sockets}, AOF {self.aof}"

    def redis_options(self) -> list[str]:
        """For the command line of redis-server."""
        return [] if self.aof == "off" else ["--appendonly", "yes", "--appendfsync", "always"]

    def publisher(self, work_port: int, live_port: int, keys: Path) -> PublisherSettings:
        """Of the publisher, whose defaults are kept."""
        key = keys / "camera.key" if self.sockets == "curve" else None
        ends = {"work": f"tcp://127.0.0.1:{work_port}", "live": f"tcp://127.0.0.1:{live_port}"}
        return PublisherSettings(camera=CAMERA, recipe=RECIPE, key=key, **ends)

    def worker(self, work_port: int, redis_url: str, keys: Path) -> WorkerSettings:
        """Of the null worker."""
        curve = self.sockets == "curve"
        endpoint, server_key = f"tcp://127.0.0.1:{work_port}", read_public(keys / "camera.pub") if curve else None
        return WorkerSettings(
            line="bench",
            redis=SecretStr(redis_url),
            name="null",
            cameras={CAMERA: CameraSettings(endpoint=endpoint, recipe=RECIPE, server_key=server_key)},
            key=keys / "worker.key" if curve else None,
            max_batch=MAX_BATCH,
            max_results=MAX_RESULTS,
            log_level="warning",
        )


SETUPS = (Setup(), Setup(aof="always"), Setup(sockets="curve"), Setup(sockets="curve", aof="always"))


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
    """All cases; in JSON the first one's figures once more: plain sockets, nothing written to disk."""

    machine: str
    frames: int
    cases: tuple[Case, ...]

    def to_json(self) -> dict[str, Any]:
        """For machines."""
        first = self.cases[0]
        top = {"acknowledged_fps": first.acknowledged_fps, "plain_fps": first.plain_fps, "ratio": first.ratio}
        grown = {"resident_growth": self.resident_growth}
        return {**top, **grown, **asdict(self), "shape": SHAPE, "max_batch": MAX_BATCH, "pairs": PAIRS}

    @property
    def resident_growth(self) -> float:
        """The most that a publisher or a worker grew by, as a share. Redis holds what it was told to hold."""
        return max(case.resident_growth[name] for case in self.cases for name in ("publisher", "worker"))


def bench_transport(
    frames: int, *, setups: Sequence[Setup] = SETUPS, progress: Progress = lambda what, done, total: None
) -> TransportBench:
    """Measures every setup.

    Args:
        frames: of each setup, shared among the pairs.
        setups: which; the first one's figures are shown first.
        progress: told `what, done, total`.

    Raises:
        ResultsUnavailable: there is no redis-server.
        WorkerError: a process ended, or hangs.
    """
    machine = f"{platform.machine()}, {psutil.cpu_count()} CPUs"
    with _plain_sockets() as plain:
        return TransportBench(machine, frames, tuple(_measure(setup, frames, plain, progress) for setup in setups))


def _measure(setup: Setup, frames: int, plain: Callable[[int], float], progress: Progress) -> Case:
    burst = max(1, frames // PAIRS)
    with _line(setup) as (publisher, pids):
        seconds(min(WARM_UP, frames), publisher)
        usage, cpu_s = {name: Usage.of(pid) for name, pid in pids.items()}, dict.fromkeys(pids, 0.0)
        first, pairs = usage, []
        for pair in range(PAIRS):
            progress(str(setup), pair * burst, PAIRS * burst)
            plain_s = plain(burst)
            before = {name: Usage.of(pid) for name, pid in pids.items()}
            acknowledged_s = seconds(burst, publisher)
            usage = {name: Usage.of(pid) for name, pid in pids.items()}
            cpu_s = {name: cpu_s[name] + usage[name].cpu_s - before[name].cpu_s for name in pids}
            pairs.append((burst / plain_s, burst / acknowledged_s))
        progress(str(setup), PAIRS * burst, PAIRS * burst)
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
        setup.make_keys(folder / "keys")
        publisher = stack.enter_context(Burster("publisher", publish, setup.publisher(work, live, folder / "keys")))
        worker = start_null_worker(setup.worker(work, url, folder / "keys"))
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
        seconds(PLAIN_WARM_UP, puller, pusher)
        yield lambda frames: seconds(frames, puller, pusher)
