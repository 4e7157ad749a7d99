"""What the line bench counts and computes, with numbers small enough to check by hand."""

import os
import threading
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest

from worker.bench.arrivals import Captured
from worker.bench.harvest import Entry, Harvest, Ledger, outcome, percentile
from worker.bench.load import steady_fps
from worker.bench.soak import Sample, grown
from worker.bench.usage import cpu_by_thread, open_descriptors
from worker.errors import WorkerError
from worker.line import LineKeys, connect
from worker.threads import show_thread_names

MS, MIB = 1_000_000, 2**20


def captured(*due_ms: int, behind_ms: int = 0, first: int = 0, session: str = "s") -> Captured:
    due = np.array(due_ms, np.int64) * MS
    return Captured("cam1", session, first, due, np.full(len(due), behind_ms * MS, np.int64), 0)


def entry(seq: int, stored_ms: int, reason: str = "ok", session: str = "s") -> Entry:
    return Entry(session, seq, reason, stored_ms * MS, {"wire": 100, "infer": 1000 * (seq + 1)})


# -- frames against verdicts -----------------------------------------------------------------------------------------


def test_a_frame_without_a_verdict_is_missing_and_a_second_one_is_a_duplicate() -> None:
    ledger = Ledger()
    ledger.expect([captured(1, 2, 3), captured(1, 2, session="t")])
    ledger.book([entry(0, 9), entry(0, 9), entry(2, 9), entry(0, 9, session="t")])
    assert (ledger.frames, ledger.missing, ledger.duplicates) == (5, 2, 1)


def test_a_verdict_of_no_frame_is_one_too_many() -> None:
    ledger = Ledger()
    ledger.expect([captured(1)])
    ledger.book([entry(0, 9), entry(1, 9), entry(0, 9, session="stranger")])
    assert (ledger.missing, ledger.duplicates) == (0, 2)


def test_a_run_of_many_orders_is_counted_as_one() -> None:
    ledger = Ledger()
    for first in range(0, 9_000, 3_000):
        ledger.expect([captured(*range(3_000), first=first)])
        ledger.book(entry(first + number, 9) for number in range(3_000))
    assert (ledger.frames, ledger.missing, ledger.duplicates) == (9_000, 0, 0)


# -- latency ---------------------------------------------------------------------------------------------------------


def test_latency_counts_from_when_a_frame_was_due() -> None:
    found = outcome([captured(100, 200, 300, behind_ms=7)], [entry(0, 110), entry(1, 250), entry(2, 330)], budget_ms=40)
    assert (found.frames, found.judged, found.in_time) == (3, 3, 2)
    assert (found.p50_ms, found.p99_ms, found.p999_ms) == (30, 50, 50)
    assert found.behind_ms == 7
    assert found.stages_us == {"wire": 100, "queue": 0, "prepare": 0, "infer": 2000, "judge": 0, "store": 0}


def test_what_was_never_judged_has_no_latency_and_late_ones_are_not_in_time() -> None:
    entries = [entry(0, 110), entry(1, 250, "late"), entry(2, 990, "expired"), entry(3, 990, "lost")]
    found = outcome([captured(100, 200, 300, 400)], entries, budget_ms=None)
    assert found.verdicts == {"ok": 1, "late": 1, "expired": 1, "lost": 1}
    assert (found.judged, found.in_time, found.p99_ms) == (2, 1, 50)


def test_frames_due_outside_the_window_do_not_count() -> None:
    entries = [entry(0, 900), entry(1, 210), entry(2, 900)]
    found = outcome([captured(100, 200, 300)], entries, from_ns=150 * MS, until_ns=300 * MS, budget_ms=None)
    assert (found.frames, found.verdicts, found.p999_ms) == (1, {"ok": 1}, 10)


def test_an_overload_in_which_nothing_was_judged_has_no_percentiles() -> None:
    found = outcome([captured(100)], [entry(0, 110, "expired")], budget_ms=1)
    assert (found.p50_ms, found.p99_ms, found.p999_ms, found.in_time) == (None, None, None, 0)


def test_a_percentile_is_never_better_than_a_frame_that_was_seen() -> None:
    assert percentile([1, 2, 3, 4], 50) == 3
    assert percentile([1, 2, 3, 4], 99) == 4
    assert percentile([], 50) is None


def test_a_verdict_is_stored_at_the_end_of_its_millisecond_and_the_stream_is_emptied(redis_url: str, line: str) -> None:
    client = cast(Any, connect(redis_url, timeout_s=5))
    fields = {"session": "s", "reason": "ok", "latency_us": '{"wire": 5, "store": 6}', "model": "part@1"}
    for number in range(1_100):
        client.xadd(LineKeys(line).results, {**fields, "seq": number}, id=f"{number + 7}-1")
    with Harvest(redis_url, line) as harvest:
        found = harvest.take()
        assert [taken.seq for taken in found] == list(range(1_100))
        assert found[0] == Entry("s", 0, "ok", 8 * MS, {"wire": 5, "store": 6}, "part@1")
        assert client.xlen(LineKeys(line).results) == 0
        assert harvest.take() == []
    client.close()


# -- rates -----------------------------------------------------------------------------------------------------------


def test_the_saturated_rate_is_whole_batches_over_the_time_between_them() -> None:
    """Batches of 4, 100 ms apart, captured from 0 to 1000 ms: what the first quarter and the tail hold is left out."""
    frames = captured(*range(0, 1_001, 50))
    entries = [entry(0, at, "ok") for at in range(100, 1_500, 100) for _ in range(4)]
    assert steady_fps([frames], entries) == pytest.approx(40.0)


def test_too_few_verdicts_give_no_rate() -> None:
    with pytest.raises(WorkerError, match="more seconds"):
        steady_fps([captured(0, 1_000)], [entry(0, 500), entry(1, 500)])


# -- what grows ------------------------------------------------------------------------------------------------------


def samples(mib: list[int], descriptors: list[int]) -> list[Sample]:
    pairs = zip(mib, descriptors, strict=True)
    return [Sample(float(at), {"worker": m * MIB}, {"worker": d}) for at, (m, d) in enumerate(pairs)]


def test_memory_that_grows_after_the_line_has_settled_is_a_fault() -> None:
    leak = [10, *range(100, 119)]
    growth = grown(samples(leak, [5] * 20), settled_s=1.0)["worker"]
    assert (growth.start_mib, growth.end_mib) == (101, 117)
    assert growth.fault("worker") == "the worker grew from 101 to 117 MiB"


def test_memory_that_grows_only_while_the_line_settles_is_none() -> None:
    growth = grown(samples([10, 50, *[100] * 18], [5] * 20), settled_s=2.0)["worker"]
    assert growth.growth == 0
    assert growth.fault("worker") is None


def test_a_few_pages_of_a_small_process_are_none() -> None:
    parts = [[Sample(0.0, {"redis": mib * MIB // 10}, {"redis": 5})] for mib in (50, 55)]
    assert grown([*parts[0], *parts[1]], settled_s=0.0)["redis"].fault("redis") is None


def test_one_descriptor_more_at_the_end_is_a_fault_and_one_in_between_is_none() -> None:
    steady = [100] * 20
    leaks = grown(samples(steady, [5] * 19 + [6]), settled_s=0.0)["worker"]
    assert leaks.fault("worker") == "the worker had 5 open descriptors, then 6"
    assert grown(samples(steady, [5] * 9 + [6] + [5] * 10), settled_s=0.0)["worker"].fault("worker") is None


# -- what the system says --------------------------------------------------------------------------------------------


@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="threads have names the system shows on Linux alone")
def test_a_thread_counts_under_its_own_name_and_the_first_one_as_main() -> None:
    ends = threading.Event()
    thread = threading.Thread(target=ends.wait, name="a-name-of-20-letters")
    thread.start()
    try:
        show_thread_names()
        found = cpu_by_thread(os.getpid())
    finally:
        ends.set()
        thread.join()
    assert found["a-name-of-20-le"] >= 0
    assert found["main"] > 0


def test_an_open_file_is_one_descriptor_more(tmp_path: Path) -> None:
    before = open_descriptors(os.getpid())
    with (tmp_path / "file").open("w"):
        assert open_descriptors(os.getpid()) == before + 1
