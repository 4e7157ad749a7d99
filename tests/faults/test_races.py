"""Frames that come twice, late, or are answered by somebody who has nothing to say about them."""

import functools

import pytest

pytest.importorskip("torch")

from producers.publisher import FramePublisher
from tests.faults.breaking import slow
from tests.faults.conftest import PATIENT_S, OpenLine
from tests.faults.harness import FRAMES, PATIENCE_S, FaultLine, expect_one_verdict_each
from tests.producers.scripted_worker import ScriptedWorker, wait_until
from worker.bench.null import RECIPE


def test_a_frame_sent_again_after_later_ones_has_its_verdict_after_theirs(patient_line: FaultLine) -> None:
    with ScriptedWorker(patient_line.publisher.settings.work, name="holder", recipes=(RECIPE,)) as holder:
        holder.hello(credit=1)
        patient_line.publish(1)
        header, _ = holder.frame()
        patient_line.worker("w2")
        patient_line.publish()
        patient_line.wait_for_verdicts(FRAMES)
        holder.busy(header.id)
        verdicts = expect_one_verdict_each(patient_line)
    assert verdicts[-1].tag.id == header.id
    assert verdicts[-1].tag.attempt == 2


def test_two_workers_that_judge_the_same_frames_at_once_write_one_verdict_each(open_line: OpenLine) -> None:
    """The first one is alive and slow; past `ack_timeout_s` its frames go to a second one as well."""
    line = open_line(ack_timeout_s=0.5, heartbeat_s=PATIENT_S)
    line.worker("w1", functools.partial(slow, batch_s=2.0))
    line.wait_for_workers(1)
    line.publish(16)
    line.worker("w2")
    line.drain()
    wait_until(lambda: line.worker_counts("w1")["duplicate"] > 0, what="a duplicate", patience_s=PATIENCE_S)
    expect_one_verdict_each(line)


def test_a_done_for_frames_of_an_old_session_silences_none_of_a_new_one(patient_line: FaultLine) -> None:
    with ScriptedWorker(patient_line.publisher.settings.work, name="old", recipes=(RECIPE,)) as old:
        old.hello(credit=FRAMES)
        patient_line.publish()
        before = [old.frame()[0].id for _ in range(FRAMES)]
        patient_line.publisher.close()
        patient_line.publisher = FramePublisher(patient_line.publisher.settings)
        patient_line.expected.clear()  # that session's frames went with their publisher
        patient_line.publish()
        old.hello()
        patient_line.wait_for_workers(1)
        old.stored(*before)
        old.judged(*before)
        old.stored(*patient_line.expected)  # nor does it help to know the new ones' names
        old.settle()
        assert patient_line.publisher.counts()["open"] == FRAMES
        patient_line.worker("w2")
        expect_one_verdict_each(patient_line)
