"""The plant of `sightline bench gate`: Redis, cameras, workers, gateway and PLC, each a process that can be hit."""

import json
import socket
import time
import uuid
from pathlib import Path

from worker.bench.gate.camera import Start, camera_settings, run_camera
from worker.bench.gate.children import Children
from worker.bench.gate.plan import CAMERAS, DISTANCE, LINE, WINDOW_MS
from worker.bench.gate.plc import LinkLost, Registers, run_plc
from worker.demo.processes import Processes, free_ports
from worker.errors import WorkerError
from worker.line import LineKeys, connect, redis_errors

PLC = "plc"
WORKERS = 2
HOST = "127.0.0.1"
START_S = 60.0
LEASE_MS = 1000
LOOK_S = 0.02
LEAD_S = 3.0  # until part 0 comes: by then the PLC stands there


class GateRig:
    """The plant. A context manager: nothing that it starts outlives it. One thread.

    Args:
        folder: for logs, journals and Redis's append-only file.
        parts: of the plan.
        seed: of the plan.

    Attributes:
        children: cameras, workers and PLC, by name.
        url: of Redis.
        plc_log: what the PLC saw and did.
        start_ns: when part 0 crosses the light barrier, since the epoch.
    """

    def __init__(self, folder: Path, parts: int, seed: int) -> None:
        self._folder, self._parts, self._seed = folder, parts, seed
        self._redis_port, self._modbus_port, *ends = free_ports(2 + 2 * len(CAMERAS))
        self._ends = dict(zip(CAMERAS, zip(ends[::2], ends[1::2], strict=True), strict=True))
        self._processes, self.children = Processes(folder), Children()
        spawning = self.children.spawning
        self._start = Start(spawning.Value("q", 0), {view: spawning.Event() for view in CAMERAS}, WORKERS)
        self._workers: dict[int, str] = {}
        self._gateway = ""
        self._gateways = 0
        self.url = f"redis://{HOST}:{self._redis_port}/0"
        self.plc_log = folder / "plc.jsonl"
        self.redis_up = False
        self.start_ns = 0

    def __enter__(self) -> "GateRig":
        try:
            self._begin()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.children.kill_all()
        self._processes.__exit__(None, None, None)

    def _begin(self) -> None:
        self.start_redis()
        self.start_gateway()
        for number in range(WORKERS):
            self.start_worker(number)
        self._await_workers()
        for view in CAMERAS:
            self.start_camera(view)
        for ready in self._start.ready.values():
            if not ready.wait(START_S):
                raise WorkerError("the cameras and their workers do not find each other")
        self._await_gateway()
        self.start_ns = self._start.ns.value = time.time_ns() + int(LEAD_S * 1e9)
        self.start_plc()

    # -- PLC, cameras and workers ------------------------------------------------------------------------------------

    def start_plc(self) -> None:
        """A PLC that knows nothing of the time before."""
        arguments = (HOST, self._modbus_port, self.plc_log, self._parts, self._seed, self.start_ns)
        self.children.spawn(PLC, run_plc, *arguments)

    def start_camera(self, view: str) -> None:
        """The camera of a view, with a session of its own."""
        work, live = (f"tcp://{HOST}:{port}" for port in self._ends[view])
        settings = camera_settings(view, work=work, live=live, state=self._folder / view)
        self.children.spawn(CAMERAS[view], run_camera, view, settings, self._parts, self._seed, self._start)

    def start_worker(self, number: int) -> None:
        """A null worker, under a name that no other had; it ends by itself if there is no Redis."""
        name = self._workers[number] = f"w{number + 1}-{uuid.uuid4().hex[:8]}"
        ends = {CAMERAS[view]: f"tcp://{HOST}:{work}" for view, (work, _) in self._ends.items()}
        self.children.fork(worker_name(number), "worker.bench.gate.worker", _run_worker, name, self.url, ends)

    def mend(self) -> None:
        """Starts workers again that were killed."""
        for number in range(WORKERS):
            if self.redis_up and not self.children.running(worker_name(number)):
                self.start_worker(number)

    def workers_here(self) -> bool:
        """Whether all workers are up, by their heartbeat."""
        client = connect(self.url, timeout_s=5.0)
        with redis_errors(self.url):
            here = all(client.exists(LineKeys(LINE).worker(name)) for name in self._workers.values())
        client.close()
        return here

    def _await_workers(self) -> None:
        """The first ones take their time: somebody must have all imports behind it."""
        ends = time.monotonic() + START_S
        while not self.workers_here():
            if time.monotonic() > ends:
                raise WorkerError("the workers do not come")
            time.sleep(LOOK_S)

    # -- Redis and gateway -------------------------------------------------------------------------------------------

    def start_redis(self) -> None:
        """Redis with all that it had, once it answers."""
        self._processes.redis(self._redis_port, "--appendonly", "yes", "--appendfsync", "always")
        self.redis_up = True

    def kill_redis(self) -> None:
        """Ends Redis as a crash does."""
        self.redis_up = False
        self._processes.kill("redis")

    def start_gateway(self) -> None:
        """Starts `sightline gate`, with a log of its own; it isn't there at once."""
        config = self._folder / "gate.toml"
        config.write_text(self._gate_toml(), encoding="utf-8")
        self._gateways += 1
        self._gateway = f"gateway-{self._gateways}"
        self._processes.sightline(self._gateway, "gate", "--config", str(config))

    def kill_gateway(self) -> None:
        """Ends it as a power cut does: nobody gives its lease back."""
        self._processes.kill(self._gateway)

    def expect_alive(self) -> None:
        """Raises `WorkerError` if the gateway has ended by itself."""
        self._processes.expect_alive(self._gateway)

    def gateway_here(self) -> bool:
        """Whether the gateway listens."""
        try:
            socket.create_connection((HOST, self._modbus_port), LOOK_S).close()
        except OSError:
            return False
        return True

    def _await_gateway(self) -> None:
        registers, ends = Registers(HOST, self._modbus_port), time.monotonic() + START_S
        while True:
            self.expect_alive()
            try:
                if registers.status().online:
                    break
            except LinkLost:
                registers.drop()
            if time.monotonic() > ends:
                raise WorkerError(f"the gateway does not come: {self._processes.last_words(self._gateway)}")
            time.sleep(LOOK_S)
        registers.drop()

    def _gate_toml(self) -> str:
        text = f'line = "{LINE}"\nredis = "{self.url}"\nwindow_ms = {WINDOW_MS}\nmatch = "trigger"\narm = "plc"\n'
        text += f"part_distance = {DISTANCE}\nlease_ms = {LEASE_MS}\n"
        for view, camera in CAMERAS.items():
            text += f"\n[[views]]\ncamera = {json.dumps(camera)}\nview = {json.dumps(view)}\n"
        return text + f'\n[modbus]\nmode = "server"\naddress = "{HOST}:{self._modbus_port}"\n'


def worker_name(number: int) -> str:
    """Of its process."""
    return f"worker {number + 1}"


def _run_worker(*arguments: object) -> None:
    """Late: nobody but a worker's own process imports what it needs."""
    from worker.bench.gate.worker import run_worker

    run_worker(*arguments)  # type: ignore[arg-type]
