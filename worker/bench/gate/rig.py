"""The plant of `sightline bench gate`: Redis, cameras, workers, gateway and PLC, each a process that can be hit."""

import json
import multiprocessing
import os
import signal
import socket
import time
import uuid
from collections.abc import Callable
from multiprocessing.process import BaseProcess
from pathlib import Path

from worker.bench.gate.camera import Start, camera_settings, run_camera
from worker.bench.gate.plan import CAMERAS, DISTANCE, LINE, WINDOW_MS
from worker.bench.gate.plc import LinkLost, Registers, run_plc
from worker.demo.processes import Processes, free_ports, signals_put_off
from worker.errors import WorkerError
from worker.line import LineKeys, connect, redis_errors

GATEWAY = "gateway"
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
        url: of Redis.
        plc_log: what the PLC saw and did.
        start_ns: when part 0 crosses the light barrier, since the epoch.
    """

    def __init__(self, folder: Path, parts: int, seed: int) -> None:
        self._folder, self._parts, self._seed = folder, parts, seed
        self._redis_port, self._modbus_port, *ends = free_ports(2 + 2 * len(CAMERAS))
        self._ends = dict(zip(CAMERAS, zip(ends[::2], ends[1::2], strict=True), strict=True))
        self._processes = Processes(folder)
        self._context = multiprocessing.get_context("spawn")
        ready = {view: self._context.Event() for view in CAMERAS}
        self._start = Start(self._context.Value("q", 0), ready, WORKERS)
        self._children: dict[str, BaseProcess] = {}
        self._names: dict[int, str] = {}
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
        for name in list(self._children):
            self.kill(name)
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

    # -- processes that are forked off or spawned --------------------------------------------------------------------

    def running(self, name: str) -> bool:
        """Whether it was started and has not ended."""
        return name in self._children and self._children[name].is_alive()

    def start_plc(self) -> None:
        """A PLC that knows nothing of the time before."""
        arguments = (HOST, self._modbus_port, self.plc_log, self._parts, self._seed, self.start_ns)
        self._spawn("plc", run_plc, *arguments)

    def start_camera(self, view: str) -> None:
        """The camera of a view, with a session of its own."""
        work, live = (f"tcp://{HOST}:{port}" for port in self._ends[view])
        settings = camera_settings(view, work=work, live=live, state=self._folder / view)
        self._spawn(CAMERAS[view], run_camera, view, settings, self._parts, self._seed, self._start)

    def start_worker(self, number: int) -> None:
        """A null worker, under a name that no other had."""
        self._names[number] = f"w{number + 1}-{uuid.uuid4().hex[:8]}"
        ends = {CAMERAS[view]: f"tcp://{HOST}:{work}" for view, (work, _) in self._ends.items()}
        context = multiprocessing.get_context(
            "forkserver"
        )  # with the imports behind it: up within tens of milliseconds
        context.set_forkserver_preload(["worker.bench.gate.worker"])
        process = context.Process(target=_run_worker, args=(self._names[number], self.url, ends), daemon=True)
        with signals_put_off():
            process.start()
        self._children[worker_name(number)] = process

    def _spawn(self, name: str, run: Callable[..., None], *arguments: object) -> None:
        process = self._context.Process(target=run, args=arguments, daemon=True)
        with signals_put_off():
            process.start()
        self._children[name] = process

    def kill(self, name: str) -> None:
        """Ends a process as a power cut does, also one that was stopped."""
        process = self._children.pop(name)
        process.kill()
        process.join()

    def stop(self, name: str) -> bool:
        """Stops a process where it stands. Returns whether it runs at all."""
        return self._signal(name, signal.SIGSTOP)

    def go_on(self, name: str) -> bool:
        """Lets it go on."""
        return self._signal(name, signal.SIGCONT)

    def _signal(self, name: str, number: int) -> bool:
        process = self._children.get(name)
        if process is None or process.pid is None or not process.is_alive():
            return False
        os.kill(process.pid, number)
        return True

    def mend(self) -> int:
        """Starts workers again that have ended: one does so without Redis. Returns how many."""
        dead = [number for number in range(WORKERS) if self.redis_up and not self.running(worker_name(number))]
        for number in dead:
            self.start_worker(number)
        return len(dead)

    def exit_code(self, name: str) -> int | None:
        """Of a process that has ended by itself; None: it goes on, or was killed here."""
        return self._children[name].exitcode if name in self._children else None

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
        """Starts `sightline gate`; it isn't there at once."""
        config = self._folder / "gate.toml"
        config.write_text(self._gate_toml(), encoding="utf-8")
        self._processes.sightline(GATEWAY, "gate", "--config", str(config))

    def kill_gateway(self) -> None:
        """Ends it as a power cut does: nobody gives its lease back."""
        self._processes.kill(GATEWAY)

    def expect_alive(self) -> None:
        """Raises `WorkerError` if the gateway has ended by itself."""
        self._processes.expect_alive(GATEWAY)

    def workers_here(self) -> bool:
        """Whether all workers are up, by their heartbeat."""
        client = connect(self.url, timeout_s=5.0)
        with redis_errors(self.url):
            here = all(client.exists(LineKeys(LINE).worker(name)) for name in self._names.values())
        client.close()
        return here

    def _await_workers(self) -> None:
        """The first ones take their time: a process that has all imports behind it must be there first."""
        ends = time.monotonic() + START_S
        while not self.workers_here():
            if time.monotonic() > ends:
                raise WorkerError("the workers do not come")
            time.sleep(LOOK_S)

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
                raise WorkerError(f"the gateway does not come: {self._processes.last_words(GATEWAY)}")
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
