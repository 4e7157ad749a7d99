"""How `sightline subscribe` shows a verdict: a line for people, or JSON for machines."""

import json
import os
import socket
import sys
from pathlib import Path

from rich.console import Console
from rich.markup import escape

from model.picture import paint, write_png
from worker.errors import ResultError
from worker.heatmap import severity_map
from worker.notice import Notice, NoticeKind
from worker.verdict import Verdict


class Printer:
    """Shows verdicts on standard output.

    Attributes:
        shown: verdicts so far.

    Args:
        as_json: one JSON object a line.
        maps: folder for heat maps, or None.
    """

    def __init__(self, *, as_json: bool, maps: Path | None) -> None:
        self.shown = 0
        self._as_json, self._maps = as_json, maps
        self._console = Console(highlight=False, soft_wrap=True)
        if maps is not None:
            maps.mkdir(parents=True, exist_ok=True)

    def show(self, verdict: Verdict) -> None:
        """Prints one verdict and writes its heat map."""
        self.shown += 1
        if self._as_json:
            print(json.dumps(verdict.to_json()), flush=True)
        else:
            self._console.print(line(verdict))
        if self._maps is not None:
            self._write_map(self._maps, verdict)

    def say(self, notice: Notice) -> None:
        """Prints what the reader has to say besides: among the JSON, or on standard error."""
        if self._as_json:
            print(json.dumps(notice.to_json()), flush=True)
        else:
            print(notice.text, file=sys.stderr, flush=True)

    def _write_map(self, folder: Path, verdict: Verdict) -> None:
        if verdict.map is None:
            return
        height, width = verdict.map.size
        try:
            severity = severity_map(verdict, height=height, width=width)
        except ResultError as error:
            self.say(Notice(NoticeKind.UNREADABLE, f"{verdict.tag.id}: {error}", entry=verdict.entry))
            return
        if severity is not None:
            name = f"{verdict.tag.camera}_{verdict.tag.session[:8]}_{verdict.tag.seq:08d}.png"
            write_png(folder / name, paint(severity))


def default_consumer() -> str:
    """A name for this reader that no other process of the group has."""
    return f"{socket.gethostname()}-{os.getpid()}"


def line(verdict: Verdict) -> str:
    """A verdict in one line, with console markup."""
    word = "[green]pass[/]" if verdict.passed else f"[red]fail {verdict.reason.word}[/]"
    severity = "" if verdict.severity is None else f"  severity {verdict.severity:.2f}"
    part = f"  {escape(verdict.tag.part_id)}" if verdict.tag.part_id else ""
    simulated = "  (simulated)" if verdict.tag.simulated else ""
    again = "  (redelivered)" if verdict.redelivered else ""
    note = escape(verdict.note)
    return f"{verdict.tag.camera} {verdict.tag.seq:6}  {word}{severity}{part}{simulated}{again}  {note}".rstrip()
