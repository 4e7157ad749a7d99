"""A gateway's numbers for Prometheus, read off its machine when they are asked for."""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext

from prometheus_client import Metric
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

from producers.metrics import by_label, parse_address, serve_metrics
from worker.gate.deciding import Cause
from worker.gate.health import GateHealth
from worker.gate.reign import Reign
from worker.gate.settings import GateSettings
from worker.gate.status import GateReason, Status

PREFIX = "sightline_gate"
COUNTED = {
    "verdicts": "Verdicts read of this gate's views.",
    "foreign": "Verdicts of views that are none of this gate's.",
    "simulated": "Verdicts of frames that no live camera took.",
    "nameless": "Verdicts and parts without what they are matched by.",
    "mismatched": "Verdicts with the trigger of one part and the id of another.",
    "too_old": "Verdicts of frames that were taken too long before their part's trigger.",
    "early": "Verdicts that were stored before their part's trigger was read, or at a time that is yet to come.",
    "late": "Verdicts that came after their part was decided.",
    "repeated": "Verdicts of views that had spoken before their part was decided.",
    "contradicted": "FAILs that came after the gate was opened for their part.",
    "triggers": "Parts armed.",
    "doubled": "Triggers whose number had come before.",
    "missed": "Triggers skipped, and frames whose trigger never came.",
    "twins": "Parts whose id was under way already.",
    "triggers_ignored": "Triggers of the PLC while the live topic arms.",
    "headers_ignored": "Headers on the live topic that arm nothing.",
    "faults": "Line faults.",
    "bypass_switches": "Switches of the bypass.",
    "acknowledgements_ignored": "Acknowledgements of results that are none, or older than the last.",
    "dropped": "Events that found no room.",
}


class GateCollector(Collector):
    """Every number that a gateway has, named `sightline_gate_*`. While it stands by: only that.

    Args:
        health: of the gateway.
    """

    def __init__(self, health: GateHealth) -> None:
        self._health = health

    def collect(self) -> Iterable[Metric]:
        """The numbers as they are now. Any thread."""
        gateway = self._health.gateway
        reign = gateway.reign if gateway is not None else None
        yield _gauge("ready", "1 if /readyz says yes.", not self._health.missing())
        yield _gauge("has_lease", "1 if this gateway has the gate, 0 while it stands by.", reign is not None)
        if gateway is not None:
            yield _gauge("beat_age_seconds", "Since the loop last turned.", gateway.since_turn_s)
        if reign is not None:
            yield from _standing(reign.status)
            yield from _counts(reign)


def _standing(status: Status) -> Iterator[Metric]:
    yield _gauge("online", "1 if verdicts are read and the lease is held.", status.online)
    yield _gauge("synchronised", "1 if parts and verdicts are in step.", status.synchronised)
    yield _gauge("fault", "1 if a line fault stands.", status.fault)
    yield _gauge("bypass", "1 if the PLC lets every part pass.", status.bypass)
    yield _gauge("overrun", "1 if a result left the ring before it was acknowledged.", status.overrun)
    yield _gauge("fifo_parts", "Parts between camera and gate.", status.fifo_depth)


def _counts(reign: Reign) -> Iterator[Metric]:
    machine = reign.machine
    for name, text in COUNTED.items():
        yield _counter(name, text, machine.counts[name])
    yield _counter("unreadable", "Entries that are no verdict.", reign.results.unreadable)
    yield _counter("overruns", "Results lost before they were acknowledged.", machine.ring.overruns)
    results = {reason.word: machine.reasons[reason] for reason in GateReason}
    yield _counters("results", "Parts decided, by reason. `ok` opens.", "reason", results)
    losses = {cause.value: machine.causes[cause] for cause in Cause}
    yield _counters("out_of_step", "Times the gate fell out of step.", "cause", losses)
    if (link := reign.link) is not None:
        yield _gauge("plc_up", "1 if a PLC is there.", link.connected)
        yield _counters("link_events", "What happened to the link.", "event", link.counts)


def _counter(name: str, text: str, value: int) -> Metric:
    return CounterMetricFamily(f"{PREFIX}_{name}", text, value=value)


def _counters(name: str, text: str, label: str, values: Mapping[str, int]) -> Metric:
    return by_label(CounterMetricFamily(f"{PREFIX}_{name}", text, labels=(label,)), values)


def _gauge(name: str, text: str, value: float) -> Metric:
    return GaugeMetricFamily(f"{PREFIX}_{name}", text, value=value)


def gate_metrics(health: GateHealth, settings: GateSettings) -> AbstractContextManager[None]:
    """Serves a gateway's numbers and its health, if its settings name an address.

    Raises:
        AddressTaken: the address can't be bound.
    """
    if settings.metrics is None:
        return nullcontext()
    return serve_metrics(
        parse_address(settings.metrics),
        GateCollector(health),
        ready=lambda: not health.missing(),
        alive=lambda: health.alive,
        missing=health.missing,
    )
