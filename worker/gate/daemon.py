"""The gateway as a daemon: from its settings to its exit code."""

from producers.daemon import ExitCode, stop_requested
from producers.memory import collect_garbage_rarely
from producers.service import ServiceManager
from worker.gate.gateway import Gateway
from worker.gate.gauges import gate_metrics
from worker.gate.health import GateHealth, GateReport
from worker.gate.settings import GateSettings
from worker.threads import show_thread_names


def run(settings: GateSettings) -> ExitCode:
    """Runs a gateway until SIGTERM.

    Raises:
        SettingsError: keys that are no good.
        AddressTaken: an address is in use: for the link, or for metrics.
        ResultsUnavailable: Redis isn't there at the start.
        StageFailed: a part of the gateway has ended by itself.
    """
    health = GateHealth()
    report = GateReport(ServiceManager(), health)
    with stop_requested() as stopping, gate_metrics(health, settings), Gateway.open(settings) as gateway:
        show_thread_names()
        collect_garbage_rarely()
        health.gateway = gateway
        gateway.on_beat = report.beat
        gateway.serve(until=stopping)
        report.leave()
    return ExitCode.OK
