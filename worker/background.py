"""Work that must not hold up the line: it takes what processor time the line leaves."""

import os
import sys
import threading

NICENESS = 10  # at 19 it might be kept waiting while it holds the interpreter's lock, and the line with it


def step_back() -> None:
    """Lets the calling thread, and those that it starts from here on, give way to the rest of the process.

    On Linux each thread has a priority of its own; elsewhere nothing is changed.
    """
    if sys.platform == "linux":
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), NICENESS)
