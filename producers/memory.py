"""Memory of a daemon in which pictures come and go thousands of times a second."""

import ctypes
import gc
import sys

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # M_TRIM_THRESHOLD and M_MMAP_THRESHOLD of malloc.h
KEPT_BYTES = 256 * 2**20
COLLECT_AFTER = 20_000  # objects; CPython's own figure, 700 or 2,000, is reached every few hundred frames
LARGEST_BYTES = 32 * 2**20  # glibc allows no more; a larger picture is mapped anew each time


def keep_freed_memory() -> bool:
    """Tells glibc not to hand the memory of a freed picture back to the kernel, `KEPT_BYTES` at most.

    By default it does, and the next picture of the same size then costs a page fault every 4 KiB: some 90 microseconds
    for 256 x 256 x 3, twenty times what it takes to write the pixels. For a whole process, so daemons call it and
    the library does not.

    Returns:
        Whether this is a glibc that could be told; other allocators are left as they are.
    """
    tell = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    if tell is None:
        return False
    return bool(tell(_MMAP_THRESHOLD, LARGEST_BYTES)) and bool(tell(_TRIM_THRESHOLD, KEPT_BYTES))


def collect_garbage_rarely() -> None:
    """Sets aside what is there by now, and looks for cycles of dead objects only after `COLLECT_AFTER` new ones.

    Next to nothing in a daemon's work forms such cycles, and with some hundred frames in hand each search goes over all
    of them: a tenth of the time that a frame costs. For a whole process, like `keep_freed_memory`; to be called once
    what stays for good (libraries, networks) is loaded.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(COLLECT_AFTER, 20, 20)
