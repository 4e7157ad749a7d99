"""Frames and verdicts for tests."""

import math
import uuid

import cv2
import numpy as np

from producers.frame import Frame, FrameHeader, FrameTag, make_frame
from worker.batcher import ReceivedFrame
from worker.verdict import Decision, MapImage, Reason, RegionBox, Verdict

SESSION = str(uuid.UUID(int=7))
PNG = cv2.imencode(".png", np.arange(784, dtype=np.uint16).astype(np.uint8).reshape(28, 28))[1].tobytes()


def tag(seq: int = 0, *, session: object = SESSION, camera: object = "cam1", **more: object) -> FrameTag:
    fields = {"camera": camera, "session": session, "seq": seq, "captured_ns": 1_700_000_000_000_000_000, **more}
    return FrameTag.model_validate({"simulated": True, **fields})


def frame(seq: int = 0, **more: object) -> Frame:
    return make_frame(tag(seq, **more), np.full((4, 6, 3), seq % 256, np.uint8), color="bgr")


def header(seq: int = 0, *, attempt: int = 1, **more: object) -> FrameHeader:
    return frame(seq, **more).stamped(now=0.0, attempt=attempt)


def received(
    seq: int = 0,
    *,
    deadline: float = math.inf,
    recipe: str = "part",
    attempt: int = 1,
    received: float = 0.0,
    budget_ms: float | None = None,
) -> ReceivedFrame:
    made = frame(seq, budget_ms=budget_ms)
    return ReceivedFrame(made.stamped(now=0.0, attempt=attempt), made.payload, recipe, received, 0, deadline)


def verdict(seq: int = 0, *, valid_until_us: int | None = None, passed: bool = True, **more: object) -> Verdict:
    return Verdict(
        tag=tag(seq, **more),
        decision=Decision.PASS if passed else Decision.FAIL,
        reason=Reason.OK if passed else Reason.DEFECT,
        score=-0.25 if passed else 0.5,
        threshold=0.125,
        severity=0.5 if passed else 2.0,
        map=MapImage(png=PNG, low=-1.0, high=0.5, shape=(28, 28), size=(224, 224), box=(0, 0, 6, 4)),
        regions=() if passed else (RegionBox(box=(1, 1, 2, 2), area=4, severity=2.0),),
        model="part@0123456789ab",
        inspected_ns=1_700_000_000_500_000_000,
        valid_until_us=valid_until_us,
        latency_us={"wire": 10, "queue": 20, "prepare": 30, "infer": 40, "judge": 50},
        worker="w1",
    )
