"""`sightline bench faults` and `away`: the line is broken on purpose, and every frame counted."""

import json
from collections.abc import Mapping
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from model.cli.screen import AsJson, bars, to_stderr
from producers.daemon import ExitCode, configure_logging

Seed = Annotated[int, typer.Option(help="Of the pictures, and of what is broken when.")]


def faults(
    frames: Annotated[int, typer.Option(min=100, help="Frames to publish.")] = 20_000,
    seed: Seed = 0,
    as_json: AsJson = False,
) -> int:
    """Kill workers and Redis again and again while frames are judged, and count the verdicts.

    One camera, two workers with no network (a frame's first pixel decides), a Redis of its own that syncs each write.
    Each worker is killed 20 times with a frame in hand (once every 50 frames in shorter runs), Redis three times. Exit
    code 0 only if each frame has exactly one verdict, and none says what the pixels don't.
    """
    from worker.bench.faults import run_faults
    from worker.demo.processes import interrupt_on_sigterm

    interrupt_on_sigterm()
    configure_logging("error")
    with bars(to_stderr()) as progress:
        report = run_faults(frames, seed=seed, progress=progress)
    show("every frame has one verdict, whatever dies", report.to_json(), as_json=as_json)
    return ExitCode.OK if report.tally.whole else ExitCode.NO


def away(
    seconds: Annotated[float, typer.Option(min=0.5, help="That Redis is away.")] = 60.0,
    rate: Annotated[float, typer.Option(min=1, help="Frames a second.")] = 100.0,
    seed: Seed = 0,
    as_json: AsJson = False,
) -> int:
    """Take Redis away while a camera goes on, give it back, and count the verdicts.

    Says how long after its return the last verdict that waited is stored, and how long the camera ever had to wait.
    Exit code 0 only if each frame has exactly one verdict, and none was lost.
    """
    from worker.bench.away import run_away
    from worker.demo.processes import interrupt_on_sigterm

    interrupt_on_sigterm()
    configure_logging("error")
    with bars(to_stderr()) as progress:
        report = run_away(seconds, rate, seed=seed, progress=progress)
    show(f"Redis away for {seconds:g} s at {rate:g} frames/s", report.to_json(), as_json=as_json)
    return ExitCode.OK if report.tally.whole and "lost" not in report.tally.by_reason else ExitCode.NO


def show(title: str, found: Mapping[str, object], *, as_json: bool) -> None:
    """What a bench counted: an object for machines, else a table."""
    if as_json:
        print(json.dumps(found))
        return
    table = Table(title=title, show_header=False)
    table.add_column("")
    table.add_column("", justify="right")
    for name, value in found.items():
        text = ", ".join(f"{count} {word}" for word, count in value.items()) if isinstance(value, dict) else str(value)
        table.add_row(name.replace("_", " "), "none" if value is None else text or "none")
    Console().print(table)
