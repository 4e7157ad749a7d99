"""Which worker holds which frame, as the publisher knows it."""

import numpy as np

from tests.producers.conftest import Dial, Publish
from tests.producers.scripted_worker import wait_until

PICTURE = np.zeros((4, 6, 3), np.uint8)


def test_a_frame_is_in_the_hand_of_the_worker_it_was_sent_to_until_that_answers(publish: Publish, dial: Dial) -> None:
    publisher, worker, idle = publish(), dial(incarnation="a"), dial(name="w2", incarnation="b")
    worker.hello(credit=2)
    idle.hello()
    first, second = str(publisher.publish(PICTURE)), str(publisher.publish(PICTURE))
    wait_until(
        lambda: publisher.in_hand() == {("w1", "a"): {first, second}, ("w2", "b"): set()}, what="both are with one"
    )
    worker.judged(first)
    wait_until(lambda: publisher.in_hand()["w1", "a"] == {second}, what="a judged one is not in hand")
    worker.stored(second)
    wait_until(lambda: publisher.in_hand()["w1", "a"] == set(), what="a stored one is not in hand")


def test_a_worker_started_anew_under_its_name_holds_nothing_of_the_one_before(publish: Publish, dial: Dial) -> None:
    publisher, first, second = publish(), dial(incarnation="a"), dial(incarnation="b")
    first.hello(credit=1)
    publisher.publish(PICTURE)
    first.frame()
    second.hello()
    wait_until(lambda: publisher.in_hand() == {("w1", "b"): set()}, what="the second start is here, with empty hands")
