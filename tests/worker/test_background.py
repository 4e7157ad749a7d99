"""Work beside the line gives way to it."""

import os
import sys
import threading

import pytest

from worker.background import NICENESS, step_back


@pytest.mark.skipif(sys.platform != "linux", reason="only there has each thread a priority of its own")
def test_a_thread_that_steps_back_leaves_the_others_where_they_were() -> None:
    def priority() -> int:
        return os.getpriority(os.PRIO_PROCESS, threading.get_native_id())

    before, found = priority(), list[int]()

    def work() -> None:
        step_back()
        found.append(priority())
        inheriting = threading.Thread(target=lambda: found.append(priority()))
        inheriting.start()
        inheriting.join()

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert found == [NICENESS, NICENESS]
    assert priority() == before
