"""Ours beside the paper's: rows of means over seeds, for people and for machines."""

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from model.reproduce.paper import Auroc

IMAGE, PIXEL = "image AUROC %", "pixel AUROC %"


@dataclass(frozen=True)
class Spread:
    """One quantity over seeds.

    Attributes:
        values: one a seed.
    """

    values: tuple[float, ...]

    @property
    def mean(self) -> float:
        """Over the seeds."""
        return statistics.fmean(self.values)

    @property
    def deviation(self) -> float | None:
        """Standard deviation of the sample; None for a single seed."""
        return statistics.stdev(self.values) if len(self.values) > 1 else None

    def __str__(self) -> str:
        spread = "" if self.deviation is None else f" ± {self.deviation:.2f}"
        return f"{self.mean:.2f}{spread}"


@dataclass(frozen=True)
class Row:
    """One row.

    Attributes:
        label: what it is of.
        ours: by column; None where it is not defined.
        paper: by column; None where we don't know it.
        note: why there is nothing, or what else to know.
    """

    label: str
    ours: Mapping[str, Spread | None] = field(default_factory=dict)
    paper: Mapping[str, float | None] = field(default_factory=dict)
    note: str = ""


@dataclass(frozen=True)
class Outcome:
    """A table or figure, made again.

    Attributes:
        table: its name.
        title: what it shows, of what, and how it was made.
        columns: in order.
        rows: in order.
        notes: what a reader must know to compare, a sentence each.
        pictures: written files.
    """

    table: str
    title: str
    columns: tuple[str, ...]
    rows: tuple[Row, ...]
    notes: tuple[str, ...] = ()
    pictures: tuple[Path, ...] = ()

    def to_json(self) -> dict[str, object]:
        """For machines: percentages, standard deviations of the sample, null where there is nothing."""
        return {
            "table": self.table,
            "title": self.title,
            "rows": [self._row(row) for row in self.rows],
            "notes": list(self.notes),
            "pictures": [str(path) for path in self.pictures],
        }

    def _row(self, row: Row) -> dict[str, object]:
        figures: dict[str, object] = {}
        for column in self.columns:
            ours = row.ours.get(column)
            figures[column] = {
                "mean": ours.mean if ours else None,
                "standard_deviation": ours.deviation if ours else None,
                "by_seed": list(ours.values) if ours else [],
                "paper": row.paper.get(column),
            }
        return {"label": row.label, "figures": figures, "note": row.note}


def of_paper(auroc: Auroc) -> dict[str, float | None]:
    """The paper's pair, by column."""
    return {IMAGE: auroc.image, PIXEL: auroc.pixel}


def over_seeds(values: Sequence[float | None]) -> Spread | None:
    """None unless it is defined for every seed."""
    known = tuple(value for value in values if value is not None)
    return Spread(known) if known and len(known) == len(values) else None


def mean_of(spreads: Sequence[Spread | None]) -> Spread | None:
    """The mean over rows, seed by seed; None unless all of them are defined."""
    known = [spread for spread in spreads if spread is not None]
    if not known or len(known) != len(spreads):
        return None
    return Spread(tuple(statistics.fmean(values) for values in zip(*(spread.values for spread in known), strict=True)))
