"""A worker's numbers for Prometheus, read off its pipeline when they are asked for."""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext

from prometheus_client import Metric
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, InfoMetricFamily
from prometheus_client.registry import Collector

from model.modes import gpu_memory_bytes
from producers.metrics import by_label, parse_address, serve_metrics
from worker.health import Health
from worker.observed import OTHER, Histogram, Observed
from worker.pipeline import Pipeline
from worker.settings import WorkerSettings
from worker.verdict import Reason

PREFIX = "sightline_worker"
INFER_CPU = f"{PREFIX}_infer_cpu_seconds"
SHADOW = {
    "judged": "Frames whose shadow verdict is stored.",
    "dropped": "Frames that the shadow had no time or no room for.",
    "unstored": "Shadow verdicts that Redis did not take.",
}


class WorkerCollector(Collector):
    """Every number that a worker has, named `sightline_worker_*`. Until its bundles are warm: only that it isn't ready.

    Args:
        health: of the worker.
    """

    def __init__(self, health: Health) -> None:
        self._health = health

    def collect(self) -> Iterable[Metric]:
        """The numbers as they are now. Any thread."""
        ready = not self._health.missing()
        yield GaugeMetricFamily(f"{PREFIX}_ready", "1 if /readyz says yes.", value=ready)
        if (pipeline := self._health.pipeline) is not None:
            yield from _latency(pipeline.observed)
            yield from _outcomes(pipeline)
            yield from _in_hand(pipeline)
            yield from _peers(pipeline)
            yield from _engine(pipeline)
            yield from _recipes(pipeline)
            yield from _shadow(pipeline)
            yield from _drift(pipeline)
            yield from _evidence(pipeline)


def _latency(observed: Observed) -> Iterator[Metric]:
    stages = HistogramMetricFamily(
        f"{PREFIX}_stage_seconds", "Seconds a frame spends by stage; total: from capture to stored.", labels=("stage",)
    )
    for stage, histogram in observed.stages.items():
        stages.add_metric((stage,), _buckets(histogram, unit=1e-6), histogram.sum * 1e-6)
    yield stages
    batches = HistogramMetricFamily(f"{PREFIX}_batch_frames", "Frames a batch.")
    batches.add_metric((), _buckets(observed.batches, unit=1), observed.batches.sum)
    yield batches


def _buckets(histogram: Histogram, *, unit: float) -> list[tuple[str, float]]:
    bounds = [str(float(round(bound * unit, 6))) for bound in histogram.bounds]
    return list(zip([*bounds, "+Inf"], histogram.cumulative(), strict=True))


def _outcomes(pipeline: Pipeline) -> Iterator[Metric]:
    observed = pipeline.observed
    rows = dict.fromkeys((*pipeline.recipes, OTHER), [0] * len(Reason)) | observed.verdicts  # also what was never seen
    verdicts = CounterMetricFamily(
        f"{PREFIX}_verdicts", "Verdicts stored, by the recipe and the reason.", labels=("recipe", "reason")
    )
    for recipe, row in rows.items():
        for reason in Reason:
            verdicts.add_metric((recipe, reason.word), row[reason])
    yield verdicts
    yield _counter("duplicates", "Verdicts not stored: their frame has one already.", observed.duplicates)
    yield _counter("taken_over", "Verdicts of frames that another worker had before.", observed.taken_over)
    yield _counter("handed_back", "Frames handed back for another worker.", pipeline.intake.handed_back)
    refusals = pipeline.intake.refusals
    yield _counters("refused", "What publishers sent and was refused.", "reason", refusals)


def _in_hand(pipeline: Pipeline) -> Iterator[Metric]:
    yield _gauges(
        "queue_entries",
        "What waits: inbox in handfuls, batcher in frames, judge in batches, the rest in verdicts.",
        "queue",
        pipeline.queues(),
    )
    yield _gauge("frames_in_hand", "Frames received and not stored.", pipeline.intake.holding)


def _peers(pipeline: Pipeline) -> Iterator[Metric]:
    yield _gauge("redis_up", "1 if Redis took the last heartbeat or write.", pipeline.writer.reachable)
    yield _gauges("publisher_up", "1 if the camera's publisher answers.", "camera", pipeline.intake.answering)


def _engine(pipeline: Pipeline) -> Iterator[Metric]:
    text = "Processor time of the work loop on batches; what its arithmetic's threads take is not counted."
    yield CounterMetricFamily(INFER_CPU, text, value=pipeline.observed.infer_cpu_s)
    yield _gauge("beat_age_seconds", "Since the work loop last turned.", pipeline.intake.since_beat_s)
    if memory := gpu_memory_bytes():
        yield _gauges("gpu_memory_bytes", "Allocated by this worker, by device.", "device", memory)


def _recipes(pipeline: Pipeline) -> Iterator[Metric]:
    bundles = InfoMetricFamily(f"{PREFIX}_bundle", "The bundle in use, by recipe.", labels=("recipe",))
    for name, recipe in list(pipeline.recipes.items()):
        bundles.add_metric((name,), {"bundle": recipe.label})
    yield bundles
    if pipeline.shelf is not None:
        refused = {name: float(status.refused is not None) for name, status in pipeline.shelf.status().items()}
        text = "1 if what lies in the recipe's place is not used: the log says why, the bundle before judges on."
        yield _gauges("bundle_refused", text, "recipe", refused)


def _shadow(pipeline: Pipeline) -> Iterator[Metric]:
    if pipeline.shadow is None:
        return
    standing = pipeline.shadow.status()
    on = {name: float(status.off is None) for name, status in standing.items()}
    yield _gauges("shadow_on", "0 if the shadow's bundle is switched off: the log says why.", "recipe", on)
    for name, text in SHADOW.items():
        counts = {recipe: getattr(status, name) for recipe, status in standing.items()}
        yield _counters(f"shadow_{name}", text, "recipe", counts)


def _drift(pipeline: Pipeline) -> Iterator[Metric]:
    labels = ("camera", "recipe")
    evidence = GaugeMetricFamily(
        f"{PREFIX}_drift", "Evidence that scores have risen since calibration, a power of ten.", labels=labels
    )
    warning = GaugeMetricFamily(f"{PREFIX}_drift_warning", "1 if they have.", labels=labels)
    for watched in pipeline.drift.states():
        evidence.add_metric((watched.camera, watched.recipe), watched.evidence)
        warning.add_metric((watched.camera, watched.recipe), watched.warning)
    yield evidence
    yield warning


def _evidence(pipeline: Pipeline) -> Iterator[Metric]:
    if (evidence := pipeline.evidence) is None:
        return
    yield _counter("evidence_kept", "Pictures of rejected parts that were kept, in each place.", evidence.kept)
    yield _counters("evidence_dropped", "Pictures of rejected parts that were not.", "reason", dict(evidence.dropped))


def _counter(name: str, text: str, value: int) -> Metric:
    return CounterMetricFamily(f"{PREFIX}_{name}", text, value=value)


def _gauge(name: str, text: str, value: float) -> Metric:
    return GaugeMetricFamily(f"{PREFIX}_{name}", text, value=value)


def _gauges(name: str, text: str, label: str, values: Mapping[str, float]) -> Metric:
    return by_label(GaugeMetricFamily(f"{PREFIX}_{name}", text, labels=(label,)), values)


def _counters(name: str, text: str, label: str, values: Mapping[str, int]) -> Metric:
    return by_label(CounterMetricFamily(f"{PREFIX}_{name}", text, labels=(label,)), values)


def worker_metrics(health: Health, settings: WorkerSettings) -> AbstractContextManager[None]:
    """Serves a worker's numbers and its health, if its settings name an address.

    Raises:
        AddressTaken: the address can't be bound.
    """
    if settings.metrics is None:
        return nullcontext()
    return serve_metrics(
        parse_address(settings.metrics),
        WorkerCollector(health),
        ready=lambda: not health.missing(),
        alive=lambda: health.alive,
        missing=health.missing,
    )
