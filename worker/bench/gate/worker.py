"""A null worker for `sightline bench gate`: its frames claim to be live, or no gate would open for them."""

from collections.abc import Mapping

from pydantic import SecretStr

from worker.bench.gate.plan import LINE
from worker.bench.null import RECIPE, NullPipeline, run_null_worker
from worker.errors import WorkerError
from worker.pipeline import Pipeline
from worker.preparing import PreparedFrame
from worker.settings import CameraSettings, WorkerSettings

LOOPBACK = "redis://127.0.0.1:"


class GatePipeline(NullPipeline):
    """A null worker that takes live frames, but on the bench's own line and a Redis of this machine alone."""

    def _work(self, batch: list[PreparedFrame]) -> None:
        settings = self.settings
        if settings.line != LINE or not settings.redis.get_secret_value().startswith(LOOPBACK):
            raise WorkerError("the null engine judges live frames on the line of `sightline bench gate` alone")
        Pipeline._work(self, batch)


def run_worker(name: str, url: str, ends: Mapping[str, str]) -> None:
    """Judges until SIGTERM.

    Args:
        name: of the worker.
        url: of Redis.
        ends: endpoint of each camera.
    """
    settings = WorkerSettings(
        line=LINE,
        redis=SecretStr(url),
        cameras={camera: CameraSettings(endpoint=endpoint, recipe=RECIPE) for camera, endpoint in ends.items()},
        name=name,
        ping_s=0.05,
        max_batch=4,
        log_level="error",
    )
    run_null_worker(settings, GatePipeline)
