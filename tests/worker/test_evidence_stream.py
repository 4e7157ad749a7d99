"""Pictures of rejects in Redis: within their bytes, the oldest leave, and Redis away costs pictures alone."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch")

from producers.frame import FrameId
from tests.conftest import RedisServer, start_redis, stop_redis
from tests.worker.frames import SESSION, verdict
from tests.worker.processes import eventually
from tests.worker.sinks import command
from tests.worker.test_evidence import PICTURE, a_folder, rejected
from worker.errors import ResultsUnavailable
from worker.evidence import Evidence
from worker.evidence_stream import REST_S, EvidenceStream
from worker.verdict import Reason

PNG, LINE = b"p" * 90, b'{"a": 1}  '  # 100 bytes a picture


def a_stream(url: str, line: str, *, max_bytes: int = 1000, **more: Any) -> EvidenceStream:
    return EvidenceStream(url, line, max_bytes=max_bytes, **{"timeout_s": 2.0, "keep_s": 60, **more})


def keep(stream: EvidenceStream, *seqs: int, png: bytes = PNG) -> list[bool]:
    return [stream.keep(FrameId("cam1", SESSION, seq), Reason.DEFECT, png=png, line=LINE) for seq in seqs]


def entries(url: str, line: str) -> list[dict[bytes, bytes]]:
    return [fields for _, fields in command(url, "XRANGE", f"{{{line}}}:evidence", "-", "+")]


def seqs_in(url: str, line: str) -> list[int]:
    return [int(entry[b"id"].rpartition(b"/")[2]) for entry in entries(url, line)]


def test_an_entry_holds_the_picture_its_frame_and_its_verdict(redis_url: str, line: str) -> None:
    assert keep(a_stream(redis_url, line), 3) == [True]
    (entry,) = entries(redis_url, line)
    assert (entry[b"id"], entry[b"reason"]) == (str(verdict(3).tag.id).encode(), b"defect")
    assert (entry[b"png"], json.loads(entry[b"verdict"])) == (PNG, {"a": 1})


def test_beyond_their_bytes_the_oldest_leave_whichever_worker_they_are_of(redis_url: str, line: str) -> None:
    one, other = a_stream(redis_url, line), a_stream(redis_url, line)
    for seq in range(0, 20, 2):
        keep(one, seq)
        keep(other, seq + 1)
    assert seqs_in(redis_url, line) == list(range(10, 20))
    keep(one, 20, png=b"p" * 790)
    assert seqs_in(redis_url, line) == [18, 19, 20]


def test_a_picture_larger_than_all_that_may_be_kept_is_refused_and_drives_nothing_out(
    redis_url: str, line: str
) -> None:
    stream = a_stream(redis_url, line)
    keep(stream, 0)
    assert keep(stream, 1, png=b"p" * 1000) == [False]
    assert seqs_in(redis_url, line) == [0]


def test_pictures_do_not_outlive_their_time(redis_url: str, line: str) -> None:
    stream = a_stream(redis_url, line, keep_s=3600)
    keep(stream, 0)
    assert 3590 < command(redis_url, "TTL", f"{{{line}}}:evidence") <= 3600
    command(redis_url, "XADD", f"{{{line}}}:old", "1-1", "upto", "100", "size", "100", "id", "cam1/x/9")
    command(redis_url, "RENAME", f"{{{line}}}:old", f"{{{line}}}:evidence")  # written in 1970
    keep(stream, 1)
    assert seqs_in(redis_url, line) == [1]


def test_while_redis_is_away_it_is_left_alone_for_a_while_after_each_failure(tmp_path: Path, line: str) -> None:
    server, now = start_redis(tmp_path), [0.0]
    stream = a_stream(server.url, line, clock=lambda: now[0])
    keep(stream, 0)
    stop_redis(server)
    with pytest.raises(ResultsUnavailable):
        keep(stream, 1)
    again = start_redis(tmp_path, port=server.port)
    try:
        with pytest.raises(ResultsUnavailable, match="a moment ago"):
            keep(stream, 2)
        now[0] += REST_S
        assert keep(stream, 3) == [True]
    finally:
        stop_redis(again)


def test_a_redis_that_takes_no_pictures_costs_none_of_those_on_disk(
    tmp_path: Path, own_redis: RedisServer, line: str
) -> None:
    command(own_redis.url, "SET", f"{{{line}}}:evidence", "of somebody else")
    folder = a_folder(tmp_path / "evidence")
    evidence = Evidence(folder, a_stream(own_redis.url, line, max_bytes=10**6))
    evidence.start()
    evidence.offer([(PICTURE, rejected(seq)) for seq in range(3)])
    assert eventually(lambda: evidence.kept + evidence.dropped["redis"] == 6)
    evidence.close()
    assert (evidence.kept, evidence.dropped["redis"]) == (3, 3)
    assert len(list(tmp_path.rglob("*.png"))) == 3


def test_what_is_kept_in_redis_is_the_picture_that_was_judged(redis_url: str, line: str) -> None:
    import cv2

    evidence = Evidence(a_stream(redis_url, line, max_bytes=10**6))
    evidence.start()
    evidence.offer([(PICTURE, rejected(1))])
    evidence.close()
    (entry,) = entries(redis_url, line)
    read = cv2.imdecode(np.frombuffer(entry[b"png"], np.uint8), cv2.IMREAD_COLOR)
    assert read is not None
    assert np.array_equal(read[:, :, ::-1], PICTURE)
    assert json.loads(entry[b"verdict"])["severity"] == 2.0
