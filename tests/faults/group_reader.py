"""One reader of a group, as a process that a test kills: `python -m tests.faults.group_reader URL LINE NAME LOG`.

Handling a verdict is writing a line, `SEQ REDELIVERED`, in one go; then it takes its time before it asks for the next.
"""

import os
import sys
import time

from worker.reader import ResultReader

ABANDONED_S = 3.0
RESTS_S = 0.002


def main(url: str, line: str, name: str, log: str) -> None:
    """Reads until it is killed."""
    out = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    for verdict in ResultReader(url, line).follow_group("plc", name, abandoned_after_s=ABANDONED_S):
        os.write(out, f"{verdict.tag.seq} {int(verdict.redelivered)}\n".encode())
        time.sleep(RESTS_S)


if __name__ == "__main__":
    main(*sys.argv[1:])
