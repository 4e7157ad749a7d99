"""What no camera should send, in a stream of good frames: it costs itself, never a neighbour and never the worker."""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.process import BaseProcess

import pytest

pytest.importorskip("torch")

from tests.faults.harness import BAD, GOOD, LONG, dismiss, resident_bytes, worker_settings
from tests.faults.hostile import IGNORED, KINDS, UNREADABLE, VERDICT, frame, parts
from tests.faults.raw_publisher import RawPublisher
from tests.worker.processes import stored_verdicts
from worker.bench.null import start_null_worker

NEIGHBOURS = 12
MEMORY_BYTES = 256 << 20  # what a hostile message may make a worker take, far below what the bombs claim
LARGEST = 16 << 20


class Line:
    """A real worker that dials a raw publisher."""

    def __init__(self, redis: str, line: str, publisher: RawPublisher, *, ping_s: float) -> None:
        self.redis, self.line, self.publisher = redis, line, publisher
        settings = worker_settings("w1", line, redis, port=publisher.port, max_frame_bytes=LARGEST, ping_s=ping_s)
        self.worker: BaseProcess = start_null_worker(settings)
        self.expected: dict[str, str] = {}
        self.seq = 0

    def good(self, frames: int = NEIGHBOURS) -> None:
        """Sends honest frames, every third of them bad."""
        for _ in range(frames):
            passes = self.seq % 3 != 0
            made = frame(self.seq, GOOD if passes else BAD)
            self.expected[str(made.header.id)] = "ok" if passes else "defect"
            self.seq += 1
            self.publisher.send_frame(*parts(made))

    def hostile(self, kind: str) -> None:
        """Sends one that is not honest."""
        made = frame(self.seq)
        if kind in VERDICT:
            self.expected[str(made.header.id)] = "bad_frame"
        self.seq += 1
        send = self.publisher.send if kind in IGNORED else self.publisher.send_frame
        send(*KINDS[kind](made))

    def wait_for_verdicts(self) -> None:
        """Until all that must have a verdict has one."""
        self.publisher.serve_until(lambda: self.publisher.stored >= self.expected.keys(), what="verdicts")

    def finish(self) -> None:
        """All that must have a verdict has one, the right one; nothing else has; the worker lives and leaves well."""
        self.wait_for_verdicts()
        dismiss([self.worker])
        verdicts = stored_verdicts(self.redis, self.line)
        assert Counter(str(verdict.tag.id) for verdict in verdicts) == Counter(self.expected.keys())
        assert {str(verdict.tag.id): verdict.reason.word for verdict in verdicts} == self.expected


@contextmanager
def opened(raw_line: Line) -> Iterator[Line]:
    """A line whose worker does not outlive it."""
    try:
        yield raw_line
    finally:
        raw_line.worker.kill()
        raw_line.worker.join()


@pytest.fixture
def raw_line(redis_url: str, line: str) -> Iterator[Line]:
    # A publisher that never sends twice must not be dialled anew because a test takes its time: it pings slowly.
    with RawPublisher() as publisher, opened(Line(redis_url, line, publisher, ping_s=5)) as made:
        yield made


def peak_bytes(process: BaseProcess) -> int:
    """The most memory that a process ever had in RAM."""
    with open(f"/proc/{process.pid}/status") as status:  # noqa: PTH123
        line = next(line for line in status if line.startswith("VmHWM"))
    return int(line.split()[1]) * 1024


@pytest.mark.parametrize("kind", KINDS)
def test_a_hostile_message_among_good_frames_harms_nothing(raw_line: Line, kind: str) -> None:
    raw_line.good()
    before = resident_bytes(raw_line.worker.pid)
    raw_line.hostile(kind)
    raw_line.good()
    raw_line.wait_for_verdicts()
    assert peak_bytes(raw_line.worker) - before < MEMORY_BYTES
    raw_line.finish()
    assert raw_line.publisher.bad == ([NEIGHBOURS + 1] if kind in UNREADABLE else [])


def test_a_message_above_the_workers_limit_costs_a_connection_and_no_more(redis_url: str, line: str) -> None:
    """The worker goes deaf to that connection and dials again; what was on the way is its publisher's to send again."""
    with RawPublisher() as publisher, opened(Line(redis_url, line, publisher, ping_s=0.3)) as raw_line:
        raw_line.good()
        raw_line.wait_for_verdicts()
        hellos = publisher.hellos
        publisher.send(*parts(frame(raw_line.seq))[:2], bytes(2 * LARGEST))
        publisher.serve_until(lambda: publisher.hellos > hellos, what="another HELLO")
        raw_line.good()
        raw_line.finish()


def test_hostile_messages_of_every_kind_again_and_again_leave_memory_as_it_was(raw_line: Line) -> None:
    """Five rounds find out what the worker needs; those that follow need no more."""
    sizes = []
    for _ in range(200 if LONG else 20):
        for kind in KINDS:
            raw_line.good(2)
            raw_line.hostile(kind)
        raw_line.wait_for_verdicts()
        sizes.append(resident_bytes(raw_line.worker.pid))
    assert max(sizes[5:]) < 1.05 * max(sizes[:5]), sizes
    raw_line.finish()
    assert len(raw_line.publisher.bad) == len(UNREADABLE) * len(sizes)
