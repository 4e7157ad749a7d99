"""A whole worker but for its network: for measuring, and breaking, the line around the engine.

No setting and no command reaches it: it is built here, by benches and tests alone, and it judges nothing but simulated
frames, so that nothing in production can pass a part without a network.
"""

import multiprocessing
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any, cast

import numpy as np

from model.anomaly_map import Grid
from model.bundle import Architecture, Manifest
from model.calibration import Calibration
from model.contract import InputContract
from model.engine import Engine, Inspection
from model.images import Image
from model.preprocessing import Preprocessing
from producers.daemon import configure_logging
from worker.daemon import run
from worker.demo.processes import signals_put_off
from worker.errors import WorkerError
from worker.evidence import Evidence
from worker.pipeline import Infer, Pipeline
from worker.preparing import PreparedFrame
from worker.recipes import BatchCost, Recipe
from worker.settings import WorkerSettings
from worker.sink import ResultSink

RECIPE = "null"
GRID = (28, 28)
SIZE = (224, 224)


class NullEngine(Engine):
    """No network: a frame is good if its first pixel's first channel is below 128. Any size, 8-bit colour."""

    def __init__(self) -> None:
        self.trunk = cast(Any, self)  # what batches are grouped by


def null_infer(frames: Sequence[tuple[Engine, Image]]) -> list[Inspection]:
    """Scores frames by their first pixel, in [0, 1]; the map is flat."""
    return [_inspection(image) for _, image in frames]


def _inspection(image: Image) -> Inspection:
    score = float(image.flat[0]) / 255
    return Inspection(score, _flat(score), SIZE, (0, 0, image.shape[1], image.shape[0]))


@cache
def _flat(score: float) -> Grid:
    """A map of this score: made once, since it is the line that is measured."""
    return np.full(GRID, score, np.float32)


def null_recipe() -> Recipe:
    """A recipe with the null engine, for frames of `(8 to 4096, 8 to 4096, 3)` uint8."""
    manifest = Manifest(
        name=RECIPE,
        architecture=Architecture(),
        preprocessing=Preprocessing(resize=SIZE, crop=SIZE),
        contract=InputContract(height=(8, 4096), width=(8, 4096), channels=3, dtype="uint8"),
        calibration=Calibration(
            threshold=0.5,
            median=0.25,
            low=0.0,
            high=0.5,
            images=2,
            rank=2,
            false_reject_rate=1.0,
            false_reject_upper_95=1.0,
        ),
        provenance={},
        weights_sha256="",
    )
    return Recipe("null engine, no network", manifest, NullEngine(), BatchCost(0.0, 0.0, best=1))


class NullPipeline(Pipeline):
    """A worker with the null engine. It refuses frames of a live camera.

    Args:
        settings: of the worker; recipes, device and engine are of no account.
        sink: where its verdicts go; by default the one that the settings name.
        infer: by default `null_infer`.
        evidence: by default none.
    """

    def __init__(
        self,
        settings: WorkerSettings,
        *,
        sink: ResultSink | None = None,
        infer: Infer = null_infer,
        evidence: Evidence | None = None,
    ) -> None:
        recipes = {RECIPE: null_recipe()}
        super().__init__(settings, recipes, sink or ResultSink.of(settings), infer=infer, evidence=evidence)

    def _work(self, batch: list[PreparedFrame]) -> None:
        if not all(frame.header.simulated for frame in batch):
            raise WorkerError("the null engine judges simulated frames alone")
        super()._work(batch)


def run_null_worker(settings: WorkerSettings, build: Callable[[WorkerSettings], NullPipeline] = NullPipeline) -> None:
    """What a null worker's process runs, until SIGTERM.

    Args:
        settings: of the worker.
        build: the pipeline; tests hand in one that breaks at a chosen step.
    """

    def opened(settings: WorkerSettings) -> Pipeline:
        built = build(settings)
        built.sink.sample_clock()  # before it greets anyone: a worker that is known is one that has found Redis
        return built

    configure_logging(settings.log_level)
    run(settings, opened)


def start_null_worker(
    settings: WorkerSettings, build: Callable[[WorkerSettings], NullPipeline] = NullPipeline
) -> multiprocessing.process.BaseProcess:
    """A null worker as a process of its own, with its own sockets; up within tens of milliseconds.

    It is forked off a server that has the imports behind it and never had a socket or a thread.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["worker.bench.null"])
    process = context.Process(target=run_null_worker, args=(settings, build), daemon=True)
    with signals_put_off():
        process.start()
    return process
