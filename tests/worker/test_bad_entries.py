"""Whatever stands in the stream: a reader says so and goes on, and nothing of it passes."""

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from tests.worker.frames import PNG, verdict
from tests.worker.processes import sightline
from tests.worker.readers import Readers, Stream, fields_of, readers
from worker.errors import ResultError
from worker.notice import NoticeKind
from worker.verdict import Verdict

__all__ = ["readers"]

TORN = PNG[:40] + bytes(len(PNG) - 40)  # its first chunk is whole
BAD: dict[str, dict[Any, Any]] = {
    "foreign": {"hello": "world"},
    "foreign bytes": {b"\xff\xfe": b"\xff"},
    "no map": fields_of(verdict(1), map=b"GIF89a not a PNG"),
    "a map of another size": fields_of(verdict(1), map_shape="[3, 3]"),
    "a map that claims gigabytes": fields_of(verdict(1), map_size="[1000000, 1000000]"),
    "a map nowhere": fields_of(verdict(1), map_box="[NaN, 0, 1, 1]"),
    "score NaN": fields_of(verdict(1), score="nan"),
    "score -inf": fields_of(verdict(1), score="-inf"),
    "threshold inf": fields_of(verdict(1), threshold="inf"),
    "no score": fields_of(verdict(1), score=""),
    "score above the threshold": fields_of(verdict(1), score="0.5"),
    "a pass that is late": fields_of(verdict(1), reason="late", reason_code="2"),
    "long part id": fields_of(verdict(1), part_id="p" * 10_240),
    "deep JSON": fields_of(verdict(1), regions="[" * 100_000),
    "long number": fields_of(verdict(1), seq="9" * 10_000),
    "empty": fields_of(verdict(1), decision=""),
    "other case": fields_of(verdict(1), decision="PASS"),
}


def test_each_bad_entry_is_named_and_skipped_and_the_good_ones_around_it_come(readers: Readers, stream: Stream) -> None:
    stream.add(0)
    entries = [stream.add_fields(fields) for fields in BAD.values()]
    stream.add(2)
    found = readers.follow(start="0")
    assert [next(found).tag.seq, next(found).tag.seq] == [0, 2]
    assert [(notice.kind, notice.entry) for notice in readers.told] == [(NoticeKind.UNREADABLE, one) for one in entries]
    assert all(len(notice.text) < 400 and "\n" not in notice.text for notice in readers.told)


def test_a_group_acknowledges_what_nobody_can_read(readers: Readers, stream: Stream) -> None:
    for fields in BAD.values():
        stream.add_fields(fields)
    stream.add(2)
    assert next(readers.follow_group("g", "c")).tag.seq == 2
    assert stream.pending("g") == 1


@pytest.fixture
def stream(redis_url: str, line: str) -> Stream:
    return Stream(redis_url, line)


@pytest.mark.parametrize("changed", [{"score": float("nan")}, {"threshold": None}, {"score": 0.5}])
def test_a_verdict_passes_only_with_a_score_that_is_entitled_to_it(changed: dict[str, float | None]) -> None:
    assert verdict().passed
    assert not verdict().model_copy(update=changed).passed


def test_a_fail_with_a_score_that_is_none_is_shown_and_its_json_is_json(stream: Stream) -> None:
    stream.add_fields(fields_of(verdict(1, passed=False), score="nan", severity="inf"))
    done = sightline("subscribe", "--redis", stream.url, "--line", line_of(stream), "--from=0", "--count=1", "--json")
    (row,) = [json.loads(row, parse_constant=pytest.fail) for row in done.stdout.splitlines()]
    assert (row["decision"], row["score"], row["severity"]) == ("fail", None, None)


def line_of(stream: Stream) -> str:
    return stream.key.partition("}")[0][1:]


def test_subscribe_shows_what_it_can_and_says_the_rest_as_objects_of_their_own(stream: Stream, tmp_path: Path) -> None:
    stream.add_fields(BAD["foreign"])
    stream.add_fields(fields_of(verdict(1), map=TORN))
    stream.add_fields(fields_of(verdict(2), part_id="[red]x[/nothing]"))
    where = ("--redis", stream.url, "--line", line_of(stream), "--from=0", "--count=2", "--maps", str(tmp_path))
    done = sightline("subscribe", *where, "--json")
    assert done.returncode == 0, done.stderr
    rows = [json.loads(row) for row in done.stdout.splitlines()]
    assert [row.get("seq", row.get("notice", {}).get("kind")) for row in rows] == ["unreadable", 1, "unreadable", 2]
    assert [path.name.endswith("2.png") for path in tmp_path.iterdir()] == [True]
    people = sightline("subscribe", *where)
    assert people.returncode == 0, people.stderr
    assert "[red]x[/nothing]" in people.stdout
    assert people.stderr.count("can't be read") == 2


def test_subscribe_filters(stream: Stream) -> None:
    stream.add(0, 1, passed=False)
    stream.add(2, camera="cam2", passed=False)
    stream.add(3, camera="cam2")
    where = ("--redis", stream.url, "--line", line_of(stream), "--from=0", "--json")
    done = sightline("subscribe", *where, "--camera=cam2", "--decision=fail", "--count=1")
    assert [json.loads(row)["seq"] for row in done.stdout.splitlines()] == [2]
    assert sightline("subscribe", *where, "--decision=maybe").returncode == 2
    assert sightline("subscribe", *where, "--from=yesterday").returncode == 2


def test_a_verdict_gives_its_map_and_a_picture() -> None:
    found = verdict(passed=False)
    scores = found.anomaly_map(40, 60)
    assert scores is not None
    assert (scores.shape, scores.dtype.name) == ((40, 60), "float32")
    for frame in (np.zeros((40, 60, 3), np.uint8), np.zeros((40, 60), np.uint8), np.zeros((40, 60), np.uint16)):
        shown = found.overlay(frame)
        assert (shown.shape, shown.dtype.name) == ((40, 60, 3), "uint8")
        assert shown.any()
        assert not frame.any()


def test_a_picture_keeps_the_order_of_its_colours() -> None:
    blue = np.zeros((40, 60, 3), np.uint8)
    blue[:, :, 0] = 200
    assert (verdict().model_copy(update={"map": None}).overlay(blue) == blue).all()


def test_a_map_that_is_damaged_is_one_clear_error_and_no_map_is_none() -> None:
    damaged = Verdict.from_fields("1-0", as_bytes(fields_of(verdict(), map=TORN)))
    for ask in (lambda: damaged.anomaly_map(4, 6), lambda: damaged.overlay(np.zeros((4, 6, 3), np.uint8))):
        with pytest.raises(ResultError, match="map"):
            ask()
    assert verdict().model_copy(update={"map": None}).anomaly_map(4, 6) is None


def test_a_box_far_outside_the_frame_is_cut_to_it() -> None:
    region = {"box": [10**12, -(10**12), 10**13, 10**13], "area": 1, "severity": 2.0}
    found = Verdict.from_fields("1-0", as_bytes(fields_of(verdict(passed=False), regions=json.dumps([region]))))
    assert found.overlay(np.zeros((4, 6, 3), np.uint8)).shape == (4, 6, 3)


def as_bytes(fields: dict[str, object]) -> dict[str, bytes]:
    return {key: value if isinstance(value, bytes) else str(value).encode() for key, value in fields.items()}


def test_the_map_of_a_fixture_is_a_png() -> None:
    assert cv2.imdecode(np.frombuffer(PNG, np.uint8), cv2.IMREAD_UNCHANGED) is not None
