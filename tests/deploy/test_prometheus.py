"""What Prometheus is given: it reads it, and each alert fires when it should and not otherwise."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from producers.gauges import GAUGES, SOURCE_GAUGES
from tests.deploy.tools import DEPLOY, run_tool, shipped

WORKER = 'instance="w", job="sightline-worker", line="a"'
CAMERA = 'instance="c", job="sightline-camera", line="a"'
GATE = 'instance="g", job="sightline-gate", line="a"'
VERDICTS = f'sightline_worker_verdicts_total{{{WORKER}, recipe="part", reason="%s"}}'
TOTAL = f'sightline_worker_stage_seconds_bucket{{{WORKER}, stage="%s", le="%s"}}'

BUNDLE_REFUSED = f'sightline_worker_bundle_refused{{{WORKER}, recipe="part"}}'
DRIFT = f'sightline_worker_drift_warning{{{WORKER}, camera="cam1", recipe="part"}}'
READY, REDIS = f"sightline_worker_ready{{{WORKER}}}", f"sightline_worker_redis_up{{{WORKER}}}"
WAITING = f'sightline_worker_queue_entries{{{WORKER}, queue="verdicts"}}'
WORKERS = f'sightline_camera_workers{{{CAMERA}, camera="cam1"}}'
SOURCE = f'sightline_camera_source_up{{{CAMERA}, camera="cam1"}}'
WORKER_UP, CAMERA_UP, GATE_UP = f"up{{{WORKER}}}", f"up{{{CAMERA}}}", f"up{{{GATE}}}"
FAULT, IN_STEP, BYPASS = (f"sightline_gate_{name}{{{GATE}}}" for name in ("fault", "synchronised", "bypass"))

WELL = {
    WORKER_UP: "1x200",
    CAMERA_UP: "1x200",
    GATE_UP: "1x200",
    FAULT: "0x200",
    IN_STEP: "1x200",
    BYPASS: "0x200",
    READY: "1x200",
    REDIS: "1x200",
    WORKERS: "1x200",
    SOURCE: "1x200",
    WAITING: "3x200",
    BUNDLE_REFUSED: "0x200",
    DRIFT: "0x200",
    VERDICTS % "ok": "0+995x200",
    VERDICTS % "defect": "0+500x200",  # bad parts are no fault of the line
    VERDICTS % "late": "0+5x200",
    VERDICTS % "bad_frame": "0+5x200",
    TOTAL % ("total", "0.0591"): "0+900x200",
    TOTAL % ("total", "0.180699"): "0+995x200",
    TOTAL % ("total", "0.282343"): "0+1000x200",
    TOTAL % ("total", "+Inf"): "0+1000x200",
    TOTAL % ("infer", "0.180699"): "0x200",  # of no account: only the total has a budget
    TOTAL % ("infer", "+Inf"): "0+1000x200",
}
"""A line that is well, a value each 5 s, 1,000 frames in that time."""

ILL = {
    "SightlineWorkerDown": {WORKER_UP: "0x200"},
    "SightlineWorkerNotReady": {READY: "0x200"},
    "SightlineRedisDown": {REDIS: "0x200"},
    "SightlineVerdictsWaiting": {WAITING: "400x200"},
    "SightlineCameraDown": {CAMERA_UP: "0x200"},
    "SightlineCameraWithoutWorker": {WORKERS: "0x200"},
    "SightlineSourceLost": {SOURCE: "0x200"},
    "SightlineLate": {VERDICTS % "late": "0+30x200"},
    "SightlineRefused": {VERDICTS % "bad_frame": "0+30x200"},
    "SightlineBundleRefused": {BUNDLE_REFUSED: "1x200"},
    "SightlineDrift": {DRIFT: "1x200"},
    "SightlineP99OverBudget": {TOTAL % ("total", "0.180699"): "0+950x200"},
    "SightlineGateDown": {GATE_UP: "0x200"},
    "SightlineGateFault": {FAULT: "1x200"},
    "SightlineGateOutOfStep": {IN_STEP: "0x200"},
    "SightlineGateBypass": {BYPASS: "1x200"},
}


def firing(series: dict[str, str], alerts: list[str], tmp_path: Path) -> None:
    """Fails unless these alerts fire, and no others, after ten minutes of that."""
    case: dict[str, Any] = {
        "interval": "5s",
        "input_series": [{"series": name, "values": values} for name, values in series.items()],
        "promql_expr_test": [
            {
                "expr": 'count by (alertname) (ALERTS{alertstate="firing"})',
                "eval_time": "10m",
                "exp_samples": [{"labels": f'{{alertname="{alert}"}}', "value": 1} for alert in alerts],
            }
        ],
    }
    test = {"rule_files": [str(DEPLOY / "alerts.yml")], "evaluation_interval": "5s", "tests": [case]}
    (tmp_path / "test.yml").write_text(json.dumps(test), encoding="utf-8")  # JSON is YAML
    run_tool("promtool", "test", "rules", str(tmp_path / "test.yml"))


def test_prometheus_reads_its_configuration_and_the_rules_that_it_names() -> None:
    assert "1 rule files found" in run_tool("promtool", "check", "config", "prometheus.yml")
    run_tool("promtool", "check", "rules", "--lint=all", "--lint-fatal", "alerts.yml")


def test_no_alert_fires_on_a_line_that_is_well(tmp_path: Path) -> None:
    firing(WELL, [], tmp_path)


@pytest.mark.parametrize("alert", ILL)
def test_an_alert_fires_when_it_should_and_alone(alert: str, tmp_path: Path) -> None:
    firing(WELL | ILL[alert], [alert], tmp_path)


def test_what_is_asked_of_cameras_is_told_by_them() -> None:
    """Of workers: `tests/worker/test_gauges.py`."""
    asked = set(re.findall(r"\bsightline_camera_(\w+)", shipped("alerts.yml")))
    assert asked
    assert asked <= GAUGES.keys() | SOURCE_GAUGES.keys()


def test_every_alert_is_shown_to_fire() -> None:
    assert set(re.findall(r"alert: (\w+)", shipped("alerts.yml"))) == set(ILL)


def test_what_is_scraped_is_what_the_shipped_settings_serve() -> None:
    scraped = set(re.findall(r"127\.0\.0\.1:\d+", shipped("prometheus.yml")))
    files = shipped("worker.toml") + shipped("camera.env") + shipped("gate.toml")
    served = re.findall(r"metrics\s*=?\s*\"?(127\.0\.0\.1:\d+)", files)
    assert len(served) == 3
    assert scraped == set(served)
