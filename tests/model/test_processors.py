"""Threads and the processors they may run on: in a process of their own, since they stay that way."""

import json
import os
import subprocess
import sys

import pytest

pytest.importorskip("torch")

# What each thread may run on, before, while, and after they are kept apart; and what a thread that is started meanwhile
# by another one may.
LOOKS = """
import json, os, queue, threading
from model.processors import kept_apart, start_pool
jobs, found = queue.Queue(), queue.Queue()
def start_one():
    jobs.get()
    threading.Thread(target=lambda: found.put([sorted(os.sched_getaffinity(0))])).start()
pool = start_pool()
threading.Thread(target=start_one).start()
look = lambda: [sorted(os.sched_getaffinity(thread)) for thread in (0, *pool)]
before = look()
with kept_apart(POOL):
    apart = look()
    jobs.put(None)
    other = found.get()
print(json.dumps([before, apart, look(), other]))
"""

linux = pytest.mark.skipif(not hasattr(os, "sched_getaffinity"), reason="only Linux says what a thread may run on")


def looks(pool: str = "pool") -> list[list[list[int]]]:
    done = subprocess.run(
        [sys.executable, "-c", LOOKS.replace("POOL", pool)], capture_output=True, text=True, timeout=120, check=True
    )
    found: list[list[list[int]]] = json.loads(done.stdout)
    return found


@linux
def test_the_work_loop_and_each_of_its_pool_have_a_processor_of_their_own_and_nobody_else_is_bound() -> None:
    ours = sorted(os.sched_getaffinity(0))
    before, apart, after, other = looks()
    assert before == after == [ours] * len(ours)
    assert apart == [[processor] for processor in ours]
    assert other == [ours]


@linux
def test_without_a_pool_nothing_is_bound() -> None:
    ours = sorted(os.sched_getaffinity(0))
    _, apart, _, _ = looks("()")
    assert apart == [ours] * len(ours)


@linux
def test_a_thread_of_the_pool_that_has_ended_keeps_nobody_from_judging() -> None:
    ours = sorted(os.sched_getaffinity(0))
    nobody = 2**22 + 1  # above the largest id that Linux gives
    before, apart, after, _ = looks(f"[{nobody}] * {len(ours) - 1}")
    assert before == after
    assert apart[0] == ours[:1]
