"""A whole line to be loaded: cameras, a worker with a network, and a Redis, each a process of its own.

The worker is `sightline worker` itself. Without pictures some are drawn, and without a bundle one is trained on them
for a moment, because only its time is measured.
"""

import json
import shutil
import time
import urllib.request
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from model.dataset import good_pictures, pictures
from model.errors import BundleError, DataError
from model.images import Image, read_image
from producers.parts import draw_dataset
from producers.publisher import PublisherSettings
from worker.bench import alone, arrivals
from worker.bench.arrivals import Captured, Order
from worker.bench.child import PATIENCE_S, Child
from worker.bench.harvest import Entry, Harvest, Ledger
from worker.demo.processes import Processes, free_ports
from worker.errors import WorkerError
from worker.line import LineKeys, connect, redis_errors

LINE = RECIPE = "bench"
WORKER = "worker"
GOOD, BAD = 32, 8
STEPS = 60
MOST_PICTURES = 64
START_S = 600.0  # for a worker to load and to warm
LOOK_S = 0.25


@dataclass(frozen=True)
class PlantSettings:
    """What the line is made of.

    Attributes:
        bundle: to judge with; None: one is trained for it.
        data: pictures of good parts, as for `sightline train`; None: drawn parts.
        backbone: of a bundle that is trained.
        weights: of that backbone; None: our own where there are any, else random ones.
        cameras: how many.
        max_batch: as a worker's setting, like `device` and `engine`.
        device: likewise.
        engine: likewise.
        retain_frames: as a camera's setting.
        seed: of all that is drawn and learnt.
    """

    bundle: Path | None = None
    data: Path | None = None
    backbone: str = "resnet18"
    weights: str | None = None
    cameras: int = 2
    max_batch: int = 8
    device: str = "auto"
    engine: str = "auto"
    retain_frames: int = 512
    seed: int = 0


class Plant:
    """The line. A context manager: nothing that it starts outlives it. One thread.

    Args:
        settings: what is put there.
        folder: for all that it needs for a while.
        alone: whether the engine stands there as well, in a process of its own.
    """

    def __init__(self, settings: PlantSettings, folder: Path, *, alone: bool = True) -> None:
        self.settings, self.folder, self.ledger = settings, folder, Ledger()
        self._with_alone = alone
        self._stack = ExitStack()
        self._ends: list[str] = []

    def __enter__(self) -> "Plant":
        with ExitStack() as stack:
            self.processes = stack.enter_context(Processes(self.folder))
            sent, color = self._prepare()  # first: what can't be used is told before anything is started
            redis_port, metrics_port, *ports = free_ports(2 + 2 * self.settings.cameras)
            self.url, self.metrics = self.processes.redis(redis_port), f"127.0.0.1:{metrics_port}"
            self._ends = [f"tcp://127.0.0.1:{port}" for port in ports]
            self.cameras = [stack.enter_context(self._camera(number, sent, color)) for number in range(len(self.names))]
            self.start_worker()
            for camera in self.cameras:
                camera.answer()
            self._await_worker()
            if self._with_alone:  # not beside the worker's warm-up, which measures what a batch takes
                self.engine = stack.enter_context(self._engine(sent, color))
                self.engine.answer(START_S)
            self.harvest = stack.enter_context(Harvest(self.url, LINE))
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.__exit__(kind, error, trace)

    @property
    def names(self) -> list[str]:
        """Of the cameras."""
        return [f"cam{number + 1}" for number in range(self.settings.cameras)]

    def pids(self) -> dict[str, int]:
        """Processes of the line, by name."""
        cameras = {name: camera.pid for name, camera in zip(self.names, self.cameras, strict=True)}
        return {WORKER: self.processes.pid(WORKER), "redis": self.processes.pid("redis"), **cameras}

    # -- what happens there ------------------------------------------------------------------------------------------

    def begin(self, orders: Sequence[Order]) -> None:
        """Gives each camera an order; they begin at once."""
        for camera, order in zip(self.cameras, orders, strict=True):
            camera.tell(order)

    def finish(
        self, within_s: float, look: Callable[[float], None] = lambda gone_s: None
    ) -> tuple[list[Captured], list[Entry]]:
        """What the cameras captured, and every verdict since the last time.

        Args:
            within_s: that their orders take, without what the last verdicts need.
            look: called now and then with the seconds that have gone by.

        Raises:
            WorkerError: a process has ended, or hangs.
        """
        started = time.monotonic()
        for camera in self.cameras:
            while not camera.answered(LOOK_S) and time.monotonic() < started + within_s + PATIENCE_S:
                self.processes.expect_alive(WORKER)
                look(time.monotonic() - started)
        look(within_s)
        captured = [camera.answer(0.0) for camera in self.cameras]
        entries = self.harvest.take()
        self.ledger.expect(captured)
        self.ledger.book(entries)
        return captured, entries

    def worker_metric(self, name: str) -> float:
        """A number without labels from the worker's `/metrics`."""
        with urllib.request.urlopen(f"http://{self.metrics}/metrics", timeout=PATIENCE_S) as page:
            lines = page.read().decode().splitlines()
        return next(float(line.split()[1]) for line in lines if line.startswith(f"{name} "))

    def stop_worker(self) -> int:
        """Asks the worker to drain and leave. Returns its exit code."""
        return self.processes.stop(WORKER, patience_s=PATIENCE_S)

    def start_worker(self) -> None:
        """Starts `sightline worker`; it isn't here at once."""
        config = self.folder / "worker.toml"
        text = f'line = "{LINE}"\nredis = "{self.url}"\nrecipes = {json.dumps(str(self.folder / "recipes"))}\n'
        text += f'name = "{WORKER}"\nmax_batch = {self.settings.max_batch}\ndevice = "{self.settings.device}"\n'
        text += f'engine = "{self.settings.engine}"\nlog_level = "warning"\nmetrics = "{self.metrics}"\n'
        for name, work in zip(self.names, self._ends[::2], strict=True):
            text += f'\n[cameras.{name}]\nendpoint = "{work}"\nrecipe = "{RECIPE}"\n'
        config.write_text(text, encoding="utf-8")
        self.processes.sightline(WORKER, "worker", "--config", str(config))

    # -- how it is set up --------------------------------------------------------------------------------------------

    def _prepare(self) -> tuple[Path, str]:
        """The pictures that are sent, as one file, and their colour; beside them the bundle."""
        settings, data = self.settings, self.settings.data
        if data is None:
            data = self.folder / "parts"
            draw_dataset(data, train=GOOD, good=0, bad=BAD, seed=settings.seed)
        paths = good_pictures(data)
        if settings.data is None:
            paths += [path for kind in sorted((data / "test").iterdir()) for path in pictures(kind)]
        if settings.bundle is None:
            self._train(data)
        elif not (settings.bundle / "manifest.json").is_file():
            raise BundleError(f"{settings.bundle} is no bundle: it has no manifest.json")
        else:
            shutil.copytree(settings.bundle, self.folder / "recipes" / RECIPE)
        images = _alike([read_image(path) for path in paths[:MOST_PICTURES]])
        sent = self.folder / "pictures.npy"
        np.save(sent, images)
        return sent, "bgr" if images.ndim == 4 else "mono"

    def _train(self, data: Path) -> None:
        """In a process of its own: its memory is gone before anything is measured."""
        settings = self.settings
        weights = settings.weights or ("own" if settings.backbone == "resnet18" else "random")
        arguments = [str(data), f"--out={self.folder / 'recipes' / RECIPE}", f"--seed={settings.seed}"]
        arguments += [f"--backbone={settings.backbone}", f"--weights={weights}", f"--device={settings.device}"]
        side = "256" if settings.data is None else "224"
        training = self.processes.sightline("train", "train", *arguments, f"--steps={STEPS}", f"--size={side}")
        if training.wait():
            raise WorkerError(f"no bundle could be trained: {self.processes.last_words('train')}")

    def _camera(self, number: int, sent: Path, color: str) -> Child:
        settings = PublisherSettings(
            camera=self.names[number],
            work=self._ends[2 * number],
            live=self._ends[2 * number + 1],
            recipe=RECIPE,
            policy="drop_oldest",  # as a live camera: it never waits
            retain_frames=self.settings.retain_frames,
        )
        return Child(f"camera {settings.camera}", arrivals.stand_by, settings, sent, color)

    def _engine(self, sent: Path, color: str) -> Child:
        settings = self.settings
        arguments = (self.folder / "recipes", RECIPE, sent, color, settings.device, settings.engine, settings.max_batch)
        return Child("engine alone", alone.stand_by, *arguments)

    def _await_worker(self) -> None:
        """Waits for the worker's heartbeat.

        Raises:
            WorkerError: it has ended, or does not come.
        """
        client, ends = connect(self.url, timeout_s=5.0), time.monotonic() + START_S
        with redis_errors(self.url):
            while not client.exists(LineKeys(LINE).worker(WORKER)):
                self.processes.expect_alive(WORKER)
                if time.monotonic() > ends:
                    raise WorkerError("the worker does not come")
                time.sleep(LOOK_S / 5)
        client.close()


def _alike(images: Sequence[Image]) -> NDArray[Any]:
    """Those pictures that have the first one's size, `(n, H, W)` grey or `(n, H, W, 3)` BGR, as cameras send them.

    Raises:
        DataError: there are none.
    """
    if not images:
        raise DataError("there are no pictures to send")
    same = [image for image in images if image.shape == images[0].shape and image.dtype == images[0].dtype]
    stacked = np.stack(same)
    return stacked if stacked.ndim == 3 else stacked[..., ::-1]
