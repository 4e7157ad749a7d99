"""The processors that a batch is shared among, and the threads that share it."""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import cv2
import torch

SHARED = 2**23  # elements: torch gives no thread fewer than 2**15, so that up to 256 share these
TASKS = Path("/proc/self/task")


def use_own_cpus() -> None:
    """Lets torch run as many threads as this process has cores; it would count those it was pinned away from."""
    torch.set_num_threads(len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1)


def start_pool() -> list[int]:
    """Has torch start the threads that share each batch with this one, and returns their ids.

    To be called before this thread has inferred anything, and while no other thread starts any.

    Returns:
        As Linux counts threads; empty if there are none to start, and elsewhere.
    """
    use_own_cpus()
    if not TASKS.is_dir():
        return []
    before = set(TASKS.iterdir())
    torch.zeros(SHARED, dtype=torch.uint8).add_(1)
    return sorted(int(task.name) for task in set(TASKS.iterdir()) - before)


@contextmanager
def kept_apart(pool: Sequence[int]) -> Iterator[None]:
    """Meanwhile this thread and each of its pool have a processor of their own, if there are just as many.

    Left alone, Linux on a virtual machine wakes the pool after a pause of some 50 ms on the processor that this thread
    runs on, and leaves it there: a batch then takes up to three times as long, on one processor of two (measured).

    OpenCV starts no threads of its own meanwhile: no processor is left for them, and to wake one costs more than it
    saves.

    Args:
        pool: ids, from `start_pool`; if it is empty, nothing is done.
    """
    ours = sorted(os.sched_getaffinity(0)) if pool else []
    threads = [0, *pool]  # 0: this one
    if len(threads) != len(ours):
        yield
        return
    for thread, processor in zip(threads, ours, strict=True):
        _bind(thread, [processor])
    opencv = cv2.getNumThreads()
    cv2.setNumThreads(1)
    try:
        yield
    finally:
        cv2.setNumThreads(opencv)
        for thread in threads:
            _bind(thread, ours)


def _bind(thread: int, processors: Sequence[int]) -> None:
    with suppress(OSError):  # it has ended, or a sandbox forbids it: a line that is slower is still a line
        os.sched_setaffinity(thread, processors)
