"""Freed pictures stay with the process, where the C library can be told so."""

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
