"""An anomaly map on its way through Redis: grid -> small PNG -> smooth map of severities. No torch."""

import math

import cv2
import numpy as np

from model import anomaly_map, picture
from model.anomaly_map import Grid
from producers.encoded import encoded_shape
from producers.errors import BadFrame
from worker.errors import ResultError
from worker.verdict import MapImage, Verdict


def encode_map(grid: Grid, *, size: tuple[int, int], box: anomaly_map.Box) -> MapImage | None:
    """A grid as an 8-bit grey PNG between its lowest and highest score; None if it is not finite.

    Args:
        grid: `(h, w)` float32.
        size: network input (height, width), pixels.
        box: the rectangle of the frame that it covers.
    """
    low, high = float(grid.min()), float(grid.max())
    if not (math.isfinite(low) and math.isfinite(high)):
        return None
    step = max(high - low, 1e-12) / 255
    steps = cv2.convertScaleAbs(grid, alpha=1 / step, beta=-low / step)  # rounds; nothing is below 0
    ok, png = cv2.imencode(".png", steps)
    height, width = grid.shape
    return MapImage(png=png.tobytes(), low=low, high=high, shape=(height, width), size=size, box=box) if ok else None


def decode_map(image: MapImage) -> Grid:
    """The grid, to within half a step of (high - low) / 255.

    Raises:
        ResultError: the PNG can't be read or is not of the shape it should have.
    """
    try:
        fits = encoded_shape(image.png, "png") == image.shape  # before anything is allocated
    except BadFrame:
        fits = False
    steps = cv2.imdecode(np.frombuffer(image.png, np.uint8), cv2.IMREAD_GRAYSCALE) if fits else None
    if steps is None or steps.shape != image.shape:
        raise ResultError(f"a map can't be read as a PNG of {image.shape}")
    return (image.low + steps.astype(np.float32) / 255 * (image.high - image.low)).astype(np.float32)


def smooth_map(verdict: Verdict, *, height: int, width: int) -> Grid | None:
    """A verdict's smooth anomaly map in frame pixels, `(height, width)`; None if it has none."""
    if verdict.map is None:
        return None
    smooth = anomaly_map.smooth(decode_map(verdict.map), verdict.map.size)
    return anomaly_map.place(smooth, box=verdict.map.box, height=height, width=width)


def severity_map(verdict: Verdict, *, height: int, width: int) -> Grid | None:
    """A verdict's smooth map as severity, `(height, width)`: 0 at the median good score, 1 at the threshold."""
    scores = smooth_map(verdict, height=height, width=width)
    if scores is None or verdict.score is None or verdict.threshold is None or verdict.severity is None:
        return None
    # two points of the line from score to severity are known: (threshold, 1) and (score, severity)
    slope = 1.0 if verdict.severity == 1 else (verdict.score - verdict.threshold) / (verdict.severity - 1)
    return ((scores - verdict.threshold) / (slope or 1.0) + 1).astype(np.float32)


def overlay(verdict: Verdict, frame: picture.Image) -> picture.Picture:
    """A frame with what is anomalous glowing on it and a box around each defect, `(H, W, 3)` uint8 BGR.

    Args:
        verdict: of that frame; without a map nothing glows.
        frame: `(H, W)` grey or `(H, W, 3)` BGR, uint8 or uint16.

    Raises:
        ResultError: the map is damaged.
    """
    eight = frame if frame.dtype == np.uint8 else (frame >> 8).astype(np.uint8)
    shown = picture.to_bgr(eight) if frame.ndim == 2 else np.asarray(eight, np.uint8)
    height, width = frame.shape[:2]
    severity = severity_map(verdict, height=height, width=width)
    boxes = [_within(region.box, height=height, width=width) for region in verdict.regions]
    return picture.overlay(shown, np.zeros((height, width), np.float32) if severity is None else severity, boxes)


def _within(box: tuple[int, int, int, int], *, height: int, width: int) -> tuple[int, int, int, int]:
    """A box cut to the frame: OpenCV bears no numbers beyond 32 bits."""
    x0, y0 = min(max(box[0], 0), width), min(max(box[1], 0), height)
    x1, y1 = min(max(box[0] + box[2], x0), width), min(max(box[1] + box[3], y0), height)
    return x0, y0, x1 - x0, y1 - y0
