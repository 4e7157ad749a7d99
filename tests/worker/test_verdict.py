"""The verdict: what is stored is what is read, and only an explicit pass is one."""

import pytest

from tests.worker.frames import tag, verdict
from worker.errors import ResultError
from worker.verdict import Decision, Reason, Verdict


def stored(original: Verdict) -> dict[str, bytes]:
    """The fields as Redis hands them back, the script's closing stage added."""
    fields = {key: value if isinstance(value, bytes) else value.encode() for key, value in original.to_fields().items()}
    fields["latency_us"] += b', "store": 60}'
    return fields


def test_a_verdict_reads_back_as_it_was_written() -> None:
    original = verdict(3, passed=False, part_id="A-1 \N{BLACK STAR}", trigger=9, view="top", recipe="part", attempt=2)
    read = Verdict.from_fields("1-0", stored(original))
    expected = original.model_copy(update={"entry": "1-0", "latency_us": {**original.latency_us, "store": 60}})
    assert read == expected


def test_a_defect_s_box_leads_back_to_the_sensor() -> None:
    """The frame was cut out at (100, 50), halved and turned by 180 degrees."""
    turned = ((-2.0, 0.0, 300.5), (0.0, -2.0, 200.5))
    original = verdict(passed=False).model_copy(update={"transform": turned})
    read = Verdict.from_fields("1-0", stored(original))
    assert read.transform == turned
    assert read.regions[0].box == (1, 1, 2, 2)
    assert read.sensor_boxes() == ((296.0, 196.0, 4.0, 4.0),)
    assert read.to_json()["transform"] == turned


def test_an_entry_of_an_earlier_version_has_no_transform() -> None:
    fields = stored(verdict(passed=False))
    assert fields.pop("transform") == b""
    read = Verdict.from_fields("1-0", fields)
    assert read.transform is None
    assert read.sensor_boxes() == ((1, 1, 2, 2),)


def test_a_verdict_without_a_judgement_reads_back_too() -> None:
    original = Verdict(
        tag=tag(1), decision=Decision.FAIL, reason=Reason.LOST, note="gone", inspected_ns=1, latency_us={}, worker="w"
    )
    fields = stored(original)
    fields["latency_us"] = b'{"store": 1}'
    read = Verdict.from_fields("1-0", fields)
    assert (read.score, read.map, read.regions, read.valid_until_us) == (None, None, (), None)


@pytest.mark.parametrize("reason", [reason for reason in Reason if reason is not Reason.OK])
def test_no_reason_but_ok_passes(reason: Reason) -> None:
    assert not verdict().model_copy(update={"reason": reason}).passed


def test_the_reason_codes_are_those_that_plcs_hold() -> None:
    words = ["ok", "defect", "late", "expired", "bad_frame", "no_recipe", "worker_error", "lost"]
    assert {reason.word: int(reason) for reason in Reason} == {word: code for code, word in enumerate(words)}


@pytest.mark.parametrize("field", ["id", "note", "score", "map", "latency_us", "decision", "reason_code", "simulated"])
def test_an_entry_that_lacks_a_field_is_an_error_not_a_pass(field: str) -> None:
    fields = stored(verdict())
    del fields[field]
    if field == "id":  # it only repeats camera, session and seq
        assert Verdict.from_fields("1-0", fields).tag.seq == 0
    else:
        with pytest.raises(ResultError, match="can't be read"):
            Verdict.from_fields("1-0", fields)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("decision", b"PASS"),
        ("reason_code", b"99"),
        ("score", b"x"),
        ("seq", b"-1"),
        ("regions", b"{"),
        ("map_lo", b""),
        ("transform", b"[[1, 0, 0]]"),
        ("transform", b"[[1, 0, 0], [0, 1, NaN]]"),
    ],
)
def test_an_entry_with_a_damaged_field_is_an_error(field: str, value: bytes) -> None:
    with pytest.raises(ResultError):
        Verdict.from_fields("1-0", {**stored(verdict()), field: value})


def test_json_has_the_stored_names_and_no_pixels() -> None:
    found = verdict(5, part_id="p").to_json()
    assert found["id"].endswith("/5")
    assert (found["decision"], found["reason"], found["reason_code"], found["part_id"]) == ("pass", "ok", 0, "p")
    assert "map" not in found
