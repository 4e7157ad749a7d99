"""Redis goes away while the line runs on: how long until every verdict that waited is stored?

    python -m benchmarks.redis_away [--seconds 60] [--rate 100]

A Redis of its own (`appendfsync always`) is killed, verdicts with maps of 750 bytes go on being judged at the given
rate, then Redis is started again. The last line is one JSON object: `drain_s` from Redis answering until no verdict
waits, `drained_per_s`, and whether each verdict is there `once` and `in_order`.
"""

import json
import os
import subprocess
import tempfile
import time
import uuid
from pathlib import Path
from typing import Annotated, Any

import typer

from producers.frame import FrameTag
from worker.demo.processes import free_ports, redis_server
from worker.errors import ResultsUnavailable
from worker.line import LineKeys, connect, redis_errors
from worker.sink import ResultSink
from worker.verdict import Decision, MapImage, Reason, Verdict
from worker.writer import ResultWriter

LINE = "bench"


def main(seconds: Annotated[float, typer.Option()] = 60, rate: Annotated[float, typer.Option()] = 100) -> None:
    """Measures."""
    (port,), session = free_ports(1), str(uuid.uuid4())
    url = f"redis://127.0.0.1:{port}/0"
    with tempfile.TemporaryDirectory() as scratch:
        server = _start(Path(scratch), port, url)
        sink = ResultSink(url, LINE, timeout_s=2.0, keep_s=1e6, max_results=1_000_000)
        sink.sample_clock()
        writer = ResultWriter(sink, "w1", limit=1_000_000, stored=lambda frames: None)
        writer.start()
        writer.put(_verdict(session, 0), now=time.monotonic())
        assert writer.drain(30) == 0  # noqa: S101
        try:
            server.kill()
            server.wait()
            judged = _judge(writer, session, seconds, rate)
            waited = writer.waiting
            server = _start(Path(scratch), port, url)
            back = time.monotonic()
            left = writer.drain(120)
            drain_s = time.monotonic() - back
            seqs = _seqs(url)
        finally:
            writer.close()
            server.kill()
            server.wait()
    once, in_order = len(seqs) == len(set(seqs)) == judged + 1, seqs == sorted(seqs)
    figures = {"waited": waited, "left": left, "drain_s": round(drain_s, 2), "drained_per_s": round(waited / drain_s)}
    print(json.dumps({"away_s": seconds, "rate": rate, **figures, "once": once, "in_order": in_order}))


def _judge(writer: ResultWriter, session: str, seconds: float, rate: float) -> int:
    """Puts verdicts at a rate. Returns how many."""
    started, count = time.monotonic(), int(seconds * rate)
    for seq in range(1, count + 1):
        writer.put(_verdict(session, seq), now=time.monotonic())
        time.sleep(max(0.0, started + seq / rate - time.monotonic()))
    return count


def _verdict(session: str, seq: int) -> Verdict:
    return Verdict(
        tag=FrameTag(camera="cam1", session=session, seq=seq, captured_ns=time.time_ns(), simulated=True),
        decision=Decision.PASS,
        reason=Reason.OK,
        score=-0.25,
        threshold=0.125,
        severity=0.5,
        map=MapImage(
            png=os.urandom(750), low=-1.0, high=0.5, shape=(28, 28), size=(224, 224), box=(0.0, 0.0, 900.0, 900.0)
        ),
        model="part@0123456789ab",
        inspected_ns=time.time_ns(),
        latency_us={"wire": 100, "queue": 200, "prepare": 300, "infer": 4000, "judge": 50},
        worker="w1",
    )


def _start(folder: Path, port: int, url: str) -> "subprocess.Popen[bytes]":
    """Starts redis-server and waits until it has read its data and answers."""
    durable = ["--save", "", "--appendonly", "yes", "--appendfsync", "always"]
    command = [redis_server(), "--port", str(port), "--bind", "127.0.0.1", "--dir", str(folder), *durable]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    client = connect(url, timeout_s=1.0)
    while process.poll() is None:
        try:
            with redis_errors(url):
                client.ping()
            break
        except ResultsUnavailable:
            time.sleep(0.005)
    client.close()
    return process


def _seqs(url: str) -> list[int]:
    """The sequence numbers in the stream, in its order."""
    client = connect(url, timeout_s=30)
    entries: Any = client.xrange(LineKeys(LINE).results)
    client.close()
    return [int(fields[b"seq"]) for _, fields in entries]


if __name__ == "__main__":
    typer.run(main)
