"""Latency against load, as a picture."""

from pathlib import Path

from matplotlib.figure import Figure

from model.errors import DataError
from worker.bench.report import LineBench


def draw_latency(found: LineBench, file: Path) -> None:
    """Draws p50 and p99 from capture to stored over the frames offered, beside the engine's own batches.

    Args:
        found: the bench.
        file: where to; its suffix says what kind of picture.

    Raises:
        DataError: it can't be written, or there is no such kind of picture.
    """
    figure = Figure(figsize=(7, 4.5), layout="constrained")
    axes = figure.subplots()
    for name, label, marker in (("p50_ms", "p50", "o"), ("p99_ms", "p99", "^")):
        points = [(load.load, getattr(load.outcome, name)) for load in found.loads]
        known = [(load, span) for load, span in points if span is not None]
        axes.plot([load for load, _ in known], [span for _, span in known], marker=marker, label=label)
    axes.axhline(found.budget_ms, color="tab:red", linestyle="--", label=f"budget, {found.budget_ms:.0f} ms")
    axes.axhline(found.batch_ms[1], color="grey", linestyle=":", label="engine alone, one frame")
    axes.set_xlabel(f"load, 1 = {found.capacity_fps:.1f} frames/s")
    axes.set_ylabel("capture to stored, ms")
    axes.set_ylim(bottom=0)
    axes.set_title(f"{found.model}\n{found.machine}", fontsize="medium")
    axes.legend()
    try:
        figure.savefig(file, dpi=150)
    except (OSError, ValueError) as error:
        raise DataError(f"{file} can't be written as a picture: {error}") from error
