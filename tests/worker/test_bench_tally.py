"""What the benches count: everything that can be wrong with a stream is seen."""

from typing import Any, cast

from worker.bench.tally import PAGE, Stored, stored_entries, tally
from worker.line import LineKeys, connect

SCORES = {"a": 10 / 255, "b": 200 / 255}


def entry(frame: str = "a", **changes: Any) -> Stored:
    """By default a pass as the null engine gives it."""
    fields = {"frame": frame, "decision": "pass", "reason": "ok", "score": repr(10 / 255), "attempt": 1}
    return Stored(**{**fields, "captured_ns": 1, "stored_ms": 2, **changes})


def defect(frame: str = "b", **changes: Any) -> Stored:
    return entry(frame, **{"decision": "fail", "reason": "defect", "score": repr(200 / 255), **changes})


def test_one_right_verdict_a_frame_is_whole() -> None:
    found = tally([entry(), defect()], SCORES)
    assert (found.frames, found.verdicts, found.missing, found.duplicates, found.wrong) == (2, 2, 0, 0, 0)
    assert found.by_reason == {"ok": 1, "defect": 1}
    assert found.whole


def test_a_frame_without_a_verdict_is_missing() -> None:
    found = tally([entry()], SCORES)
    assert (found.missing, found.whole) == (1, False)


def test_a_second_verdict_is_a_duplicate_even_if_another_frame_has_none() -> None:
    found = tally([entry(), entry()], SCORES)
    assert (found.verdicts, found.duplicates, found.missing, found.whole) == (2, 1, 1, False)


def test_a_verdict_of_no_frame_is_wrong() -> None:
    found = tally([entry(), defect(), entry("stranger")], SCORES)
    assert (found.wrong, found.whole) == (1, False)


def test_a_decision_or_score_that_is_not_the_engines_is_wrong() -> None:
    assert tally([entry(), defect(decision="pass", reason="ok")], SCORES).wrong == 1
    assert tally([entry(decision="fail", reason="defect"), defect()], SCORES).wrong == 1
    assert tally([entry(score="0.25"), defect()], SCORES).wrong == 1


def test_a_fail_that_was_never_judged_is_counted_by_its_reason_and_a_pass_is_wrong() -> None:
    gone = {"reason": "worker_error", "score": ""}
    found = tally([entry(decision="fail", **gone), defect(attempt=3, **gone)], SCORES)
    assert (found.wrong, found.by_reason, found.worker_errors_by_attempt) == (0, {"worker_error": 2}, {1: 1, 3: 1})
    assert tally([entry(**gone), defect()], SCORES).wrong == 1


def test_a_stream_of_many_pages_is_read_whole_and_in_order(redis_url: str, line: str) -> None:
    client = cast(Any, connect(redis_url, timeout_s=5))
    fields = {"decision": "fail", "reason": "defect", "score": "1.0", "attempt": 1, "captured_ns": 1}
    pipe = client.pipeline()
    for number in range(2 * PAGE + 1):
        pipe.xadd(LineKeys(line).results, {"id": str(number), **fields}, id=f"{7 + number // 3}-{number % 3 + 1}")
    pipe.execute()
    client.close()
    found = stored_entries(redis_url, line)
    assert [stored.frame for stored in found] == [str(number) for number in range(2 * PAGE + 1)]
    assert (found[0].stored_ms, found[-1].stored_ms) == (7, 7 + 2 * PAGE // 3)
