"""`sightline compare`: its flags, and its table for people."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from model.cli.screen import AsJson, Device, bars, to_stderr
from producers.daemon import ExitCode

if TYPE_CHECKING:
    from producers.recording.folder import Recording
    from producers.recording.replay import RecordedCapture, Replay
    from worker.compare.changes import Comparison
    from worker.compare.opinion import Opinion

Progress = Callable[[str, int, int], None]

SOURCE = (
    "a bundle's directory, a recording with verdicts, a file of `sightline subscribe --json`, or line:NAME in --redis"
)
LINE = "line:"
SHOWN = 50


def compare(
    place: Annotated[Path, typer.Argument(help="A recording, NAME.mcap, or a folder of them.")],
    against: Annotated[str, typer.Option(help=f"Who is compared: {SOURCE}.")],
    base: Annotated[str | None, typer.Option(help="With whom; by default the verdicts in the recording.")] = None,
    redis: Annotated[str, typer.Option(help="Redis of a line:NAME.", envvar="SIGHTLINE_REDIS")] = (
        "redis://127.0.0.1:6379/0"
    ),
    camera: Annotated[list[str] | None, typer.Option(help="Only of this camera; may be given again.")] = None,
    since: Annotated[str | None, typer.Option("--from", help="As of sightline replay.")] = None,
    until: Annotated[str | None, typer.Option("--to", help="Likewise.")] = None,
    report: Annotated[
        Path | None, typer.Option(help="Folder for compare.html, with the pictures that changed.")
    ] = None,
    device: Device = "auto",
    as_json: AsJson = False,
) -> int:
    """Compare what two judges say of the same recorded frames: before and after a new bundle, say.

    A bundle judges the recorded frames now, one at a time; all others have judged them already. Frames are matched by
    their ids, a replayed one by its original's.

    Exit code 1 if a frame's decision or reason differs, or one side has no verdict for it. Scores alone are counted.
    """
    from producers.recording.folder import Recording
    from producers.recording.replay_cli import select
    from worker.compare.changes import compare as compare_opinions

    recording = Recording(place, tell=lambda text: to_stderr().print(text, style="yellow", markup=False))
    replay, counts = select(recording, cameras=camera, since=since, until=until, only=None)
    total = sum(counts.values())
    with bars(to_stderr()) as progress:
        said: dict[str, dict[str, Opinion]] = {}
        sides = {"before": base, "after": against}
        for side in sorted(sides, key=lambda side: is_bundle(sides[side])):  # what takes minutes comes last
            said[side] = opinions_of(
                sides[side], recording, replay, redis=redis, device=device, progress=progress, total=total
            )
    found = compare_opinions((capture.header for capture in replay.frames()), said["before"], said["after"])
    if report is not None:
        from worker.compare.page import write_page

        names = (str(place), base or "its own verdicts", against)
        to_stderr().print(f"report: {write_page(report, found, replay.frames(), names=names)}", markup=False)
    if as_json:
        print(json.dumps(found.to_json()))
    else:
        show(found, Console(highlight=False, soft_wrap=True))
    return ExitCode.OK if found.same else ExitCode.NO


def is_bundle(source: str | None) -> bool:
    """Whether a source is a bundle's directory."""
    return source is not None and (Path(source) / "manifest.json").is_file()


def opinions_of(
    source: str | None,
    recording: "Recording",
    replay: "Replay",
    *,
    redis: str,
    device: str,
    progress: Progress,
    total: int,
) -> "dict[str, Opinion]":
    """What a source says of the recorded frames.

    Raises:
        SettingsError: it is none.
    """
    from producers.errors import SettingsError
    from producers.recording.folder import Recording
    from producers.recording.settings import SUFFIX
    from worker.compare import sources

    if source is None:
        return sources.of_recording(recording)
    if source.startswith(LINE):
        return sources.of_line(redis, source.removeprefix(LINE))
    path = Path(source)
    if is_bundle(source):
        from worker.compare.rejudge import of_bundle

        return of_bundle(path, _told(replay, source, progress, total), device=device)
    if path.suffix == SUFFIX or (path.is_dir() and any(path.glob(f"*{SUFFIX}"))):
        return sources.of_recording(Recording(path))
    if path.is_file():
        return sources.of_file(path)
    raise SettingsError(f"{source} is nothing to compare with: expected {SOURCE}")


def _told(replay: "Replay", source: str, progress: Progress, total: int) -> "Iterator[RecordedCapture]":
    for done, capture in enumerate(replay.frames(), start=1):
        yield capture
        progress(Path(source).name[:10], done, total)


def show(found: "Comparison", console: Console) -> None:
    """Prints a row for each frame of which they say different things, then how many there are."""
    table = Table(box=None, pad_edge=False)
    for column in ("camera", "seq", "part", "before", "after"):
        table.add_column(column, justify="right" if column == "seq" else "left")
    for change in found.changes[:SHOWN]:
        frame = change.frame
        row = (frame.id.camera, str(frame.id.seq), escape(frame.part_id or ""), change.before.text, change.after.text)
        table.add_row(*row)
    if found.changes:
        console.print(table)
    if len(found.changes) > SHOWN:
        console.print(f"... and {len(found.changes) - SHOWN} more: --json and --report have them")
    kinds = ", ".join(f"{count} {kind}" for kind, count in found.kinds.most_common())
    changed = f"{len(found.changes)} changed ({kinds})" if found.changes else "none changed"
    console.print(f"{found.frames} frames, {found.compared} compared: {changed}")
    scores = f"{found.rescored} have another score, by {found.largest_score_change:.4g} at most"
    lacking = f"{found.without_before} have no verdict before, {found.without_after} none after"
    console.print(f"{scores}; {lacking}")
