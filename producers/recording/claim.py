"""Whether a file is being written just now: whoever writes it holds a lock on it, which the kernel takes back.

The lock ends with the process that has it, however that ends. Where there is none (Windows, some network file systems)
nobody is told; Windows itself lets nobody take a file's place while it is open.
"""

import sys
from contextlib import suppress
from io import FileIO
from pathlib import Path


def claim(file: FileIO) -> None:
    """Locks a new file for as long as it is open."""
    if sys.platform != "win32":
        import fcntl

        with suppress(OSError):  # a file system without locks is no reason not to record
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)


def is_being_written(path: Path) -> bool:
    """Whether somebody has claimed it.

    Raises:
        OSError: it can't be opened.
    """
    if sys.platform == "win32":
        return False
    import fcntl

    with path.open("rb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        except OSError:  # no locks here
            return False
    return False
