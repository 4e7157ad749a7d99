"""`python -m tests.worker.hanging JSON`: a null worker, whose engine hangs at a frame of a chosen brightness."""

import sys
import threading
from collections.abc import Sequence

from model.engine import Engine, Inspection
from model.images import Image
from worker.bench.null import NullPipeline, null_infer, run_null_worker
from worker.settings import WorkerSettings

HANGS_AT = 99


def hang(frames: Sequence[tuple[Engine, Image]]) -> list[Inspection]:
    if any(image.flat[0] == HANGS_AT for _, image in frames):
        threading.Event().wait()
    return null_infer(frames)


def build(settings: WorkerSettings) -> NullPipeline:
    return NullPipeline(settings, infer=hang)


if __name__ == "__main__":
    run_null_worker(WorkerSettings.model_validate_json(sys.argv[1]), build)
