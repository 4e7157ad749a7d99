"""Workers that are killed, stopped, replaced, broken or idle: each frame still ends as one verdict, the right one."""

import functools
import signal
import threading
from multiprocessing.process import BaseProcess

import pytest

pytest.importorskip("torch")

from tests.faults.breaking import STEPS, Step, failing, signalled
from tests.faults.conftest import PATIENT_S, OpenLine
from tests.faults.harness import (
    LONG,
    PATIENCE_S,
    ROUNDS,
    FaultLine,
    dismiss,
    expect_one_verdict_each,
    resident_bytes,
    send,
    wait_for_death,
    wait_for_stop,
)
from tests.producers.scripted_worker import ScriptedWorker, wait_until
from worker.bench.null import RECIPE


def breaks(line: FaultLine, step: Step, number: int) -> BaseProcess:
    """A worker `w1` that signals itself in the middle of the frames."""
    return line.worker("w1", functools.partial(signalled, step=step, number=number, after=20))


@pytest.mark.parametrize("step", STEPS)
def test_a_lone_worker_killed_at_any_step_and_started_again_leaves_one_verdict_each(
    a_line: FaultLine, step: Step
) -> None:
    for _ in range(ROUNDS):
        killed = breaks(a_line, step, signal.SIGKILL)
        a_line.publish()
        wait_for_death(killed)
        a_line.publish()
        again = a_line.worker("w1")
        a_line.drain()
        dismiss([again])
    expect_one_verdict_each(a_line)


@pytest.mark.parametrize("step", STEPS)
def test_a_worker_killed_at_any_step_beside_another_leaves_one_verdict_each(a_line: FaultLine, step: Step) -> None:
    a_line.worker("w2")
    for _ in range(ROUNDS):
        killed = breaks(a_line, step, signal.SIGKILL)
        a_line.wait_for_workers(2)
        while killed.is_alive():
            a_line.publish(10)
        a_line.drain()
    expect_one_verdict_each(a_line)


@pytest.mark.parametrize("step", STEPS)
def test_a_lone_worker_stopped_at_any_step_goes_on_where_it_was(a_line: FaultLine, step: Step) -> None:
    """It still has all it had: not one frame fails for having waited."""
    for _ in range(ROUNDS):
        stopped = breaks(a_line, step, signal.SIGSTOP)
        a_line.publish()
        wait_for_stop(stopped)
        a_line.wait_for_workers(0)
        a_line.publish()
        send(stopped, signal.SIGCONT)
        a_line.drain()
        dismiss([stopped])
    expect_one_verdict_each(a_line)


def _duplicates(line: FaultLine) -> int:
    return sum(line.worker_counts(name)["duplicate"] for name in ("w1", "w2"))


@pytest.mark.parametrize("step", STEPS)
def test_a_worker_stopped_at_any_step_while_another_judges_its_frames_adds_no_second_verdict(
    a_line: FaultLine, step: Step
) -> None:
    for _ in range(ROUNDS):
        stopped = breaks(a_line, step, signal.SIGSTOP)
        a_line.publish()
        wait_for_stop(stopped)
        other = a_line.worker("w2")
        a_line.drain()  # the other one has written them all
        send(stopped, signal.SIGCONT)
        wait_until(lambda: _duplicates(a_line) > 0, what="a duplicate, of whoever wrote second", patience_s=PATIENCE_S)
        a_line.publish()
        a_line.drain()
        dismiss([stopped, other])
    expect_one_verdict_each(a_line)


def test_a_worker_that_wakes_after_its_successor_has_its_name_is_turned_away(a_line: FaultLine) -> None:
    stopped = breaks(a_line, "inferred", signal.SIGSTOP)
    a_line.publish()
    wait_for_stop(stopped)
    a_line.worker("w1")
    a_line.drain()
    send(stopped, signal.SIGCONT)
    a_line.publish()
    verdicts = expect_one_verdict_each(a_line)
    assert {verdict.worker for verdict in verdicts} == {"w1"}


def test_a_worker_that_grants_credit_and_falls_silent_costs_no_frame(a_line: FaultLine) -> None:
    with ScriptedWorker(a_line.publisher.settings.work, name="idle", recipes=(RECIPE,)) as idle:
        idle.hello(credit=1000)
        a_line.wait_for_workers(1)
        a_line.publish()
        wait_until(lambda: a_line.publisher.counts()["workers"] == 0, what="its burial", patience_s=PATIENCE_S)
        a_line.worker("w2")
        a_line.publish()
        expect_one_verdict_each(a_line)


def test_a_worker_that_stays_alive_and_never_judges_what_it_was_sent_costs_no_frame(open_line: OpenLine) -> None:
    line, done = open_line(ack_timeout_s=1.0, heartbeat_s=PATIENT_S), threading.Event()
    with ScriptedWorker(line.publisher.settings.work, name="idle", recipes=(RECIPE,)) as idle:
        idle.hello(credit=40)
        line.publish()
        assert idle.frame()[0].seq == 0

        def ping() -> None:
            while not done.wait(0.1):
                idle.exchange()  # takes frames off the wire, and that is all

        pinging = threading.Thread(target=ping)
        pinging.start()
        try:
            line.worker("w2")
            line.drain()
            assert line.publisher.counts()["workers"] == 2
            assert line.publisher.counts()["resent"] >= 40
            expect_one_verdict_each(line)
        finally:
            done.set()
            pinging.join()


def test_a_worker_whose_engine_fails_at_once_leaves_and_draws_no_frame_from_a_healthy_one(
    patient_line: FaultLine,
) -> None:
    """Started again and again, as a supervisor does, it fails again and again."""
    patient_line.worker("w2")
    patient_line.wait_for_workers(1)
    for _ in range(3 * ROUNDS):
        broken = patient_line.worker("w1", failing)
        while broken.is_alive():
            patient_line.publish(2)
        broken.join()
        assert broken.exitcode == 1
    expect_one_verdict_each(patient_line)


def test_a_worker_that_outlives_many_others_needs_no_more_memory(a_line: FaultLine) -> None:
    survivor, sizes = a_line.worker("w2"), []
    for _ in range(40 if LONG else 4):
        killed = breaks(a_line, "inferred", signal.SIGKILL)
        while killed.is_alive():
            a_line.publish(10)
        wait_for_death(killed)
        a_line.publish()
        a_line.drain()
        sizes.append(resident_bytes(survivor.pid))
    assert max(sizes[2:]) < 1.05 * max(sizes[:2]), sizes
    expect_one_verdict_each(a_line)
