"""Peers on the work socket that say what no worker should, while a healthy worker judges on."""

import random

import pytest

pytest.importorskip("torch")

from producers.protocol import Bad, Busy, Bye, Credit, Hello, Ping, encode
from tests.faults.harness import FRAMES, FaultLine, expect_one_verdict_each
from tests.producers.scripted_worker import ScriptedWorker
from worker.bench.null import RECIPE

HELLO = encode(
    Hello(name="liar", incarnation="1", camera="cam1", recipes=(RECIPE,), max_frame_bytes=1, longest_batch_ms=0)
)
NOISE = random.Random(1)

MESSAGES: dict[str, list[list[bytes]]] = {
    "random bytes": [[NOISE.randbytes(size) for _ in range(3)] for size in (2, 40, 9000)],
    "no parts to speak of": [[b""], [b"", b"", b""], [b"1H"], [b"1D", b"{}"]],
    "unknown version": [[b"2H", *HELLO[1:]]],
    "ping that is not a number": [HELLO, [b"1P", b'{"mono_us": NaN, "total": 1, "held": 0}', b""]],
    "negative credit": [HELLO, [b"1C", b'{"total": -5}', b""]],
    "credit of 2^63": [HELLO, [b"1C", b'{"total": 9223372036854775808}', b""]],
    "hello of 3 MB": [[HELLO[0], HELLO[1], b'{"held": [' + b'"cam1/x/1",' * 290_000 + b'"z"]}']],
    "hello whose batches take for ever": [
        [HELLO[0], HELLO[1].replace(b'"longest_batch_ms": 0', b'"longest_batch_ms": 1e300'), b""]
    ],
    "bad and busy of frames never sent": [HELLO, encode(Bad(n=2**53)), encode(Busy(id="cam1/none/0", why="x"))],
    "before it has said who it is": [encode(Ping(mono_us=1, total=10**6)), encode(Credit(total=10**6)), encode(Bye())],
    "a worker's frame": [[b"1F", b"{}", bytes(100_000)]],
    "lists nested deeply": [HELLO, [b"1D", b"{}", b"[" * 500_000]],
}


@pytest.mark.parametrize("kind", MESSAGES)
def test_a_peer_that_talks_nonsense_harms_no_frame(patient_line: FaultLine, kind: str) -> None:
    patient_line.worker()
    patient_line.wait_for_workers(1)
    with ScriptedWorker(patient_line.publisher.settings.work) as peer:
        for message in MESSAGES[kind]:
            patient_line.publish(FRAMES // 4)
            peer.send(*message)
        patient_line.publish(FRAMES // 4)
        expect_one_verdict_each(patient_line)
