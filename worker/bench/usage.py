"""What a process has used, as the system counts it: its processor time, memory and open files."""

from dataclasses import dataclass
from pathlib import Path

import psutil


@dataclass(frozen=True)
class Usage:
    """What a process has used, of the processor so far and of memory now."""

    cpu_s: float
    resident_bytes: int

    @classmethod
    def of(cls, pid: int) -> "Usage":
        """A process's own, its children left out."""
        process = psutil.Process(pid)
        times = process.cpu_times()
        return cls(times.user + times.system, process.memory_info().rss)


def open_descriptors(pid: int) -> int:
    """Open files, sockets and pipes of a process (handles on Windows)."""
    process = psutil.Process(pid)
    count = process.num_fds if hasattr(process, "num_fds") else getattr(process, "num_handles")  # noqa: B009 - Windows
    return int(count())


def cpu_by_thread(pid: int) -> dict[str, float]:
    """Seconds of processor time so far by thread's name; threads of one name count together (Linux).

    `worker.threads` sets the names of Python's own, libzmq those of its. The first thread is `main`. Threads without a
    name of their own have the process's: those that share a batch's arithmetic; they are `torch`. Empty elsewhere.
    What threads have used that have ended is not in it.
    """
    tasks = Path(f"/proc/{pid}/task")
    if not tasks.is_dir():
        return {}
    own, found = (tasks / str(pid) / "comm").read_text().strip(), dict[str, float]()
    for thread in psutil.Process(pid).threads():
        name = _name(tasks / str(thread.id) / "comm")
        known = "main" if thread.id == pid else "torch" if name == own else name
        found[known] = found.get(known, 0.0) + _cpu_s(tasks / str(thread.id), thread.user_time + thread.system_time)
    return found


def _cpu_s(task: Path, in_ticks: float) -> float:
    """By the scheduler's own count if it keeps one: a tick is 10 ms, a tenth of what some threads use in a second."""
    try:
        return int((task / "schedstat").read_text().split()[0]) / 1e9 or in_ticks
    except (OSError, IndexError):
        return in_ticks


def _name(comm: Path) -> str:
    try:
        return comm.read_text().strip()
    except OSError:
        return "ended"  # between the list and the look
