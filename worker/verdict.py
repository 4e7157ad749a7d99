"""The verdict: the one record a frame ends as. DESIGN: "Results in Redis".

No torch and no Redis in here: a reader beside a PLC imports it.
"""

import json
import math
from collections.abc import Mapping
from enum import IntEnum, StrEnum
from functools import lru_cache
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from producers.encoded import encoded_shape
from producers.errors import BadFrame
from producers.frame import FrameTag, first_fault
from producers.transform import Box, Transform, sensor_box
from worker.errors import ResultError

if TYPE_CHECKING:  # `worker.heatmap` imports this module, and a reader that wants no pictures imports neither
    from model.anomaly_map import Grid
    from model.picture import Image, Picture

Cells = Annotated[int, Field(ge=1, le=4096)]
Finite = Annotated[float, Field(allow_inf_nan=False)]


class Decision(StrEnum):
    """What the gate is told. Only `pass` opens it."""

    PASS = "pass"
    FAIL = "fail"


class Reason(IntEnum):
    """Why. The numbers are stable: PLC programs hold them."""

    OK = 0
    DEFECT = 1
    LATE = 2
    EXPIRED = 3
    BAD_FRAME = 4
    NO_RECIPE = 5
    WORKER_ERROR = 6
    LOST = 7

    @property
    def word(self) -> str:
        """As it stands in results: `ok`, `bad_frame`..."""
        return self.name.lower()


class RegionBox(BaseModel):
    """A defect as a box.

    Attributes:
        box: (x, y, width, height) in frame pixels.
        area: frame pixels.
        severity: peak severity inside.
    """

    model_config = ConfigDict(frozen=True)

    box: tuple[int, int, int, int]
    area: int
    severity: float


class MapImage(BaseModel):
    """An anomaly map as it travels.

    Attributes:
        png: 8-bit grey PNG of the grid, 0 for `low`, 255 for `high`.
        low: score of grey value 0.
        high: score of grey value 255.
        shape: (h, w) of the grid.
        size: network input (height, width), pixels.
        box: the rectangle (x, y, width, height) of the frame that it covers, frame pixels.
    """

    model_config = ConfigDict(frozen=True)

    png: bytes
    low: float
    high: float
    shape: tuple[Cells, Cells]
    size: tuple[Cells, Cells]
    box: tuple[Finite, Finite, Finite, Finite]


class Verdict(BaseModel):
    """One verdict.

    Attributes:
        tag: the frame's identity and what its source said of it.
        decision: `pass` if and only if the reason is `ok`.
        reason: why.
        note: a sentence for people where the reason needs one.
        score: anomaly score; None if the frame was not judged.
        threshold: the bundle's; None if the frame was not judged.
        severity: 0 at the median good score, 1 at the threshold; None if the frame was not judged.
        map: the anomaly map; None if the frame was not judged.
        regions: the areas above the threshold.
        transform: 2 x 3, from frame pixels to the sensor's, as `producers.transform` has it; None: they are the same.
        model: bundle name and digest; empty if the frame was not judged.
        inspected_ns: UTC since the epoch.
        valid_until_us: Redis's clock, microseconds since the epoch; None: without a budget, it opens nothing.
        latency_us: microseconds by stage: `wire, queue, prepare, infer, judge, store`.
        worker: name of the worker that wrote it.
        entry: id in the stream; empty before it is stored.
        redelivered: it may have been handled already, by a reader of the group that died before it could say so.
    """

    model_config = ConfigDict(frozen=True)

    tag: FrameTag
    decision: Decision
    reason: Reason
    note: str = ""
    score: float | None = None
    threshold: float | None = None
    severity: float | None = None
    map: MapImage | None = None
    regions: tuple[RegionBox, ...] = ()
    transform: Transform | None = None
    model: str = ""
    inspected_ns: int
    valid_until_us: int | None = None
    latency_us: dict[str, int] = {}
    worker: str
    entry: str = ""
    redelivered: bool = False

    @property
    def passed(self) -> bool:
        """True only for an explicit pass with a score that is entitled to it."""
        return self.decision is Decision.PASS and self.reason is Reason.OK and self._entitled

    @property
    def _entitled(self) -> bool:
        """Whether score and threshold are finite, and the score is not above the threshold."""
        if self.score is None or self.threshold is None:
            return False
        return math.isfinite(self.score) and math.isfinite(self.threshold) and self.score <= self.threshold

    def sensor_boxes(self) -> tuple[Box, ...]:
        """Each region's box as (x, y, width, height) in sensor pixels, whatever was done to the frame on its way."""
        return tuple(sensor_box(self.transform, region.box) for region in self.regions)

    def anomaly_map(self, height: int, width: int) -> "Grid | None":
        """The smooth anomaly map in frame pixels, `(height, width)` float32 scores; None if there is none.

        Raises:
            ResultError: the stored map is damaged.
        """
        from worker.heatmap import smooth_map

        return smooth_map(self, height=height, width=width)

    def overlay(self, frame: "Image") -> "Picture":
        """The frame with what is anomalous glowing on it and a box around each defect: `(H, W, 3)` uint8 BGR.

        Args:
            frame: `(H, W)` grey or `(H, W, 3)` BGR, uint8 or uint16; it is not changed.

        Raises:
            ResultError: the stored map is damaged.
        """
        from worker.heatmap import overlay

        return overlay(self, frame)

    def to_fields(self) -> dict[str, str | bytes]:
        """The stream entry's fields. What does not apply is an empty string.

        `latency_us` lacks its `store` stage and its closing brace: the script that stores the entry knows both.
        """
        tag, grid = self.tag, self.map
        return {
            "id": str(tag.id),
            "camera": tag.camera,
            "session": tag.session,
            "seq": str(tag.seq),
            "part_id": tag.part_id or "",
            "trigger": _text(tag.trigger),
            "view": tag.view or "",
            "recipe": tag.recipe or "",
            "decision": self.decision.value,
            "reason": self.reason.word,
            "reason_code": str(int(self.reason)),
            "note": self.note,
            "score": _text(self.score),
            "threshold": _text(self.threshold),
            "severity": _text(self.severity),
            "map": grid.png if grid else b"",
            "map_lo": _text(grid.low if grid else None),
            "map_hi": _text(grid.high if grid else None),
            "map_shape": _json(grid.shape) if grid else "",
            "map_size": _json(grid.size) if grid else "",
            "map_box": _json(grid.box) if grid else "",
            "regions": json.dumps([region.model_dump() for region in self.regions]) if self.regions else "[]",
            "transform": _json(self.transform) if self.transform else "",
            "model": self.model,
            "captured_ns": str(tag.captured_ns),
            "inspected_ns": str(self.inspected_ns),
            "valid_until_us": _text(self.valid_until_us),
            "latency_us": "{" + ", ".join(f'"{stage}": {us}' for stage, us in self.latency_us.items()),
            "worker": self.worker,
            "attempt": str(tag.attempt),
            "simulated": "1" if tag.simulated else "0",
            "original": tag.original or "",
        }

    @classmethod
    def from_entry(cls, entry: str, fields: Mapping[bytes, bytes]) -> "Verdict":
        """As `from_fields`, of what Redis hands out."""
        return cls.from_fields(entry, {name.decode(errors="replace"): value for name, value in fields.items()})

    @classmethod
    def from_fields(cls, entry: str, fields: Mapping[str, bytes]) -> "Verdict":
        """The verdict in a stream entry.

        Args:
            entry: its id in the stream.
            fields: as stored.

        Raises:
            ResultError: a field is missing or can't be read.
        """
        try:
            text = {key: value.decode() for key, value in fields.items() if key != "map"}
            verdict = cls(
                tag=_tag(text),
                decision=Decision(text["decision"]),
                reason=Reason(int(text["reason_code"])),
                note=text["note"],
                score=_number(text["score"]),
                threshold=_number(text["threshold"]),
                severity=_number(text["severity"]),
                map=_map(text, fields["map"]),
                regions=json.loads(text["regions"]),
                transform=json.loads(text.get("transform") or "null"),  # entries of earlier versions have none
                model=text["model"],
                inspected_ns=int(text["inspected_ns"]),
                valid_until_us=int(text["valid_until_us"]) if text["valid_until_us"] else None,
                latency_us=json.loads(text["latency_us"]),
                worker=text["worker"],
                entry=entry,
            )
        except (KeyError, ValueError, BadFrame, RecursionError) as error:
            raise ResultError(f"entry {entry} can't be read as a verdict: {_sentence(error)}") from error
        if verdict.decision is Decision.PASS and not verdict.passed:
            scores = f"reason {verdict.reason.word}, score {verdict.score}, threshold {verdict.threshold}"
            raise ResultError(f"entry {entry} claims a pass that it is not entitled to: {scores}")
        return verdict

    def to_json(self) -> dict[str, Any]:
        """For machines: the entry's fields by their stored names, the map left out. Null where a number is none."""
        flat = self.tag.model_dump()
        rest = self.model_dump(exclude={"tag", "map", "reason"})
        for name in ("score", "threshold", "severity"):
            rest[name] = rest[name] if rest[name] is not None and math.isfinite(rest[name]) else None
        named = {"id": str(self.tag.id), "reason": self.reason.word, "reason_code": int(self.reason)}
        return {**flat, **rest, **named, "decision": self.decision.value}


def _tag(text: Mapping[str, str]) -> FrameTag:
    return FrameTag(
        camera=text["camera"],
        session=text["session"],
        seq=int(text["seq"]),
        captured_ns=int(text["captured_ns"]),
        recipe=text["recipe"] or None,
        part_id=text["part_id"] or None,
        trigger=int(text["trigger"]) if text["trigger"] else None,
        view=text["view"] or None,
        simulated=text["simulated"] != "0",
        original=text["original"] or None,
        attempt=int(text["attempt"]),
    )


def _map(text: Mapping[str, str], png: bytes) -> MapImage | None:
    if not png:
        return None
    shape, size, box = (json.loads(text[key]) for key in ("map_shape", "map_size", "map_box"))
    if encoded_shape(png, "png") != tuple(shape):
        raise ValueError(f"its map is not a PNG of {shape}")
    return MapImage(png=png, low=float(text["map_lo"]), high=float(text["map_hi"]), shape=shape, size=size, box=box)


@lru_cache(maxsize=256)  # frames of one camera are all alike
def _json(numbers: tuple[float, ...] | Transform) -> str:
    return json.dumps(numbers)


def _text(value: float | int | None) -> str:
    return "" if value is None else repr(value)


def _number(text: str) -> float | None:
    return float(text) if text else None


def _sentence(error: Exception) -> str:
    """What is wrong, on one line of a length that a log bears: the entry may hold anything."""
    if isinstance(error, ValidationError):
        return first_fault(error)
    if isinstance(error, KeyError):
        return f"it has no field {error}"
    return (str(error).splitlines() or [type(error).__name__])[0][:200]
