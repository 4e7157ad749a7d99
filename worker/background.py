"""Work that must not hold up the line: it takes what processor time the line leaves."""

import os
import sys
import threading

import structlog

log = structlog.get_logger("worker")

NICENESS = 10  # at 19 it might be kept waiting while it holds the interpreter's lock, and the line with it


def step_back() -> None:
    """Lets the calling thread, and those that it starts from here on, give way to the rest of the process.

    On Linux each thread has a priority of its own; elsewhere, and where a sandbox forbids it, nothing is changed.
    """
    if sys.platform != "linux":
        return
    try:
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), NICENESS)
    except OSError as error:  # the work still has to be done
        log.warning("background work runs at the line's own priority", error=error.strerror)
