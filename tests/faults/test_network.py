"""The network between publisher and worker stalls, crawls, breaks in one direction or in both, and comes back."""

import functools

import pytest

pytest.importorskip("torch")

from tests.faults.breaking import slow
from tests.faults.conftest import PATIENT_S, OpenLine
from tests.faults.harness import (
    FRAMES,
    GOOD,
    ROUNDS,
    FaultLine,
    expect_one_verdict_each,
    picture,
)
from tests.faults.proxy import Proxy


def slowly(line: FaultLine, proxy: Proxy, name: str = "w1") -> None:
    """Starts a worker behind the proxy that is still busy when the fault begins."""
    line.worker(name, functools.partial(slow, batch_s=0.05), port=proxy.port)
    line.wait_for_workers(1)


def test_a_lone_worker_behind_a_stalled_cable_goes_on_when_it_is_plugged_in(a_line: FaultLine) -> None:
    with Proxy(a_line.work_port) as proxy:
        slowly(a_line, proxy)
        for _ in range(ROUNDS):
            before = len(a_line.expected)
            a_line.publish()
            a_line.wait_for_verdicts(before + 1)
            proxy.stall()
            a_line.wait_for_workers(0)
            a_line.publish()
            proxy.resume()
            a_line.drain()
        expect_one_verdict_each(a_line)


def test_what_a_worker_behind_a_stalled_cable_had_goes_to_another_and_has_one_verdict(a_line: FaultLine) -> None:
    with Proxy(a_line.work_port) as proxy:
        slowly(a_line, proxy)
        for _ in range(ROUNDS):
            before = len(a_line.expected)
            a_line.publish()
            a_line.wait_for_verdicts(before + 1)
            proxy.stall()
            other = a_line.worker("w2")
            a_line.drain()
            proxy.resume()
            a_line.wait_for_workers(2)
            other.terminate()
            other.join()
            a_line.publish()
            a_line.drain()
        expect_one_verdict_each(a_line)


def test_a_slow_network_makes_verdicts_slow_and_changes_none(patient_line: FaultLine) -> None:
    with Proxy(patient_line.work_port) as proxy:
        proxy.delay_s = 0.02
        patient_line.worker(port=proxy.port)
        patient_line.publish()
        expect_one_verdict_each(patient_line)


@pytest.mark.parametrize("towards_publisher", [True, False], ids=["towards the publisher", "towards the worker"])
def test_a_connection_that_is_closed_in_one_direction_is_made_anew(a_line: FaultLine, towards_publisher: bool) -> None:
    with Proxy(a_line.work_port) as proxy:
        slowly(a_line, proxy)
        for _ in range(ROUNDS):
            before, calls = len(a_line.expected), proxy.calls
            a_line.publish()
            a_line.wait_for_verdicts(before + 1)
            proxy.half_close(towards_target=towards_publisher)
            proxy.wait_for_calls(calls + 1)
            a_line.drain()
        expect_one_verdict_each(a_line)


def test_a_connection_that_is_cut_and_back_costs_no_frame(a_line: FaultLine) -> None:
    with Proxy(a_line.work_port) as proxy:
        slowly(a_line, proxy)
        for _ in range(ROUNDS):
            before = len(a_line.expected)
            a_line.publish()
            a_line.wait_for_verdicts(before + 1)
            proxy.cut()
            a_line.publish(FRAMES // 2)
            a_line.wait_for_workers(0)
            proxy.restore()
            a_line.drain()
        expect_one_verdict_each(a_line)


def test_a_connection_that_is_cut_again_and_again_costs_no_frame(open_line: OpenLine) -> None:
    """Too briefly for a heartbeat to be missed: the worker says what it holds each time it is back."""
    line = open_line(heartbeat_s=PATIENT_S)
    with Proxy(line.work_port) as proxy:
        slowly(line, proxy)
        for _ in range(5 * ROUNDS):
            line.publish(FRAMES // 2)
            calls = proxy.calls
            proxy.cut()
            proxy.restore()
            proxy.wait_for_calls(calls + 1)
        expect_one_verdict_each(line)


def test_a_frame_above_every_workers_limit_ends_as_bad_frame_and_harms_no_neighbour(
    patient_line: FaultLine,
) -> None:
    patient_line.worker(max_frame_bytes=4096)
    patient_line.wait_for_workers(1)
    patient_line.publish(FRAMES // 2)
    large = patient_line.publisher.publish(picture(GOOD, side=512))
    patient_line.expected[str(large)] = "bad_frame"
    patient_line.publish(FRAMES // 2)
    expect_one_verdict_each(patient_line)


def test_a_frame_above_one_workers_limit_goes_to_another(patient_line: FaultLine) -> None:
    patient_line.worker("w1", max_frame_bytes=4096)
    patient_line.worker("w2")
    patient_line.wait_for_workers(2)
    large = []
    for _ in range(FRAMES // 4):
        patient_line.publish(3)
        large.append(str(patient_line.publisher.publish(picture(GOOD, side=512))))
        patient_line.expected[large[-1]] = "ok"
    verdicts = expect_one_verdict_each(patient_line)
    assert {verdict.worker for verdict in verdicts if str(verdict.tag.id) in large} == {"w2"}
