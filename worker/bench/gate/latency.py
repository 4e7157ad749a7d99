"""`sightline bench latency`: how long after a verdict is written a PLC that polls has the result.

A Redis, `sightline gate` and a PLC, a process each. The PLC polls and triggers each part; a while later this process
writes the part's PASS with a plain XADD. Counted is from just before XADD until the answer to the poll that first shows
the result, on a clock that all processes of a machine share.
"""

import tempfile
import time
import uuid
from collections.abc import Callable
from dataclasses import asdict, dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from producers.frame import FrameTag
from worker.bench.arrivals import Poisson
from worker.bench.child import Child, serve
from worker.bench.gate.quick_plc import LEAD_MS, QuickPlc, Seen, Watch
from worker.bench.harvest import percentile
from worker.demo.processes import Processes, free_ports
from worker.errors import WorkerError
from worker.line import LineKeys, connect, redis_errors
from worker.verdict import Decision, Reason, Verdict

LINE, CAMERA, HOST = "bench-gate-latency", "cam1", "127.0.0.1"
START_S = 30.0
SOON_S = 0.5
WINDOW_MS = 1000.0
VALID_US = 2_000_000
MOST_MS = 10.0
ENOUGH = 0.99  # of the results are seen

Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class LatencyReport:
    """What came of it.

    Attributes:
        rate: verdicts a second, on average.
        poll_ms: between two polls of the PLC.
        verdicts: that were written.
        seen: results that the PLC saw.
        opened: of them.
        p50_ms: from just before XADD to the answer that first shows the result; None: it saw none.
        p99_ms: likewise.
        p999_ms: likewise.
        answer_p99_ms: that a poll alone took: part of all of these.
        behind_p99_ms: that a poll came later than it should have, because the machine had other things to do.
    """

    rate: float
    poll_ms: float
    verdicts: int
    seen: int
    opened: int
    p50_ms: float | None
    p99_ms: float | None
    p999_ms: float | None
    answer_p99_ms: float | None
    behind_p99_ms: float | None

    @property
    def holds(self) -> bool:
        """Whether the results came, and in time."""
        return self.p99_ms is not None and self.p99_ms <= MOST_MS and self.seen >= ENOUGH * self.verdicts

    def to_json(self) -> dict[str, Any]:
        """For machines."""
        found = {name: round(value, 2) if isinstance(value, float) else value for name, value in asdict(self).items()}
        ratio = None if self.p99_ms is None else round(self.p99_ms / self.poll_ms, 2)
        return {**found, "p99_in_polls": ratio, "holds": self.holds}


def run_latency(
    verdicts: int,
    *,
    rate: float,
    poll_ms: float,
    seed: int,
    progress: Progress = lambda what, done, total: None,
) -> LatencyReport:
    """Sends so many parts past a gate of its own.

    Args:
        verdicts: one a part.
        rate: a second; arrivals are Poisson.
        poll_ms: between two polls of the PLC.
        seed: of the schedule.
        progress: told `what, done, total`.

    Raises:
        ResultsUnavailable: there is no redis-server.
        WorkerError: the gateway or the PLC ended by itself, or did not come.
    """
    with tempfile.TemporaryDirectory(prefix="sightline-bench-") as folder, Processes(Path(folder)) as processes:
        redis_port, modbus_port = free_ports(2)
        url = processes.redis(redis_port)
        config = Path(folder) / "gate.toml"
        config.write_text(_gate_toml(url, modbus_port), encoding="utf-8")
        processes.sightline("gateway", "gate", "--config", str(config))
        with Child("PLC", run_plc, HOST, modbus_port, poll_ms) as plc:
            plc.answer()
            plc.tell(START_S)
            try:
                plc.answer(START_S + 5)
            except WorkerError as error:
                raise WorkerError(f"{error}; the gateway: {processes.last_words('gateway')}") from error
            starts_ns = time.monotonic_ns() + int(SOON_S * 1e9)
            due_ns = Poisson(starts_ns, rate, 2 * verdicts / rate + 10, None, (seed,)).schedule()[:verdicts].tolist()
            plc.tell(Watch(tuple(due_ns)))
            written_ns = _write(url, due_ns, progress)
            seen: Seen = plc.answer()
            processes.expect_alive("gateway")
    return report_of(written_ns, seen, rate=rate, poll_ms=poll_ms)


def run_plc(host: str, port: int, poll_ms: float, pipe: Connection) -> None:
    """The PLC's process: told how long to await the gateway, then what to watch."""
    plc = QuickPlc(host, port, poll_ms)

    def do(order: Any) -> object:
        if isinstance(order, Watch):
            return plc.watch(order)
        plc.await_service(order)
        return None

    serve(pipe, do)
    plc.close()


def _write(url: str, due_ns: list[int], progress: Progress) -> list[int]:
    """Writes each part's verdict some time after its trigger was due. Returns just before when, monotonic ns."""
    client: Any = connect(url, timeout_s=5.0)
    written_ns = []
    session = str(uuid.uuid4())
    with redis_errors(url):
        for number, at_ns in enumerate(due_ns, 1):
            fields = _fields(session, number)
            time.sleep(max(0.0, (at_ns - time.monotonic_ns()) / 1e9 + LEAD_MS / 1000))
            written_ns.append(time.monotonic_ns())
            client.xadd(LineKeys(LINE).results, fields)
            progress("verdicts", number, len(due_ns))
    client.close()
    return written_ns


def _fields(session: str, number: int) -> dict[str, str | bytes]:
    """A PASS as a worker stores it. Its clock is Redis's: it is the same machine's."""
    now_ns = time.time_ns()
    verdict = Verdict(
        tag=FrameTag(camera=CAMERA, session=session, seq=number, captured_ns=now_ns, trigger=number, simulated=False),
        decision=Decision.PASS,
        reason=Reason.OK,
        score=-1.0,
        threshold=0.0,
        severity=0.5,
        model="bench@0",
        inspected_ns=now_ns,
        valid_until_us=now_ns // 1000 + VALID_US,
        worker="bench",
    )
    fields = verdict.to_fields()
    return {**fields, "latency_us": f"{fields['latency_us']!s}}}"}  # the brace is else the storing script's to write


def report_of(written_ns: list[int], seen: Seen, *, rate: float, poll_ms: float) -> LatencyReport:
    """What a run says.

    Args:
        written_ns: just before when each verdict was written: that of part 1, 2 and so on.
        seen: by the PLC.
        rate: of the run.
        poll_ms: likewise.
    """
    waits_ms = [
        (seen.at_ns[number] - at_ns) / 1e6 for number, at_ns in enumerate(written_ns, 1) if number in seen.at_ns
    ]
    return LatencyReport(
        rate=rate,
        poll_ms=poll_ms,
        verdicts=len(written_ns),
        seen=len(waits_ms),
        opened=seen.opened,
        p50_ms=percentile(waits_ms, 50),
        p99_ms=percentile(waits_ms, 99),
        p999_ms=percentile(waits_ms, 99.9),
        answer_p99_ms=percentile(seen.answers_ms, 99),
        behind_p99_ms=percentile(seen.behind_ms, 99),
    )


def _gate_toml(url: str, port: int) -> str:
    return (
        f'line = "{LINE}"\nredis = "{url}"\nwindow_ms = {WINDOW_MS}\nmatch = "trigger"\narm = "plc"\n'
        f'[[views]]\ncamera = "{CAMERA}"\n[modbus]\nmode = "server"\naddress = "{HOST}:{port}"\n'
    )
