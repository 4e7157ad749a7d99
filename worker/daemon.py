"""The worker as a daemon: from its settings to its exit code."""

from collections.abc import Callable

from producers.daemon import ExitCode, stop_requested
from producers.memory import collect_garbage_rarely, keep_freed_memory
from producers.service import ServiceManager
from worker.gauges import worker_metrics
from worker.health import Health, ServiceReport
from worker.pipeline import Pipeline
from worker.settings import WorkerSettings
from worker.threads import show_thread_names


def run(settings: WorkerSettings, opened: Callable[[WorkerSettings], Pipeline] = Pipeline.open) -> ExitCode:
    """Runs a worker until SIGTERM.

    Args:
        settings: of the worker.
        opened: the pipeline; benches of the line around the engine bring their own.

    Raises:
        SettingsError: keys that are no good.
        AddressTaken: the address for metrics is in use.
        RecipeMissing, BundleError: no bundle to judge with.
        ResultsUnavailable: Redis isn't there at the start.
        EngineBroken: the engine fails on one frame after another.
        StageFailed: a part of the worker has ended by itself.
    """
    keep_freed_memory()
    health = Health(settings)
    report = ServiceReport(ServiceManager(), health)
    report.start()
    with stop_requested() as stopping, worker_metrics(health, settings), opened(settings) as pipeline:
        show_thread_names()
        collect_garbage_rarely()
        health.pipeline = pipeline
        pipeline.on_beat = report.beat
        pipeline.serve(until=stopping)
        report.leave()
        pipeline.drain()
    return ExitCode.OK
