"""`sightline bench gate`: a conveyor, a real gateway and a PLC, everything broken; who opened, and who had to?"""

import json
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from worker.bench.gate.blows import Blows
from worker.bench.gate.evidence import Record
from worker.bench.gate.forger import Forger
from worker.bench.gate.oracle import Rules, judge_parts
from worker.bench.gate.plan import CAMERAS, LINE, PERIOD_MS, WINDOW_MS, Plan, make_plan
from worker.bench.gate.report import GateReport, make_report
from worker.bench.gate.rig import GateRig
from worker.errors import WorkerError
from worker.line import LineKeys, connect, redis_errors

TURN_S = 0.005
PATIENCE_S = 60.0  # for what is left of a run when its last part has passed
PAGE = 1000

Progress = Callable[[str, int, int], None]


def run_gate(
    parts: int, *, seed: int, keep: Path | None = None, progress: Progress = lambda what, done, total: None
) -> GateReport:
    """Sends so many parts along a conveyor of its own, breaks what there is, and asks the oracle about each part.

    Args:
        parts: 200 at least.
        seed: of parts and blows; when exactly a blow falls is up to the machine.
        keep: folder for the logs of PLC and gateway; None: they are gone with the run.
        progress: told `what, done, total`.

    Raises:
        ResultsUnavailable: there is no redis-server.
        WorkerError: the gateway or the PLC ended by itself.
    """
    plan, started = make_plan(parts, seed), time.monotonic()
    with (
        tempfile.TemporaryDirectory(prefix="sightline-bench-") as folder,
        GateRig(keep or Path(folder), parts, seed) as rig,
    ):
        blows = Blows(rig, plan)
        with Forger(rig.url, LINE, plan, rig.start_ns) as forger:
            _pass_by(rig, blows, plan, progress)
        entries = _stored(rig.url)
        log = _read_log(rig.plc_log)
    rules = Rules(CAMERAS, WINDOW_MS)
    findings = judge_parts({part.number: part.id for part in plan.parts}, entries, log, blows.outages, rules)
    seconds = time.monotonic() - started
    return make_report(findings, log, blows=blows.dealt, forged=forger.written, seconds=seconds)


def _pass_by(rig: GateRig, blows: Blows, plan: Plan, progress: Progress) -> None:
    """Until the last part has passed the gate."""
    total = len(plan.parts)
    ends_ns = rig.start_ns + int((plan.parts[-1].gate_ms / 1000 + PATIENCE_S) * 1e9)
    while not blows.over or rig.running("plc"):
        blows.turn()
        rig.expect_alive()
        passed = (time.time_ns() - rig.start_ns) / 1e6 / PERIOD_MS
        progress("parts", min(max(int(passed), 0), total), total)
        if time.time_ns() > ends_ns:
            raise WorkerError("the PLC does not come to an end")
        time.sleep(TURN_S)
    if code := rig.exit_code("plc"):
        raise WorkerError(f"the PLC ended by itself, exit code {code}")
    progress("parts", total, total)


def _stored(url: str) -> list[tuple[str, dict[str, bytes]]]:
    """The whole stream, raw."""
    client: Any = connect(url, timeout_s=10.0)
    found: list[tuple[str, dict[str, bytes]]] = []
    start = "-"
    with redis_errors(url):
        while page := client.xrange(LineKeys(LINE).results, min=start, count=PAGE):
            for entry, fields in page:
                found.append((entry.decode(), {name.decode(): value for name, value in fields.items()}))
            start = f"({found[-1][0]}"
    client.close()
    return found


def _read_log(file: Path) -> list[Record]:
    """What the PLC wrote, whole lines only: it was killed now and then."""
    lines = file.read_text(encoding="utf-8").splitlines()
    records = [json.loads(line) for line in lines if line.startswith("{") and line.endswith("}")]
    return sorted(records, key=lambda record: record["ns"])
