"""`sightline bench replay`: its figures are those of a real recording and real replays."""

import pytest

from worker.bench import replay
from worker.bench.taking import Account


def test_a_small_run_finds_everything_identical(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two cameras, a recording, a replay at speed 1 and one at full speed, each a process of its own."""
    monkeypatch.setattr(replay, "PASSES", 1)
    found = replay.bench_replay(20, rate=100.0)
    assert (found.frames, found.identical, found.differences, found.dropped) == (20, True, 0, 0)
    assert 0 <= found.timing_error_p50_ms <= found.timing_error_p99_ms <= found.timing_error_max_ms
    assert found.max_fps > 0
    assert {"frames", "identical", "timing_error_p99_ms", "max_fps"} < found.to_json().keys()


def test_a_frame_that_differs_or_does_not_come_is_counted() -> None:
    """By payload, by header, missing, or never captured."""
    handed = {name: Account("{}", b"1", 0) for name in "abcd"}
    replayed = {"a": Account("{}", b"1", 5), "b": Account("{}", b"2", 5), "c": Account("{1}", b"1", 5)}
    assert replay._differences(handed, {**replayed, "e": Account("{}", b"1", 5)}) == {"b", "c", "d", "e"}


def test_the_timing_error_is_that_of_the_offset_from_the_first_frame() -> None:
    """Whatever lies between recording and replay."""
    replayed = {"a": Account("", b"", 9_000_000), "b": Account("", b"", 19_500_000)}
    assert replay._timing_errors_ms({"a": 1_000_000, "b": 11_000_000}, replayed) == [0.0, 0.5]
