"""Freed pictures stay with the process, where the C library can be told so; what is dead in circles goes in the end."""

import subprocess
import sys

import pytest

FAULTS = """
import resource
import numpy as np
from producers.memory import keep_freed_memory
if {told}:
    assert keep_freed_memory()
def batch():
    return [np.ones(196_608, np.uint8) for _ in range(32)]
batch()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(20):
    batch()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def faults(*, told: bool) -> int:
    """Page faults of 20 batches of 32 pictures, in a process of their own."""
    code = FAULTS.format(told=told)
    return int(subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="glibc alone is told")
def test_a_batch_of_pictures_is_allocated_without_page_faults_once_the_first_one_was() -> None:
    kept, returned = faults(told=True), faults(told=False)
    assert kept * 10 < returned, f"{kept} faults where freed memory is kept, {returned} where it isn't"


CIRCLES = """
import gc, weakref
from producers.memory import collect_garbage_rarely
class Circle:
    def __init__(self):
        self.me = self
kept = Circle()
collect_garbage_rarely()
before = sum(stats["collections"] for stats in gc.get_stats())
dead = [weakref.ref(Circle()) for _ in range(5000)]
assert all(ref() is not None for ref in dead), "searched already"
assert sum(stats["collections"] for stats in gc.get_stats()) == before
dead += [weakref.ref(Circle()) for _ in range(50_000)]
assert sum(ref() is None for ref in dead) > 30_000, "never searched"
assert kept.me is kept
"""


def test_dead_circles_are_searched_for_rarely_and_still_found() -> None:
    subprocess.run([sys.executable, "-c", CIRCLES], check=True)
