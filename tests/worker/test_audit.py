"""The audit: every frame that owes a verdict is found, by what the stream and the bitmaps say, and nothing else."""

import json
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from producers.daemon import ExitCode
from producers.errors import SettingsError
from producers.frame import FrameId
from tests.worker.frames import SESSION, verdict
from tests.worker.processes import sightline
from tests.worker.readers import Stream
from tests.worker.sinks import now_judged, sink_at
from worker.audit import Ranges, SessionReport, SessionTally
from worker.audit_cli import seconds
from worker.auditor import Auditor
from worker.line import SEEN_WINDOW, LineKeys

NOW_MS = 1_000_000


def bitmap(seqs: set[int]) -> Callable[[FrameId], bytes | None]:
    """What Redis holds after these were stored."""

    def held(frame: FrameId) -> bytes | None:
        start = frame.seq // SEEN_WINDOW * SEEN_WINDOW
        bits = bytearray(SEEN_WINDOW // 8)
        for seq in seqs:
            if start <= seq < start + SEEN_WINDOW:
                bits[(seq - start) >> 3] |= 0x80 >> (seq & 7)
        return bytes(bits).rstrip(b"\0") or None

    return held


def reported(entries: list[tuple[int, int]], stored: set[int], *, due_ms: int = NOW_MS) -> SessionReport:
    tally = SessionTally()
    for seq, stored_ms in entries:
        tally.add(verdict(seq), stored_ms)
    return tally.report("cam1", SESSION, bits=bitmap(stored | {seq for seq, _ in entries}), due_ms=due_ms)


def spread(ranges: Ranges) -> set[int]:
    return {seq for first, last in ranges.named for seq in range(first, last + 1)}


FAR = st.integers(0, 40) | st.integers(SEEN_WINDOW - 5, SEEN_WINDOW + 5)


@given(st.lists(st.tuples(FAR, st.integers(0, 20)), min_size=1, max_size=40), st.sets(FAR), st.integers(0, 20))
@settings(deadline=None, max_examples=25)
def test_each_frame_below_the_highest_is_sorted_as_one_by_one_counting_sorts_it(
    entries: list[tuple[int, int]], stored: set[int], due_ms: int
) -> None:
    found = reported(entries, stored, due_ms=due_ms)
    here, highest = [seq for seq, _ in entries], max(seq for seq, _ in entries)
    window_is_known = {seq // SEEN_WINDOW for seq in stored | set(here)}
    gone = sorted(set(range(highest)) - set(here))
    kinds: dict[str, set[int]] = {"missing": set(), "in_flight": set(), "trimmed": set(), "unknown": set()}
    for seq in gone:
        captured_before = min(stored_ms for other, stored_ms in entries if other > seq)
        if seq // SEEN_WINDOW not in window_is_known and seq // SEEN_WINDOW < highest // SEEN_WINDOW:
            kinds["unknown"].add(seq)
        elif seq in stored:
            kinds["trimmed"].add(seq)
        else:
            kinds["missing" if captured_before <= due_ms else "in_flight"].add(seq)
    for kind, expected in kinds.items():
        ranges: Ranges = getattr(found, kind)
        assert (ranges.count, spread(ranges)) == (len(expected), expected), kind
    assert found.duplicates == len(here) - len(set(here))
    assert spread(found.repeated) == {seq for seq in here if here.count(seq) > 1}


def test_a_seq_out_of_this_world_costs_no_memory() -> None:
    found = reported([(0, 0), (2**53, 0)], set())
    assert found.missing.count + found.unknown.count == 2**53 - 1


def test_many_gaps_are_counted_whole_and_listed_in_part() -> None:
    found = reported([(seq, 0) for seq in range(0, 2000, 2)], set())
    assert (found.missing.count, len(found.missing.named)) == (999, 100)


def store(url: str, line: str, *seqs: int, camera: str = "cam1") -> None:
    sink = sink_at(url, line)
    assert set(sink.store(now_judged(*(verdict(seq, camera=camera) for seq in seqs)))) == {"stored"}


def audit(url: str, line: str, *flags: str) -> tuple[int, dict[str, object]]:
    done = sightline("audit", "--redis", url, "--line", line, "--json", *flags)
    return done.returncode, json.loads(done.stdout)


def test_a_line_on_which_nothing_is_missing_is_well_also_when_trimmed(redis_url: str, line: str) -> None:
    store(redis_url, line, *range(20))
    store(redis_url, line, *range(5), camera="cam2")
    Stream(redis_url, line).ask("XTRIM", LineKeys(line).results, "MAXLEN", 12)
    code, found = audit(redis_url, line, "--window=0s")
    assert (code, found["alarms"], found["entries"]) == (ExitCode.OK, {}, 12)


def test_a_missing_verdict_is_an_alarm_once_it_is_older_than_the_window(redis_url: str, line: str) -> None:
    store(redis_url, line, 0, 1, 3, 7)
    code, found = audit(redis_url, line, "--window=0s")
    assert (code, found["alarms"]) == (ExitCode.NO, {"missing": 4})
    assert found["sessions"][0]["missing"]["ranges"] == [[2, 2], [4, 6]]  # type: ignore[index]
    code, found = audit(redis_url, line)
    assert (code, found["sessions"][0]["in_flight"]["count"]) == (ExitCode.OK, 4)  # type: ignore[index]


def test_a_frame_with_two_verdicts_is_an_alarm_and_people_see_which(redis_url: str, line: str) -> None:
    store(redis_url, line, 0, 1, 2)
    Stream(redis_url, line).add(1, passed=False)
    done = sightline("audit", "--redis", redis_url, "--line", line, "--window=0s")
    assert done.returncode == ExitCode.NO
    assert "with more than one: seq 1" in done.stdout
    assert "alarm: 1 duplicates" in done.stdout


def test_an_entry_that_is_no_verdict_is_an_alarm(redis_url: str, line: str) -> None:
    Stream(redis_url, line).add_fields({"hello": "world"})
    found = Auditor(redis_url, line).audit(since_s=None, window_s=0)
    assert found.alarms == {"unreadable": 1}
    assert "hello" not in found.to_json()["sessions"]


def test_what_was_stored_before_the_time_asked_for_is_not_missing(redis_url: str, line: str) -> None:
    stream = Stream(redis_url, line)
    for seq in range(3):
        stream.ask("SETBIT", LineKeys(line).seen(FrameId("cam1", SESSION, seq)), seq, 1)
    stream.add(0, 1, 2, ms=1_000)
    store(redis_url, line, 3, 4)
    found = Auditor(redis_url, line).audit(since_s=3600, window_s=0)
    (session,) = found.sessions
    assert (found.entries, session.first, session.trimmed.count, found.alarms) == (2, 3, 3, {})


def test_an_empty_line_is_well(redis_url: str, line: str) -> None:
    assert not Auditor(redis_url, line).audit(since_s=None, window_s=0).alarms


def test_a_redis_that_is_not_there_is_named() -> None:
    assert sightline("audit", "--redis", "redis://127.0.0.1:1/0").returncode == ExitCode.UNREACHABLE


@pytest.mark.parametrize(("text", "expected"), [("90s", 90), ("1.5m", 90), ("8h", 28_800), ("7d", 604_800)])
def test_durations_are_read_as_people_write_them(text: str, expected: float) -> None:
    assert seconds(text) == expected


@pytest.mark.parametrize("text", ["", "5", "h", "-1h", "1w", "1e9d", "nan s"])
def test_what_is_no_duration_is_refused(text: str) -> None:
    with pytest.raises(SettingsError):
        seconds(text)
