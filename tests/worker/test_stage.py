"""A step of the pipeline in its own thread."""

import threading
import time

from tests.worker.processes import eventually
from worker.stage import Stage


def test_things_are_done_in_the_order_in_which_they_were_handed_over() -> None:
    done: list[int] = []
    stage: Stage[int] = Stage("s", done.append)
    stage.start()
    for number in range(100):
        stage.put(number)
    stage.close()
    assert done == list(range(100))


def test_a_stage_that_raises_says_why_and_does_nothing_more() -> None:
    done: list[int] = []

    def work(number: int) -> None:
        if number == 1:
            raise ValueError("one is too many")
        done.append(number)

    stage: Stage[int] = Stage("s", work)
    stage.start()
    for number in (0, 1, 2):
        stage.put(number)
    stage.close()
    assert done == [0]
    assert str(stage.failure) == "one is too many"


def test_a_stage_knows_for_how_long_it_has_been_at_one_thing() -> None:
    goes_on = threading.Event()

    def work(_: int) -> None:
        goes_on.wait()

    stage: Stage[int] = Stage("s", work)
    stage.start()
    assert stage.stuck_s(time.monotonic()) == 0.0
    stage.put(1)
    assert eventually(lambda: stage.stuck_s(time.monotonic()) > 0.05)
    goes_on.set()
    assert eventually(lambda: stage.stuck_s(time.monotonic()) == 0.0)
    stage.close()


def test_a_stage_that_was_never_started_can_be_closed() -> None:
    stage: Stage[int] = Stage("s", lambda _: None)
    stage.close()
    assert stage.failure is None
