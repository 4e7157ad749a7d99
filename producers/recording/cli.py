"""`sightline recordings`: what is in recordings, whether they are whole, and making them whole again."""

import json
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.progress import track
from rich.table import Table

from producers.daemon import ExitCode

if TYPE_CHECKING:
    from producers.recording.examine import FileReport

HELP = "Recordings: what is in them, whether they are whole, and making them whole again."

WIDTH = 160  # characters

Place = Annotated[Path, typer.Argument(help="A recording, NAME.mcap, or a folder of them.")]
AsJson = Annotated[bool, typer.Option("--json", help="One JSON object a file, one a line.")]


def list(place: Place, as_json: AsJson = False) -> int:  # noqa: A001 - named as it is typed
    """List recordings: cameras, frames, verdicts, when, and whether each was closed in order or is being written."""
    from producers.recording.folder import files_of

    return _show([_examined(path, place, thoroughly=False) for path in files_of(place)], as_json=as_json)


def check(place: Place, as_json: AsJson = False) -> int:
    """Read recordings to the last byte, and hold every picture to its checksum.

    Exit code 1 if one was cut off or anything in it can't be read; `sightline recordings repair` saves the rest. One
    that is being written is read as far as it goes. Seqs that are in no recording are counted, and are no damage:
    nobody recorded them.
    """
    from producers.recording.folder import files_of

    console = Console(stderr=True)
    paths = track(files_of(place), "reading", console=console, disable=not console.is_terminal)
    reports = [_examined(path, place, thoroughly=True) for path in paths]
    _show(reports, as_json=as_json)
    return ExitCode.OK if all(report.sound for report in reports) else ExitCode.NO


def repair(
    file: Annotated[Path, typer.Argument(help="A recording that was cut off or is damaged.")],
    keep: Annotated[bool, typer.Option("--keep", help="Keep the damaged file beside it, as NAME.damaged.")] = False,
) -> int:
    """Make a damaged recording whole: all that can be read goes into a new file, which takes its place.

    It needs as much room as the recording. If anything goes wrong the old file stays as it is. One that is being
    written just now is left alone.
    """
    from producers.recording.examine import examine
    from producers.recording.examine import repair as repair_file

    before = examine(file, thoroughly=False)
    if before.whole and before.sound:
        print(f"{file} is whole: nothing to do")
        return ExitCode.OK
    saved, report = repair_file(file, keep=keep)
    print(f"{file}: {saved} messages saved, {report.bytes} of {before.bytes} bytes")
    return ExitCode.OK


def _examined(path: Path, place: Path, *, thoroughly: bool) -> "FileReport":
    """What a file is like; one of many that can't be read at all is reported like the others."""
    from producers.errors import RecordingError
    from producers.recording.examine import FileReport, examine

    try:
        return examine(path, thoroughly=thoroughly)
    except RecordingError as error:
        if path == place:
            raise
        return FileReport(str(path), path.stat().st_size, whole=False, damaged=1, problems=[str(error)])


def _show(reports: "Sequence[FileReport]", *, as_json: bool) -> int:
    if as_json:
        for report in reports:
            print(json.dumps(report.to_json()))
        return ExitCode.OK
    table = Table(box=None, pad_edge=False)
    table.add_column("file")
    table.add_column("cameras")
    for name in ("frames", "verdicts", "MiB", "missing"):
        table.add_column(name, justify="right")
    for name in ("from", "for", "state"):
        table.add_column(name)
    for report in reports:
        table.add_row(*_row(report))
    width = None if sys.stdout.isatty() else WIDTH  # whoever reads it from a file wants whole names
    Console(highlight=False, width=width).print(table)
    for report in reports:
        for problem in report.problems:
            print(problem, file=sys.stderr)
    return ExitCode.OK


def _row(report: "FileReport") -> tuple[str, ...]:
    first = "" if report.first_ns is None else f"{datetime.fromtimestamp(report.first_ns / 1e9, UTC):%Y-%m-%d %H:%M:%S}"
    seconds = "" if report.last_ns is None else f"{(report.last_ns - (report.first_ns or 0)) / 1e9:.1f} s"
    damage = "cut off" if not report.whole and not report.writing else f"{report.damaged} damaged"
    good = "being written" if report.writing else "whole"
    return (
        Path(report.file).name,
        ", ".join(sorted(report.cameras)),
        str(sum(report.cameras.values())),
        str(report.messages["verdict"]),
        f"{report.bytes / 2**20:.1f}",
        str(report.missing),
        first,
        seconds,
        f"[green]{good}[/]" if report.sound else f"[red]{damage}[/]",
    )
