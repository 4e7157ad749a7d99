"""Three readers of a group, killed again and again: every verdict is handled, and a second time says that it is."""

import os
import random
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.worker.frames import verdict
from tests.worker.processes import eventually
from tests.worker.readers import Stream
from tests.worker.sinks import now_judged, sink_at

LONG = os.environ.get("SIGHTLINE_FAULTS") == "long"
VERDICTS, A_LIFE = (10_000, (20, 200)) if LONG else (450, (10, 60))
PATIENCE_S = 600 if LONG else 60


@dataclass
class Life:
    """One process from its start to its end.

    Attributes:
        log: what it handled, a line each.
        ends_after: it is killed once it has handled so many.
    """

    process: "subprocess.Popen[bytes]"
    log: Path
    ends_after: int
    killed: bool = False

    def handled(self) -> list[tuple[int, bool]]:
        """What it handled, in order, and whether it was told that it may be for a second time."""
        rows = self.log.read_text().splitlines() if self.log.exists() else []
        return [(int(row.split()[0]), row.split()[1] == "1") for row in rows]

    def kill(self) -> None:
        self.killed = True
        os.kill(self.process.pid, signal.SIGKILL)
        self.process.wait()


class Group:
    """Three readers, each of which is started again when it was killed, now and then under a new name."""

    def __init__(self, folder: Path, url: str, line: str, seed: int) -> None:
        self.lives: list[Life] = []
        self._random = random.Random(seed)
        self._command = [sys.executable, "-m", "tests.faults.group_reader", url, line]
        self._folder = folder
        self._now = [self._start(f"r{number}") for number in range(3)]
        self._names = [f"r{number}" for number in range(3)]

    def _start(self, name: str) -> Life:
        log = self._folder / f"{len(self.lives)}.log"
        process = subprocess.Popen([*self._command, name, str(log)], stderr=subprocess.DEVNULL)
        self.lives.append(Life(process, log, self._random.randint(*A_LIFE)))
        return self.lives[-1]

    def kill_who_had_enough(self) -> None:
        """Kills each reader that has handled as many as its life has, wherever it stands, and starts it again."""
        for place, life in enumerate(self._now):
            if len(life.handled()) >= life.ends_after:
                life.kill()
                if self._random.random() < 0.3:
                    self._names[place] = f"r{place}-{len(self.lives)}"
                self._now[place] = self._start(self._names[place])

    def close(self) -> None:
        for life in self._now:
            life.process.kill()
            life.process.wait()


@contextmanager
def group_of_three(folder: Path, url: str, line: str, *, seed: int) -> Iterator[Group]:
    group = Group(folder, url, line, seed)
    try:
        yield group
    finally:
        group.close()


@pytest.mark.timeout(PATIENCE_S + 60)
def test_of_three_readers_that_are_killed_every_verdict_is_handled_and_a_second_time_is_marked(
    tmp_path: Path, redis_url: str, line: str
) -> None:
    sink, stream = sink_at(redis_url, line), Stream(redis_url, line)
    for start in range(0, VERDICTS, 50):
        assert set(sink.store(now_judged(*(verdict(seq) for seq in range(start, start + 50))))) == {"stored"}
    with group_of_three(tmp_path, redis_url, line, seed=9) as group:

        def all_handled() -> bool:
            group.kill_who_had_enough()
            seen = {seq for life in group.lives for seq, _ in life.handled()}
            return len(seen) == VERDICTS and stream.pending("plc") == 0

        assert eventually(all_handled, PATIENCE_S)
    killed = [life for life in group.lives if life.killed]
    times = Counter(seq for life in group.lives for seq, _ in life.handled())
    in_hand = Counter(life.handled()[-1][0] for life in killed)  # handled, and perhaps not acknowledged
    again = Counter(seq for life in group.lives for seq, redelivered in life.handled() if redelivered)
    repeated = {seq: count - 1 for seq, count in times.items() if count > 1}
    print(f"{VERDICTS} verdicts, {len(killed)} kills, {sum(repeated.values())} handled again, {again.total()} marked")
    assert set(times) == set(range(VERDICTS))
    assert len(killed) >= 3
    assert all(count <= in_hand[seq] for seq, count in repeated.items())
    assert all(count <= again[seq] for seq, count in repeated.items())
