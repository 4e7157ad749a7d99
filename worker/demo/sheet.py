"""The contact sheet: rejected parts with their heat maps, worst first, as one PNG."""

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from model import picture
from model.picture import Tile, overlay
from worker.heatmap import severity_map
from worker.verdict import Verdict

MOST = 48


def contact_sheet(
    rejected: Sequence[Verdict], picture_of: Callable[[Verdict], NDArray[np.uint8]]
) -> NDArray[np.uint8] | None:
    """Draws the rejected parts, each beside its heat map.

    Args:
        rejected: verdicts that are not a pass.
        picture_of: the picture a verdict is about, `(H, W, 3)` BGR.

    Returns:
        `(H, W, 3)` BGR; None if there is nothing to show.
    """
    shown = sorted(rejected, key=lambda verdict: -(verdict.severity or 0))[:MOST]
    return picture.contact_sheet([_tile(verdict, picture_of(verdict)) for verdict in shown]) if shown else None


def _tile(verdict: Verdict, seen: NDArray[np.uint8]) -> Tile:
    severity = severity_map(verdict, height=seen.shape[0], width=seen.shape[1])
    glowing = seen if severity is None else overlay(seen, severity, [region.box for region in verdict.regions])
    number = "" if verdict.severity is None else f" {verdict.severity:.1f}"
    return Tile(f"{verdict.tag.part_id or verdict.tag.seq}: {verdict.reason.word}{number}", seen, glowing)
