"""Whether a worker lives and can do its work: HTTP asks, systemd is told."""

import time

from producers.service import ServiceManager
from worker.pipeline import Pipeline
from worker.settings import WorkerSettings

LOOK_S = 1.0  # between two looks at what systemd might be told
STARTING_LOOK_S = 0.1


class Health:
    """What keeps a worker from its work, in sentences. Any thread may ask.

    Args:
        settings: of the worker.
    """

    def __init__(self, settings: WorkerSettings) -> None:
        self.pipeline: Pipeline | None = None  # until it is open: bundles load and warm for a while
        self.leaving = False
        self._cameras = settings.cameras

    @property
    def alive(self) -> bool:
        """Whether the work loop turns, and the threads at its sides run. True while bundles load."""
        pipeline = self.pipeline
        return pipeline is None or (pipeline.intake.alive and pipeline.writer.alive)

    def missing(self) -> list[str]:
        """What keeps it from its work, a sentence each; nothing: it is ready."""
        if self.leaving:
            return ["it leaves: it takes no more frames"]
        found = [] if self.alive else ["the work loop hangs, or one of the threads at its sides has ended"]
        return found + self._cold() + self._no_redis() + self._unanswered()

    def _cold(self) -> list[str]:
        recipes = self.pipeline.recipes if self.pipeline else {}
        needed = {camera.recipe for camera in self._cameras.values()}
        return [f"recipe {name} is not warm" for name in sorted(needed - recipes.keys())]

    def _no_redis(self) -> list[str]:
        reachable = self.pipeline is not None and self.pipeline.writer.reachable
        return [] if reachable else ["Redis has not taken the last heartbeat or write"]

    def _unanswered(self) -> list[str]:
        answers = self.pipeline.intake.answering if self.pipeline else {}
        needed = [name for name, camera in self._cameras.items() if not camera.optional]
        return [f"camera {name} does not answer" for name in sorted(needed) if not answers.get(name, False)]


class ServiceReport:
    """What systemd is told of a worker. The work loop alone calls it: who hangs tells nothing.

    Args:
        service: whom to tell.
        health: what to tell.
    """

    def __init__(self, service: ServiceManager, health: Health) -> None:
        self._service, self._health = service, health
        self._next_look = 0.0

    def beat(self) -> None:
        """The work loop has turned."""
        if not self._service.present:
            return
        if self._health.alive:  # with the intake or the sink gone, this loop turns for nothing
            self._service.beat()
        now = time.monotonic()
        if now < self._next_look:
            return
        missing = self._health.missing()
        if not missing:
            self._service.ready()
        self._service.status(f"waits: {'; '.join(missing)}" if missing else self._at_work())
        self._next_look = now + (LOOK_S if self._service.told_ready else STARTING_LOOK_S)

    def start(self) -> None:
        """Bundles load and warm from here on, until the first beat."""
        self._service.status("starts: loads and warms its bundles")

    def leave(self) -> None:
        """The worker drains from here on."""
        self._health.leaving = True
        self._service.stopping()
        self._service.status("drains: judges and stores what is in hand")

    def _at_work(self) -> str:
        pipeline = self._health.pipeline
        if pipeline is None:
            return "starts"  # nothing is missing only once it is there
        stored = sum(map(sum, list(pipeline.observed.verdicts.values())))
        return f"judges: {stored} verdicts stored, {pipeline.intake.holding} frames in hand"
