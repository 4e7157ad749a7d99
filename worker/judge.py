"""The judge: what the network says becomes pass or fail, and why. Pure."""

from model import anomaly_map
from model.calibration import Calibration
from model.engine import Inspection
from producers.frame import TAG_FIELDS, FrameTag
from worker.batcher import ReceivedFrame
from worker.heatmap import encode_map
from worker.verdict import Decision, Reason, RegionBox, Verdict


def judge(
    frame: ReceivedFrame,
    inspection: Inspection,
    calibration: Calibration,
    *,
    model: str,
    worker: str,
    late: bool,
    valid_until_us: int | None,
    inspected_ns: int,
    latency_us: dict[str, int],
) -> Verdict:
    """The verdict of an inspected frame: a pass if and only if its score is finite, not above the threshold, in time.

    Args:
        frame: as received.
        inspection: what the network says of it.
        calibration: the bundle's threshold.
        model: the bundle's label.
        worker: who judges.
        late: its budget has run out by now.
        valid_until_us: when its budget runs out, on Redis's clock; None without a budget.
        inspected_ns: UTC since the epoch.
        latency_us: by stage so far.
    """
    score = inspection.score
    reason = Reason.OK if calibration.passes(score) else Reason.DEFECT
    grid = encode_map(inspection.grid, size=inspection.size, box=inspection.box)
    if grid is None:
        return refusal(
            frame.header,
            Reason.WORKER_ERROR,
            note="the network's scores are not finite",
            recipe=frame.recipe,
            worker=worker,
            inspected_ns=inspected_ns,
            latency_us=latency_us,
        )
    if late and reason is Reason.OK:
        reason = Reason.LATE
    return Verdict(
        tag=frame.header.tag(recipe=frame.recipe),
        decision=Decision.PASS if reason is Reason.OK else Decision.FAIL,
        reason=reason,
        score=score,
        threshold=calibration.threshold,
        severity=calibration.severity(score),
        map=grid,
        regions=_regions(inspection, calibration) if score > calibration.threshold else (),
        transform=frame.header.transform,
        model=model,
        inspected_ns=inspected_ns,
        valid_until_us=valid_until_us,
        latency_us=latency_us,
        worker=worker,
    )


def _regions(inspection: Inspection, calibration: Calibration) -> tuple[RegionBox, ...]:
    found = anomaly_map.regions(inspection.grid, threshold=calibration.threshold, box=inspection.box)
    return tuple(
        RegionBox(box=region.box, area=region.area, severity=calibration.severity(region.peak)) for region in found
    )


def refusal(
    tag: FrameTag,
    reason: Reason,
    *,
    note: str,
    worker: str,
    inspected_ns: int,
    latency_us: dict[str, int],
    recipe: str | None = None,
) -> Verdict:
    """The verdict of a frame that was not inspected: it fails, and says why.

    Args:
        tag: the frame's identity.
        reason: anything but `OK`.
        note: a sentence for people.
        worker: who says so.
        inspected_ns: UTC since the epoch.
        latency_us: by stage so far.
        recipe: that it would have been judged with.
    """
    named = {name: getattr(tag, name) for name in TAG_FIELDS}
    return Verdict(
        tag=FrameTag.model_construct(**{**named, "recipe": recipe or tag.recipe}),
        decision=Decision.FAIL,
        reason=reason,
        note=note,
        inspected_ns=inspected_ns,
        latency_us=latency_us,
        worker=worker,
    )
