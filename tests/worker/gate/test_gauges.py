"""A gateway's numbers: every alert asks for one that it tells, and a scrape shows what the machine has counted."""

import re
from pathlib import Path

from prometheus_client import CollectorRegistry
from prometheus_client.exposition import generate_latest

from tests.worker.gate.gateways import RunningGateway, running_gateway
from worker.gate.gauges import COUNTED, GateCollector
from worker.gate.health import GateHealth
from worker.gate.plc import SetBypass

DEPLOY = Path(__file__).parent.parent.parent.parent / "deploy"


def scrape(gateway: RunningGateway) -> str:
    health = GateHealth()
    health.gateway = gateway.gateway
    registry = CollectorRegistry()
    registry.register(GateCollector(health))
    return generate_latest(registry).decode()


def test_a_scrape_shows_results_by_reason_and_why_the_gate_was_shut(redis_url: str, line: str) -> None:
    with running_gateway(redis_url, line) as gateway:
        assert "sightline_gate_ready 0.0" in scrape(gateway), "out of step"
        gateway.is_in_step()
        gateway.trigger(1)
        gateway.store(1)
        assert gateway.result(1).opens
        gateway.plc.ask(SetBypass(on=True))
        gateway.shows(lambda status: status.bypass)
        told = scrape(gateway)
    for expected in (
        "sightline_gate_ready 1.0",
        "sightline_gate_has_lease 1.0",
        'sightline_gate_results_total{reason="ok"} 1.0',
        'sightline_gate_results_total{reason="silence"} 0.0',
        'sightline_gate_out_of_step_total{cause="results"} 0.0',
        "sightline_gate_triggers_total 1.0",
        "sightline_gate_bypass 1.0",
        "sightline_gate_plc_up 1.0",
    ):
        assert expected in told
    asked = set(re.findall(r"\bsightline_gate_\w+", (DEPLOY / "alerts.yml").read_text(encoding="utf-8")))
    assert asked
    assert asked <= set(re.findall(r"^(sightline_gate_\w+)", told, re.MULTILINE))


def test_one_that_stands_by_says_so_and_nothing_else(redis_url: str, line: str) -> None:
    with running_gateway(redis_url, line, "g1") as first:
        first.shows(lambda status: status.online)
        with running_gateway(redis_url, line, "g2") as second:
            told = scrape(second)
    assert "sightline_gate_has_lease 0.0" in told
    assert "sightline_gate_online" not in told


def test_everything_that_the_machine_counts_is_told() -> None:
    folder = DEPLOY.parent / "worker" / "gate"
    source = "".join((folder / f"{name}.py").read_text(encoding="utf-8") for name in ("deciding", "machine", "reign"))
    counted = set(re.findall(r'counts\["(\w+)"\]', source))
    assert counted == COUNTED.keys()
