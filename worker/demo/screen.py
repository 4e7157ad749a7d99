"""What the demo shows while the line runs."""

import sys
from collections import Counter, deque
from types import TracebackType

from rich.console import Console, Group
from rich.live import Live
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from worker.verdict import Verdict


class Screen:
    """A progress bar, the counts and the last verdicts. Shown on a terminal only; everything goes to standard error."""

    def __init__(self, frames: int, console: Console) -> None:
        columns = (TextColumn("verdicts"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
        self._bar = Progress(*columns, console=console)
        self._task = self._bar.add_task("verdicts", total=frames)
        self._recent: deque[Verdict] = deque(maxlen=8)
        self._counts: Counter[str] = Counter()
        self._live = Live(console=console, refresh_per_second=8) if sys.stderr.isatty() else None

    def __enter__(self) -> "Screen":
        if self._live is not None:
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live is not None:
            self._live.stop()

    def show(self, verdict: Verdict) -> None:
        """Adds one verdict."""
        self._recent.append(verdict)
        self._counts[verdict.reason.word] += 1
        self._bar.advance(self._task)
        if self._live is not None:
            self._live.update(Group(self._table(), self._bar))

    def _table(self) -> Table:
        counts = ", ".join(f"{count} {word}" for word, count in sorted(self._counts.items()))
        table = Table("part", "decision", "severity", "capture to stored", title=f"the line: {counts}", width=90)
        for verdict in self._recent:
            word = "[green]pass[/]" if verdict.passed else f"[red]fail ({verdict.reason.word})[/]"
            severity = "-" if verdict.severity is None else f"{verdict.severity:.2f}"
            total_ms = sum(verdict.latency_us.values()) / 1000
            table.add_row(verdict.tag.part_id or str(verdict.tag.seq), word, severity, f"{total_ms:.0f} ms")
        return table
