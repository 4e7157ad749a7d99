"""What the commands show: progress bars, JSON, and the types of their common arguments."""

import math
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

BundlePath = Annotated[Path, typer.Argument(metavar="BUNDLE", help="Directory of a bundle, from `sightline train`.")]
Device = Annotated[str, typer.Option(help="auto, cpu or cuda.")]
AsJson = Annotated[bool, typer.Option("--json", help="One JSON object on standard output, nothing else there.")]
FalseReject = Annotated[
    float | None, typer.Option(help="Rate at which good parts may fail; by default 1 %, or the least possible.")
]
Ignore = Annotated[Path | None, typer.Option(help="Picture of a frame's size: what is white in it is never judged.")]
MinArea = Annotated[int | None, typer.Option(min=1, help="Smallest defect, in cells of the anomaly map.")]
TopK = Annotated[int | None, typer.Option(min=1, help="The score is the mean of so many highest cells; at first 5.")]


def to_stderr() -> Console:
    """Where everything goes that is not the answer."""
    return Console(stderr=True, soft_wrap=True, highlight=False)


@contextmanager
def bars(console: Console) -> Iterator[Callable[[str, int, int], None]]:
    """Progress bars, one for each thing that goes on; silent where nobody watches."""
    columns = (TextColumn("{task.description:10}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, disable=not sys.stderr.isatty()) as progress:
        tasks: dict[str, TaskID] = {}

        def tell(what: str, done: int, total: int) -> None:
            if what not in tasks:
                tasks[what] = progress.add_task(what, total=total)
            progress.update(tasks[what], completed=done, total=total)

        yield tell


def finite(value: object) -> object:
    """The same for JSON, which has no word for numbers that are not finite: null."""
    if isinstance(value, dict):
        return {key: finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
