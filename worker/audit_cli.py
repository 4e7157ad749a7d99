"""`sightline audit`: its flags, and its table for people."""

import json
import re
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Table

from producers.daemon import ExitCode
from producers.errors import SettingsError

if TYPE_CHECKING:  # it brings Redis, and every command would wait for that
    from worker.audit import Audit, Range, Ranges, SessionReport

UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}
SHOWN_RANGES = 5


def seconds(text: str) -> float:
    """A duration as people write it: `90s`, `30m`, `8h`, `7d`.

    Raises:
        SettingsError: it is none.
    """
    found = re.fullmatch(r"(\d{1,9}(?:\.\d{1,9})?)([smhd])", text)
    if not found:
        raise SettingsError(f"{text[:50]!r} is no duration: write 90s, 30m, 8h or 7d")
    return float(found[1]) * UNITS[found[2]]


def audit(
    redis: Annotated[str, typer.Option(help="Redis of the line.", envvar="SIGHTLINE_REDIS")] = (
        "redis://127.0.0.1:6379/0"
    ),
    line: Annotated[str, typer.Option(help="Name of the line.", envvar="SIGHTLINE_LINE")] = "line",
    since: Annotated[str | None, typer.Option(help="Only what was stored within 8h, say; by default all.")] = None,
    window: Annotated[
        str, typer.Option(help="A frame may be on its way for so long: cameras keep it until its verdict is stored.")
    ] = "2m",
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object on standard output.")] = False,
) -> int:
    """Look for frames without a verdict, and for frames with two.

    A seq below the highest of its session that has no verdict, and that is older than the window, is an alarm; a
    younger one is in flight. What was stored once and is trimmed from the stream is told from what never was. A camera
    whose frames all stay without a verdict shows nowhere in Redis: its own metrics count those.

    Exit codes: 0 all is well; 1 an alarm: a verdict is missing, a frame has two, or an entry is no verdict; 2 a flag;
    4 Redis is not there.
    """
    from worker.auditor import Auditor

    since_s, window_s = seconds(since) if since else None, seconds(window)
    auditor = Auditor(redis, line)
    found = auditor.audit(since_s=since_s, window_s=window_s)
    auditor.close()
    if as_json:
        print(json.dumps(found.to_json()))
    else:
        show(found, Console(highlight=False, soft_wrap=True))
    return ExitCode.NO if found.alarms else ExitCode.OK


def show(found: "Audit", console: Console) -> None:
    """Prints a table with a row for each session, then what is wrong."""
    table = Table(box=None, pad_edge=False)
    table.add_column("camera")
    table.add_column("session")
    for name in ("first", "last", "verdicts", "pass", "fail", "missing", "in flight", "trimmed", "unknown", "twice"):
        table.add_column(name, justify="right")
    for session in found.sessions:
        table.add_row(*_row(session))
    console.print(table)
    for session in found.sessions:
        for what, ranges in (("without a verdict", session.missing), ("with more than one", session.repeated)):
            if ranges.count:
                console.print(f"{session.camera} {session.session[:8]}  {what}: {_listed(ranges)}", style="red")
    for example in found.examples:
        console.print(f"no verdict: {example}", style="red", markup=False)
    console.print(_summary(found), style="red" if found.alarms else "green")


def _row(session: "SessionReport") -> list[str]:
    alarm = [f"[red]{count}[/]" if count else "0" for count in (session.missing.count, session.duplicates)]
    plain = (session.first, session.last, session.verdicts, session.passed, session.verdicts - session.passed)
    rest = (session.in_flight.count, session.trimmed.count, session.unknown.count)
    return [session.camera, session.session[:8], *map(str, plain), alarm[0], *map(str, rest), alarm[1]]


def _listed(ranges: "Ranges") -> str:
    named = ", ".join(_range(one) for one in ranges.named[:SHOWN_RANGES])
    return f"seq {named}" + (f", ... ({ranges.count} in all)" if len(ranges.named) > SHOWN_RANGES else "")


def _range(one: "Range") -> str:
    return str(one[0]) if one[0] == one[1] else f"{one[0]}-{one[1]}"


def _summary(found: "Audit") -> str:
    if found.alarms:
        return "alarm: " + ", ".join(f"{count} {what}" for what, count in found.alarms.items())
    return f"{found.entries} verdicts: none is missing, none is there twice"
