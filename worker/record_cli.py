"""`sightline record`: frames from live sockets, and verdicts from Redis, into a recording."""

import json
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated

import typer

from producers.daemon import ExitCode
from producers.keys_cli import key_path


def record(
    out: Annotated[Path, typer.Option(help="A new file NAME.mcap, or a folder, which gets one file after the other.")],
    live: Annotated[
        list[str] | None, typer.Option(help="A camera's live endpoint, tcp://HOST:PORT; may be given again.")
    ] = None,
    redis: Annotated[str | None, typer.Option(help="Record the verdicts of this Redis's line, too.")] = None,
    line: Annotated[str, typer.Option(help="Name of that line.", envvar="SIGHTLINE_LINE")] = "line",
    name: Annotated[str, typer.Option(help="First word of the files in a folder.")] = "recording",
    window_s: Annotated[
        float | None, typer.Option(help="A power cut loses what is younger than this; default 1.")
    ] = None,
    file_mib: Annotated[
        float | None, typer.Option(min=1, help="The next file after so many MiB; default 1024.")
    ] = None,
    file_minutes: Annotated[float | None, typer.Option(help="The next file after so long; default 60.")] = None,
    disk_gib: Annotated[
        float | None, typer.Option(help="Files of this name together; the oldest are removed. By default no limit.")
    ] = None,
    compression: Annotated[str, typer.Option(help="none, lz4 or zstd.")] = "none",
    key: Annotated[
        Path | None,
        typer.Option(parser=key_path, metavar="PATH", help="File of this viewer's key pair.", envvar="SIGHTLINE_KEY"),
    ] = None,
    server_key: Annotated[
        list[Path] | None, typer.Option(help="A camera's .pub file, for each --live in turn, if they have keys.")
    ] = None,
    count: Annotated[int | None, typer.Option(min=1, help="End after so many frames.")] = None,
    linger_s: Annotated[float, typer.Option(min=0, help="Wait so long for the last verdicts.")] = 2.0,
    log_level: Annotated[str, typer.Option(help="debug, info, warning or error.")] = "info",
    as_json: Annotated[bool, typer.Option("--json", help="What came of it, as one JSON object.")] = False,
) -> int:
    """Record cameras from their live sockets, and the verdicts beside them, until Ctrl-C or SIGTERM.

    The live socket is best effort: what is missed is counted, and exit code 1 says that there was any, or that the
    verdicts could not be followed to the end. To miss nothing, record in the camera itself (sightline camera --record
    FOLDER), and the verdicts alone here: --redis without --live, into the same folder.

    MCAP files, which Foxglove opens; every frame's header and pixels as they travelled. A file that was cut off is
    read up to its last chunk. A disk that is full stops the recording, not the line; it is tried again.
    """
    from producers.daemon import configure_logging, stop_requested
    from producers.errors import SettingsError
    from producers.keys import read_pair
    from producers.recording.listening import listen
    from producers.recording.recorder import Recorder
    from producers.recording.settings import RecordingSettings
    from producers.watching import Watcher, live_ends

    configure_logging(log_level)
    if not live and redis is None:
        raise SettingsError("there is nothing to record: give --live ENDPOINT, or --redis URL, or both")
    settings = RecordingSettings.of(
        out=out,
        name=name,
        window_s=window_s,
        file_mib=file_mib,
        file_minutes=file_minutes,
        disk_gib=disk_gib,
        compression=compression,
    )
    ends = live_ends(live or [], server_key or [])
    pair = None if key is None else read_pair(key)
    with ExitStack() as stack:
        stopping = stack.enter_context(stop_requested())
        watcher = stack.enter_context(Watcher(ends, topic="frame", key=pair))
        recorder = stack.enter_context(Recorder(settings))
        tap = None
        if redis is not None:
            from worker.recording import VerdictTap

            tap = stack.enter_context(VerdictTap(redis, line, recorder, linger_s=linger_s))

        def over(frames: int) -> bool:
            nothing_left = tap is not None and tap.failed and not live
            return stopping() or nothing_left or (count is not None and frames >= count)

        heard = listen(watcher, recorder, until=over)
    counts = recorder.counts()
    found = {"frames": heard.frames, "missed": heard.missed, "verdicts": tap.verdicts if tap else 0, **counts}
    if as_json:
        print(json.dumps(found))
    else:
        print(f"{out}: " + ", ".join(f"{value} {what}" for what, value in found.items()))
    failed = tap is not None and tap.failed
    return ExitCode.NO if heard.missed or counts["dropped"] or failed else ExitCode.OK
