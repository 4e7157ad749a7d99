"""The wall clock of a worker or a publisher jumps by an hour: verdicts and deadlines hang on clocks that do not."""

import functools
import time

import pytest

pytest.importorskip("torch")

from tests.faults.breaking import clock_stepped, step_wall_clock
from tests.faults.conftest import PATIENT_S, OpenLine
from tests.faults.harness import FRAMES, PATIENCE_S, FaultLine, expect_one_verdict_each
from worker.line import connect

BUDGET_MS = 1000 * PATIENCE_S
HOUR_S = 3600.0
STEPS = pytest.mark.parametrize("step_s", [HOUR_S, -HOUR_S], ids=["forwards", "backwards"])


def expect_deadlines_on_redis_clock(line: FaultLine) -> None:
    """Each frame is judged as ever, and valid for what is left of its budget by Redis's clock, and no longer."""
    client = connect(line.redis, timeout_s=5)
    verdicts = expect_one_verdict_each(line)
    seconds, micros = client.time()
    client.close()
    now_us = seconds * 1_000_000 + micros
    for verdict in verdicts:
        assert verdict.valid_until_us is not None
        assert now_us - 1000 * BUDGET_MS < verdict.valid_until_us < now_us + 1000 * BUDGET_MS


@STEPS
def test_a_workers_wall_clock_may_jump(open_line: OpenLine, step_s: float) -> None:
    line = open_line(budget_ms=BUDGET_MS, heartbeat_s=PATIENT_S)
    line.worker("w1", functools.partial(clock_stepped, step_s=step_s, after=FRAMES // 2))
    line.wait_for_workers(1)  # a first start takes long, and budgets run
    line.publish()
    line.drain()
    line.publish()
    expect_deadlines_on_redis_clock(line)


@STEPS
def test_a_publishers_wall_clock_may_jump(open_line: OpenLine, step_s: float, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time, "time_ns", time.time_ns)  # put back when the test ends
    monkeypatch.setattr(time, "time", time.time)
    line = open_line(budget_ms=BUDGET_MS, heartbeat_s=PATIENT_S)
    line.worker()
    line.wait_for_workers(1)
    line.publish()
    before = time.time_ns()
    step_wall_clock(step_s)
    assert abs(time.time_ns() - before) > HOUR_S * 1e9 / 2
    line.publish()
    expect_deadlines_on_redis_clock(line)
