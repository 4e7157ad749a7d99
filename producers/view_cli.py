"""`sightline view`: cameras at a glance, in a terminal."""

import json
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.live import Live
from rich.markup import escape
from rich.table import Table

from producers.keys_cli import key_path

Show = Callable[[Sequence[dict[str, Any]]], object]
TICK_MS = 100
COLUMNS = ("camera", "state", "frames/s", "frames", "missed", "seq", "session", "picture", "age ms", "recipe", "part")
NUMBERS = ("frames/s", "frames", "missed", "seq", "age ms")


def view(
    endpoints: Annotated[list[str], typer.Argument(metavar="ENDPOINT...", help="Live endpoints: tcp://HOST:PORT.")],
    key: Annotated[
        Path | None,
        typer.Option(parser=key_path, metavar="PATH", help="File of this viewer's key pair.", envvar="SIGHTLINE_KEY"),
    ] = None,
    server_key: Annotated[
        list[Path] | None, typer.Option(help="A camera's .pub file, for each endpoint in turn, if they have keys.")
    ] = None,
    every_s: Annotated[float, typer.Option(min=0.05, help="Seconds between two looks.")] = 1.0,
    looks: Annotated[int | None, typer.Option(min=1, help="End after so many.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a camera and look, one a line.")] = False,
) -> int:
    """Watch cameras: how many frames come, how many were missed, and what the last one is.

    Only headers are watched, so that it costs the line next to nothing; best effort, as every viewer. A camera that is
    not there yet is waited for. Ctrl-C ends it.
    """
    from producers.daemon import configure_logging, stop_requested
    from producers.keys import read_pair
    from producers.viewing import View
    from producers.watching import Watcher, live_ends

    configure_logging("warning")
    ends = live_ends(endpoints, server_key or [])
    pair = None if key is None else read_pair(key)
    known, console = View(), Console(highlight=False)
    with (
        stop_requested() as stopping,
        Watcher(ends, topic="header", key=pair) as watcher,
        _showing(endpoints, console, as_json=as_json) as show,
    ):
        done, due = 0, time.monotonic() + every_s
        while not stopping() and done != looks:
            for seen in watcher.receive(min(TICK_MS, int(every_s * 1000))):
                known.add(seen.header, time.monotonic())
            if (now := time.monotonic()) >= due:
                show(known.rows(now, watcher.missed))
                done, due = done + 1, due + every_s
    return 0


@contextmanager
def _showing(endpoints: Sequence[str], console: Console, *, as_json: bool) -> Iterator[Show]:
    """How rows are shown here: to a machine, in a pipe, or on a terminal."""
    if as_json:
        yield _print_json
    elif not console.is_terminal:
        yield lambda rows: _print_lines(console, rows)
    else:
        with Live(_table([], endpoints), console=console, auto_refresh=False) as live:
            yield lambda rows: live.update(_table(rows, endpoints), refresh=True)


def _print_json(rows: Sequence[dict[str, Any]]) -> None:
    for row in rows:
        print(json.dumps(row), flush=True)


def _print_lines(console: Console, rows: Sequence[dict[str, Any]]) -> None:
    for row in rows:
        console.print("  ".join(filter(None, _cells(row))), soft_wrap=True)


def _table(rows: Sequence[dict[str, Any]], endpoints: Sequence[str]) -> Table:
    waiting = None if rows else f"waiting for {', '.join(endpoints)}"
    table = Table(box=None, pad_edge=False, caption=waiting)
    for column in COLUMNS:
        table.add_column(column, justify="right" if column in NUMBERS else "left")
    for row in rows:
        table.add_row(*_cells(row))
    return table


def _cells(row: dict[str, Any]) -> tuple[str, ...]:
    state = "[green]live[/]" if row["state"] == "live" else "[yellow]still[/]"
    missed = f"[red]{row['missed']}[/]" if row["missed"] else "0"
    height, width, channels = row["shape"]
    picture = f"{width} x {height} x {channels} {row['encoding']}"
    return (
        row["camera"],
        state + (" simulated" if row["simulated"] else ""),
        f"{row['fps']:.1f}",
        str(row["frames"]),
        missed,
        str(row["seq"]),
        row["session"][:8],
        picture,
        f"{row['age_ms']:.1f}",
        escape(row["recipe"] or ""),
        escape(row["part_id"] or ""),
    )
