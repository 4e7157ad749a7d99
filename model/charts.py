"""Curves and histograms as PNG: what people would rather look at than read."""

import io
from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter

Curve = tuple[Sequence[float], Sequence[float]]
"""Places on the x axis, and on the y axis."""


def loss_curve(losses: Sequence[float], *, window: int = 50) -> bytes:
    """The loss of each step, pale, and its running mean over `window` steps."""
    figure, axes = _chart("optimiser step", "loss")
    axes.plot(range(1, len(losses) + 1), losses, color="tab:blue", alpha=0.25, linewidth=0.8)
    if len(losses) >= window:
        mean = np.convolve(losses, np.ones(window) / window, "valid")
        axes.plot(range(window, len(losses) + 1), mean, color="tab:blue", label=f"mean of {window} steps")
        _legend(figure)
    return _png(figure)


def score_histogram(groups: Mapping[str, Sequence[float]], *, threshold: float | None = None) -> bytes:
    """Histograms of scores, one a group, with the threshold as a line. Scores that are not finite are left out."""
    figure, axes = _chart("anomaly score", "pictures")
    finite = {name: np.asarray(scores)[np.isfinite(scores)] for name, scores in groups.items()}
    edges = np.histogram_bin_edges(np.concatenate(list(finite.values()) or [np.zeros(0)]), bins=40)
    for name, scores in finite.items():
        axes.hist(scores, bins=list(edges), alpha=0.6, label=f"{name} ({len(scores)})")
    if threshold is not None:
        axes.axvline(threshold, color="black", linestyle="--", label=f"threshold {threshold:.3g}")
    _legend(figure)
    return _png(figure)


def curves(named: Mapping[str, Curve], *, x: str, y: str, mark: tuple[float, float] | None = None) -> bytes:
    """Curves in one picture, with a dot at `mark`."""
    figure, axes = _chart(x, y)
    for name, (places, values) in named.items():
        axes.plot(places, values, label=name)
    if mark is not None:
        axes.plot(*mark, "o", color="black", label="at the bundle's threshold")
    if len(named) > 1 or mark is not None:
        _legend(figure)
    return _png(figure)


def quality_and_speed(points: Mapping[str, tuple[float, float | None]], *, batch: int) -> bytes:
    """The paper's Figure 2: image AUROC over images/s, by name. Where nothing was learned, a line shows the speed."""
    figure, axes = _chart(f"images/s, batch {batch}", "image AUROC")
    axes.set_xscale("log")
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.xaxis.set_major_formatter("{x:g}")
    axes.xaxis.set_minor_formatter(NullFormatter())
    for number, (name, (speed, quality)) in enumerate(points.items()):
        colour = f"C{number}"
        if quality is None:
            axes.axvline(speed, color=colour, linestyle=":", label=f"{name} (not trained)")
        else:
            axes.plot(speed, quality, "o", color=colour, label=name)
    _legend(figure)
    return _png(figure)


def _chart(x: str, y: str) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(6, 3.6), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    axes.set_xlabel(x)
    axes.set_ylabel(y)
    axes.spines[["top", "right"]].set_visible(False)
    return figure, axes


def _legend(figure: Figure) -> None:
    """Above the axes. Searching for a place that hides no data can take long, and then matplotlib warns."""
    figure.legend(loc="outside upper center", ncols=3, frameon=False, fontsize="small")


def _png(figure: Figure) -> bytes:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=110, metadata={"Software": None})
    return buffer.getvalue()
