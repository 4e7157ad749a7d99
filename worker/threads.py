"""Names of Python's threads, where the system shows them: `top -H`, `ps -L`, and what counts a thread's time."""

import sys
import threading
from pathlib import Path

LONGEST = 15  # bytes, by the kernel


def show_thread_names() -> None:
    """Gives each Python thread that runs by now its own name in the system's eyes (Linux; Python 3.14 does it itself).

    The main thread keeps the process's.
    """
    if sys.platform != "linux":
        return
    for thread in threading.enumerate():
        if thread is not threading.main_thread() and thread.native_id is not None:
            name = Path(f"/proc/self/task/{thread.native_id}/comm")
            if name.exists():  # it may just have ended
                name.write_text(thread.name[:LONGEST])
