"""A null worker for `sightline bench gate`: its frames claim to be live, or no gate would open for them."""

from worker.bench.null import NullPipeline
from worker.errors import WorkerError
from worker.pipeline import Pipeline
from worker.preparing import PreparedFrame

LINE = "bench-gate"
LOOPBACK = "redis://127.0.0.1:"


class GatePipeline(NullPipeline):
    """A null worker that takes live frames, but on the bench's own line and a Redis of this machine alone."""

    def _work(self, batch: list[PreparedFrame]) -> None:
        settings = self.settings
        if settings.line != LINE or not settings.redis.get_secret_value().startswith(LOOPBACK):
            raise WorkerError(
                "the null engine judges what claims to be live on the line of `sightline bench gate` alone"
            )
        Pipeline._work(self, batch)
