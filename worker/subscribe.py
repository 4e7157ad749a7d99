"""How `sightline subscribe` shows a verdict: a line for people, or JSON for machines."""

import json
import os
import socket
from pathlib import Path

from rich.console import Console

from model.picture import paint, write_png
from worker.heatmap import severity_map
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
        if self._maps is not None and verdict.map is not None:
            height, width = verdict.map.size
            severity = severity_map(verdict, height=height, width=width)
            if severity is not None:
                name = f"{verdict.tag.camera}_{verdict.tag.session[:8]}_{verdict.tag.seq:08d}.png"
                write_png(self._maps / name, paint(severity))


def default_consumer() -> str:
    """A name for this reader that no other process of the group has."""
    return f"{socket.gethostname()}-{os.getpid()}"


def line(verdict: Verdict) -> str:
    """A verdict in one line, with console markup."""
    word = "[green]pass[/]" if verdict.passed else f"[red]fail {verdict.reason.word}[/]"
    severity = "" if verdict.severity is None else f"  severity {verdict.severity:.2f}"
    part = f"  {verdict.tag.part_id}" if verdict.tag.part_id else ""
    simulated = "  (simulated)" if verdict.tag.simulated else ""
    return f"{verdict.tag.camera} {verdict.tag.seq:6}  {word}{severity}{part}{simulated}  {verdict.note}".rstrip()
