"""How a frame ends: what the engine said of it becomes a verdict, or why it said nothing does. Any thread."""

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass

import structlog

from model.engine import Inspection
from producers.frame import FrameTag
from worker.batcher import ReceivedFrame
from worker.judge import judge, refusal
from worker.link import GoneFrame
from worker.preparing import PreparedFrame
from worker.sink import Judged, ResultSink
from worker.verdict import Reason

log = structlog.get_logger("worker")


@dataclass(frozen=True)
class InferredBatch:
    """A batch that has been through the engine.

    Attributes:
        frames: of it.
        inspections: one a frame, in the same order.
        taken: monotonic seconds, when the engine was given it.
        inferred: likewise, when it was done.
    """

    frames: Sequence[PreparedFrame]
    inspections: Sequence[Inspection]
    taken: float
    inferred: float


class Concluder:
    """Writes verdicts out; the sink is asked for Redis's clock alone.

    Args:
        worker: who judges.
        sink: knows Redis's clock.
    """

    def __init__(self, worker: str, sink: ResultSink) -> None:
        self._worker, self._sink = worker, sink

    def judged(self, batch: InferredBatch) -> list[Judged]:
        """The verdicts of a batch."""
        return [
            self._judged(frame, inspection, batch)
            for frame, inspection in zip(batch.frames, batch.inspections, strict=True)
        ]

    def _judged(self, frame: PreparedFrame, inspection: Inspection, batch: InferredBatch) -> Judged:
        begun = time.monotonic()
        verdict = judge(
            frame,
            inspection,
            frame.bundle.manifest.calibration,
            model=frame.bundle.label,
            worker=self._worker,
            late=begun > frame.deadline,
            valid_until_us=None if math.isinf(frame.deadline) else self._sink.redis_us(frame.deadline),
            inspected_ns=time.time_ns(),
            latency_us={
                "wire": frame.wire_us,
                "queue": _us(batch.taken - frame.received - frame.prepare_s),
                "prepare": _us(frame.prepare_s),
                "infer": _us(batch.inferred - batch.taken),
            },
        )
        done = time.monotonic()
        verdict.latency_us["judge"] = _us(done - batch.inferred)  # known only now, and nobody else has seen it yet
        return Judged(verdict, done)

    def refused(self, frame: ReceivedFrame, reason: Reason, note: str) -> Judged:
        """The verdict of a frame that was received and not inspected."""
        now = time.monotonic()
        log.info("frame refused", frame=str(frame.header.id), reason=reason.word, note=note)
        stages = {"wire": frame.wire_us, "queue": _us(now - frame.received)}
        return self._refusal(frame.header, reason, note=note, now=now, latency_us=stages, recipe=frame.recipe)

    def gone(self, frame: GoneFrame) -> Judged:
        """The verdict of a frame that was given up beside its camera."""
        reason = Reason[frame.reason.upper()]
        return self._refusal(frame.tag, reason, note="given up beside the camera", now=time.monotonic(), latency_us={})

    def _refusal(
        self,
        tag: FrameTag,
        reason: Reason,
        *,
        note: str,
        now: float,
        latency_us: dict[str, int],
        recipe: str | None = None,
    ) -> Judged:
        verdict = refusal(
            tag,
            reason,
            note=note,
            worker=self._worker,
            inspected_ns=time.time_ns(),
            latency_us=latency_us,
            recipe=recipe,
        )
        return Judged(verdict, now)


def _us(seconds: float) -> int:
    return max(0, int(seconds * 1e6))
