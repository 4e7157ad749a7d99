"""What many tests need: a real Redis of their own, real pictures where they are, and a small real bundle."""

import os
import subprocess
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from multiprocessing import forkserver
from pathlib import Path

import pytest
import structlog

from producers.parts import draw_dataset
from tests.worker.processes import FORKS, IMPORTED
from worker.demo.processes import free_ports, redis_server
from worker.errors import ResultsUnavailable
from worker.line import connect, redis_errors


@pytest.fixture(scope="session", autouse=True)
def commands_start_at_once() -> None:
    """What commands import is imported once, while the first tests run."""
    FORKS.set_forkserver_preload(IMPORTED)
    forkserver.ensure_running()


@pytest.fixture(scope="session", autouse=True)
def state_homes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Journals of camera daemons go here, never to the home of whoever runs the tests."""
    homes = tmp_path_factory.mktemp("state")
    with pytest.MonkeyPatch.context() as patch:
        for name in ("XDG_STATE_HOME", "LOCALAPPDATA"):
            patch.setenv(name, str(homes))
        yield homes


@pytest.fixture(autouse=True)
def _state_home_of_its_own(state_homes: Path) -> None:
    """A camera that one test kills is no predecessor of the next test's."""
    for name in ("XDG_STATE_HOME", "LOCALAPPDATA"):
        os.environ[name] = str(state_homes / uuid.uuid4().hex)


@pytest.fixture(autouse=True)
def logs_as_ever() -> Iterator[None]:
    """What a test sets about logs ends with it: the next may look for a warning."""
    yield
    structlog.reset_defaults()


@dataclass
class RedisServer:
    """A redis-server process that belongs to the tests."""

    process: "subprocess.Popen[bytes]"
    port: int
    folder: Path

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"


def start_redis(folder: Path, *options: str, port: int | None = None) -> RedisServer:
    """Starts a redis-server on loopback and waits until it answers."""
    chosen = port or free_ports(1)[0]
    command = [redis_server(), "--port", str(chosen), "--bind", "127.0.0.1", "--dir", str(folder), "--save", ""]
    with (folder / f"redis-{chosen}.log").open("ab") as log:
        process = subprocess.Popen([*command, *options], stdout=log, stderr=log)
    server = RedisServer(process, chosen, folder)
    client, ends = connect(server.url, timeout_s=1.0), time.monotonic() + 10
    while True:
        try:
            with redis_errors(server.url):
                client.ping()
            client.close()
            return server
        except ResultsUnavailable:
            if time.monotonic() > ends:
                process.kill()
                raise
            time.sleep(0.02)


def stop_redis(server: RedisServer) -> None:
    """Ends a redis-server, also one that was stopped by a signal."""
    server.process.kill()
    server.process.wait()


@pytest.fixture(scope="session")
def redis_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A Redis that all tests share: each uses a line of its own."""
    server = start_redis(tmp_path_factory.mktemp("redis"))
    yield server.url
    stop_redis(server)


@pytest.fixture
def own_redis(tmp_path: Path) -> Iterator[RedisServer]:
    """A Redis for one test, which may do with it what it likes."""
    server = start_redis(tmp_path)
    yield server
    stop_redis(server)


@pytest.fixture
def line() -> str:
    """A line that no other test uses."""
    return f"test-{uuid.uuid4().hex[:12]}"


@pytest.fixture(scope="session")
def parts_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A few drawn parts in the MVTec layout."""
    root = tmp_path_factory.mktemp("parts")
    draw_dataset(root, train=24, good=8, bad=8, seed=1)
    return root


@pytest.fixture(scope="session")
def recipes(parts_root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of recipes with one small real bundle, `part`, trained for a few steps on the drawn parts."""
    pytest.importorskip("torch")
    from model.bundle import Architecture, write_bundle
    from model.contract import InputContract
    from model.dataset import good_pictures, read_image
    from model.plan import Plan
    from model.preprocessing import Preprocessing
    from model.scoring import Scoring
    from model.settings import TrainSettings
    from model.training import train

    folder = tmp_path_factory.mktemp("recipes")
    images = [read_image(path) for path in good_pictures(parts_root)]
    architecture, preprocessing = Architecture(hidden=64), Preprocessing(resize=(96, 96), crop=(96, 96))
    done = train(images, Plan(architecture, preprocessing, TrainSettings(steps=20, positions=256), Scoring()))
    write_bundle(
        folder / "part",
        done.network,
        name="part",
        architecture=architecture,
        preprocessing=preprocessing,
        contract=InputContract.of(images),
        calibration=done.calibration,
        provenance=done.settings.provenance(),
    )
    return folder


@pytest.fixture(scope="session")
def data_root() -> Path:
    """Real pictures, where they are (`SIGHTLINE_DATA`)."""
    root = Path(os.environ.get("SIGHTLINE_DATA", Path(__file__).parent.parent.parent / "shared" / "data"))
    if not (root / "mvtec_bottle").is_dir():
        pytest.skip(f"no real pictures at {root}: set SIGHTLINE_DATA")
    return root


@pytest.fixture(scope="session")
def weights_file() -> Path:
    """Real ImageNet weights, where they are (`SIGHTLINE_WEIGHTS`: a file, or the folder it lies in)."""
    path = Path(os.environ.get("SIGHTLINE_WEIGHTS", Path(__file__).parent.parent.parent / "shared" / "weights"))
    if path.is_dir():
        path /= "resnet18_imagenet_bnfolded_layer1-3.pth"
    if not path.is_file():
        pytest.skip(f"no ImageNet weights at {path}: set SIGHTLINE_WEIGHTS")
    return path
