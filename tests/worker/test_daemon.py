"""A worker as those who run it see it: real processes, asked over HTTP and listened to as systemd does."""

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.error import URLError

import numpy as np
import pytest

pytest.importorskip("torch")

from producers.daemon import ExitCode
from producers.publisher import FramePublisher, PublisherSettings
from tests.conftest import RedisServer, start_redis, stop_redis
from tests.notified import Listener, listening
from tests.producers.test_metrics import get
from tests.worker.hanging import HANGS_AT
from tests.worker.processes import SIGHTLINE, eventually, sightline, write_config
from worker.bench.null import RECIPE
from worker.demo.processes import free_ports
from worker.settings import WorkerSettings

Answer = tuple[int, str]
YES = (200, "yes\n")
WATCHDOG_S = 2.0


@pytest.fixture
def address() -> tuple[str, int]:
    return "127.0.0.1", free_ports(1)[0]


@pytest.fixture
def work() -> str:
    return f"tcp://127.0.0.1:{free_ports(1)[0]}"


def publishing(work: str, camera: str = "cam1", recipe: str = RECIPE) -> FramePublisher:
    live = f"tcp://127.0.0.1:{free_ports(1)[0]}"
    return FramePublisher(PublisherSettings(camera=camera, work=work, live=live, recipe=recipe))


@contextmanager
def worker_of(
    settings: dict[str, object], *, log: Path, systemd: Listener | None = None
) -> "Iterator[subprocess.Popen[bytes]]":
    """A null worker in a process of its own."""
    more = {} if systemd is None else {"NOTIFY_SOCKET": systemd.address, "WATCHDOG_USEC": f"{WATCHDOG_S * 1e6:.0f}"}
    command = [sys.executable, "-m", "tests.worker.hanging", json.dumps(settings)]
    with log.open("wb") as output:
        process = subprocess.Popen(command, stdout=output, stderr=output, env={**os.environ, **more})
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def fields(work: str, redis_url: str, line: str, address: tuple[str, int], **more: object) -> dict[str, object]:
    cameras = {"cam1": {"endpoint": work, "recipe": RECIPE}}
    where = {"line": line, "redis": redis_url, "metrics": f"{address[0]}:{address[1]}"}
    return {**where, "cameras": cameras, "name": "w1", "ping_s": 0.1, **more}


def asking(address: tuple[str, int], path: str) -> Callable[[], Answer | None]:
    def ask() -> Answer | None:
        try:
            return get(address, path)
        except (OSError, URLError):
            return None  # not up yet

    return ask


def publish(publisher: FramePublisher, value: int = 7) -> None:
    publisher.publish(np.full((16, 16, 3), value, np.uint8))


def test_a_worker_is_ready_once_its_camera_answers_and_says_until_then_what_is_missing(
    tmp_path: Path, work: str, redis_url: str, line: str, address: tuple[str, int]
) -> None:
    ready = asking(address, "/readyz")
    with worker_of(fields(work, redis_url, line, address), log=tmp_path / "log"):
        assert eventually(lambda: ready() == (503, "no\ncamera cam1 does not answer\n"), 90)
        assert get(address, "/healthz") == YES, "it lives, though it has nobody to work for"
        with publishing(work):
            assert eventually(lambda: ready() == YES)
        assert eventually(lambda: ready() == (503, "no\ncamera cam1 does not answer\n"))


def test_a_camera_that_is_optional_is_not_waited_for(
    tmp_path: Path, work: str, redis_url: str, line: str, address: tuple[str, int]
) -> None:
    never = {"endpoint": "tcp://127.0.0.1:1", "recipe": RECIPE, "optional": True}
    cameras = {"cam1": {"endpoint": work, "recipe": RECIPE}, "cam2": never}
    settings = fields(work, redis_url, line, address, cameras=cameras)
    with publishing(work), worker_of(settings, log=tmp_path / "log"):
        assert eventually(lambda: asking(address, "/readyz")() == YES, 90)
        assert 'sightline_worker_publisher_up{camera="cam2"} 0.0' in get(address, "/metrics")[1]


def test_a_worker_without_redis_is_not_ready_until_redis_is_back(
    tmp_path: Path, work: str, own_redis: RedisServer, line: str, address: tuple[str, int]
) -> None:
    ready, missing = asking(address, "/readyz"), (503, "no\nRedis has not taken the last heartbeat or write\n")
    with publishing(work) as publisher, worker_of(fields(work, own_redis.url, line, address), log=tmp_path / "log"):
        assert eventually(lambda: ready() == YES, 90)
        stop_redis(own_redis)
        assert eventually(lambda: ready() == missing), "without a frame the heartbeat notices"
        publish(publisher)
        waits = 'sightline_worker_queue_entries{queue="verdicts"} 1.0'
        assert eventually(lambda: waits in get(address, "/metrics")[1])
        assert "sightline_worker_redis_up 0.0" in get(address, "/metrics")[1]
        again = start_redis(own_redis.folder, port=own_redis.port)
        try:
            assert eventually(lambda: ready() == YES)
            assert eventually(lambda: publisher.counts()["open"] == 0)
        finally:
            stop_redis(again)


@pytest.mark.skipif(sys.platform != "linux", reason="systemd is Linux's")
def test_a_work_loop_that_hangs_feeds_no_watchdog_and_is_not_healthy(
    tmp_path: Path, work: str, redis_url: str, line: str, address: tuple[str, int]
) -> None:
    settings, log = fields(work, redis_url, line, address), tmp_path / "log"
    with (
        listening(tmp_path) as systemd,
        publishing(work) as publisher,
        worker_of(settings, log=log, systemd=systemd),
    ):
        systemd.wait_for("READY=1", 90)
        publish(publisher)
        assert eventually(lambda: publisher.counts()["stored"] == 1)
        systemd.drain()
        systemd.wait_for("WATCHDOG=1")
        publish(publisher, HANGS_AT)
        assert eventually(lambda: get(address, "/healthz")[0] == 503), "within the beat's own time limit, 5 s"
        systemd.drain()
        assert not systemd.listen(2 * WATCHDOG_S), f"systemd would take it for alive: {systemd.heard}"
        assert "the work loop hangs" in get(address, "/readyz")[1], "HTTP has a thread of its own and still answers"


@pytest.mark.skipif(sys.platform != "linux", reason="systemd is Linux's")
def test_the_real_command_tells_systemd_of_its_whole_life_and_ends_with_0(
    tmp_path: Path, work: str, redis_url: str, line: str, recipes: Path
) -> None:
    config = write_config(tmp_path / "w.toml", line=line, redis=redis_url, recipes=recipes, endpoint=work)
    with listening(tmp_path, abstract=True) as systemd, (tmp_path / "log").open("wb") as log:
        environment = {**os.environ, "NOTIFY_SOCKET": systemd.address, "WATCHDOG_USEC": "1000000"}
        command = [*SIGHTLINE, "worker", "--config", str(config)]
        worker = subprocess.Popen(command, stdout=log, stderr=log, env=environment)
        try:
            systemd.wait_for("STATUS=starts", 90)
            systemd.wait_for("camera cam1 does not answer", 90)
            systemd.wait_for("EXTEND_TIMEOUT_USEC")
            assert "READY=1" not in systemd.heard, "its camera is not there yet"
            with publishing(work, recipe="part"):
                systemd.wait_for("READY=1")
                systemd.wait_for("STATUS=judges")
                systemd.drain()
                systemd.wait_for("WATCHDOG=1")
                worker.send_signal(signal.SIGTERM)
                systemd.wait_for("STOPPING=1")
                assert worker.wait(60) == ExitCode.OK
        finally:
            worker.kill()
            worker.wait()


@pytest.mark.skipif(sys.platform != "linux", reason="systemd is Linux's")
def test_a_camera_tells_systemd_of_its_whole_life(tmp_path: Path, parts_root: Path, work: str) -> None:
    live = f"tcp://127.0.0.1:{free_ports(1)[0]}"
    ends = ["--work", work, "--live", live, "--drain-s", "0.2"]
    with listening(tmp_path) as systemd, (tmp_path / "log").open("wb") as log:
        environment = {**os.environ, "NOTIFY_SOCKET": systemd.address, "WATCHDOG_USEC": "400000"}
        command = [*SIGHTLINE, "camera", str(parts_root / "test"), "--camera", "cam1", "--loop", "--rate", "1", *ends]
        camera = subprocess.Popen(command, stdout=log, stderr=log, env=environment)
        try:
            systemd.wait_for("READY=1")
            systemd.wait_for("STATUS=publishes")
            systemd.wait_for("WATCHDOG=1")
            camera.send_signal(signal.SIGTERM)
            systemd.wait_for("STOPPING=1")
            assert camera.wait(60) in (ExitCode.OK, ExitCode.NO), "whether it had captured a frame yet or not"
        finally:
            camera.kill()
            camera.wait()


def test_an_address_for_metrics_that_is_in_use_has_its_own_exit_code(
    tmp_path: Path, work: str, redis_url: str, line: str, recipes: Path
) -> None:
    config = write_config(tmp_path / "w.toml", line=line, redis=redis_url, recipes=recipes, endpoint=work)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        config.write_text(f'metrics = "{address}"\n{config.read_text()}')
        done = sightline("worker", "--config", str(config))
    assert done.returncode == ExitCode.ADDRESS_TAKEN
    assert address in done.stderr
    assert "Traceback" not in done.stderr


def test_a_device_that_is_not_there_has_its_own_exit_code(
    tmp_path: Path, work: str, redis_url: str, line: str, recipes: Path
) -> None:
    config = write_config(tmp_path / "w.toml", line=line, redis=redis_url, recipes=recipes, endpoint=work)
    done = sightline("worker", "--config", str(config), "--device", "cuda:77")
    assert done.returncode == ExitCode.DATA
    assert "cuda:77" in done.stderr


@pytest.mark.parametrize("metrics", ["9464", "host:0", "http://host:80"])
def test_an_address_that_is_none_is_a_bad_setting(tmp_path: Path, metrics: str) -> None:
    config = write_config(tmp_path / "w.toml", line="a", redis="redis://x", recipes=tmp_path, endpoint="tcp://x:1")
    config.write_text(f'metrics = "{metrics}"\n{config.read_text()}')
    done = sightline("worker", "--config", str(config))
    assert done.returncode == ExitCode.SETTINGS
    assert metrics in done.stderr


def test_by_default_a_worker_opens_no_port_and_every_camera_is_needed() -> None:
    settings = WorkerSettings.model_validate({"cameras": {"cam1": {"endpoint": "tcp://x:1", "recipe": "part"}}})
    assert settings.metrics is None
    assert not settings.cameras["cam1"].optional


def test_the_help_names_every_exit_code() -> None:
    said = " ".join(sightline("worker", "--help").stdout.split())
    codes = {*ExitCode, 128 + signal.SIGTERM, 128 + signal.SIGINT}
    assert all(f"{int(code)} " in said.partition("Exit codes:")[2] for code in codes)
