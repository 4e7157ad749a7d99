"""`sightline replay`: its flags, and what they come to."""

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from producers.keys_cli import key_path

if TYPE_CHECKING:
    from producers.recording.folder import Recording
    from producers.recording.replay import Replay
    from producers.settings import PublisherSettings


def replay(
    place: Annotated[Path, typer.Argument(help="A recording, NAME.mcap, or a folder of them.")],
    speed: Annotated[
        str, typer.Option(help="1: the original timing; 2, 0.5; max: as fast as workers take them.")
    ] = "1",
    camera: Annotated[list[str] | None, typer.Option(help="Only of this camera; may be given again.")] = None,
    since: Annotated[
        str | None, typer.Option("--from", help="90s, 5m or 2h from the start, or a time: 2026-05-04T13:30 (UTC).")
    ] = None,
    until: Annotated[str | None, typer.Option("--to", help="Likewise.")] = None,
    only: Annotated[str | None, typer.Option(help="Frames whose recorded verdict is this: pass or fail.")] = None,
    loop: Annotated[bool, typer.Option("--loop", help="Start again after the last frame.")] = False,
    keep_budget: Annotated[bool, typer.Option("--keep-budget", help="Give frames the budget that they had.")] = False,
    work: Annotated[str, typer.Option(help="Endpoint that workers dial; no camera's, by default.")] = (
        "tcp://127.0.0.1:5565"
    ),
    live: Annotated[str, typer.Option(help="Endpoint that viewers dial.")] = "tcp://127.0.0.1:5566",
    key: Annotated[
        Path | None,
        typer.Option(parser=key_path, metavar="PATH", help="As of sightline camera.", envvar="SIGHTLINE_KEY"),
    ] = None,
    insecure: Annotated[bool, typer.Option("--insecure", help="As of sightline camera.")] = False,
    wait_s: Annotated[
        float, typer.Option(min=0, help="Wait so long at the beginning until each camera has a worker.")
    ] = 10.0,
    drain_s: Annotated[float, typer.Option(min=0, help="Seconds to wait at the end without a verdict.")] = 60.0,
    state: Annotated[Path | None, typer.Option(help="As of sightline camera, but a folder of replay's own.")] = None,
    to_dataset: Annotated[
        Path | None,
        typer.Option(help="Write the frames as pictures to train with instead (MVTec layout), by their verdicts."),
    ] = None,
    log_level: Annotated[str, typer.Option(help="debug, info, warning or error.")] = "info",
) -> int:
    """Publish a recording's frames again: the same bytes and headers, in their original timing.

    Every frame is marked simulated, belongs to a new session, and names the recorded frame as its original. It has no
    budget unless --keep-budget is given. What was recorded without pixels is left out. Several cameras have an endpoint
    each: the second one's port is two higher.

    The endpoints are not those of a camera, so that no worker of the line takes these frames by accident. Give the
    replay a worker whose settings name another line, and these endpoints.

    --to-dataset DIR publishes nothing. Frames whose recorded verdict is pass become train/good, every fifth of them
    test/good; defects become test/defect; all others are left out.

    Exit code 0 only if every frame has a stored verdict. Ctrl-C or SIGTERM: no more frames, wait for the verdicts.
    """
    from producers.daemon import configure_logging
    from producers.recording.daemon import run
    from producers.recording.folder import Recording

    configure_logging(log_level)
    recording = Recording(place, tell=_tell)
    chosen, counts = select(
        recording, cameras=camera, since=since, until=until, only=only, speed=speed, loop=loop, keep_budget=keep_budget
    )
    if to_dataset is not None:
        return _write_dataset(chosen, to_dataset, total=sum(counts.values()))
    settings = _publishers(sorted(counts), work=work, live=live, key=key, insecure=insecure, state=state)
    total = None if loop or since or until or only else sum(counts.values())
    return run(chosen, settings, total=total, wait_s=wait_s, drain_s=drain_s)


def select(
    recording: "Recording",
    *,
    cameras: list[str] | None,
    since: str | None,
    until: str | None,
    only: str | None,
    speed: str = "max",
    loop: bool = False,
    keep_budget: bool = False,
) -> tuple["Replay", Counter[str]]:
    """What a person asked for, and how many frames each of the cameras has in all.

    Raises:
        SettingsError: a flag that can't be read.
        RecordingError: a camera that is not in the recording, or no verdicts to choose by.
    """
    from producers.errors import RecordingError, SettingsError
    from producers.recording.examine import examine
    from producers.recording.judged import said_of
    from producers.recording.message import PICTURES, Wanted
    from producers.recording.replay import Replay, speed_of

    if only not in (None, "pass", "fail"):
        raise SettingsError(f"--only is pass or fail, not {only}")
    pace = speed_of(speed)
    wanted = recording.between(Wanted(topics=PICTURES, cameras=cameras or ()), since, until)
    counts: Counter[str] = Counter()
    for path in recording.files:
        counts += examine(path, thoroughly=False).cameras
    if missing := sorted(set(cameras or ()) - set(counts)):
        raise RecordingError(f"camera {missing[0]} is not in the recording, which has {', '.join(sorted(counts))}")
    if cameras:
        counts = Counter({name: count for name, count in counts.items() if name in cameras})
    if only is None:
        return Replay(recording, wanted, pace, loop, keep_budget), counts
    said = {frame for frame, verdict in said_of(recording).items() if verdict.decision == only}
    return Replay(recording, wanted, pace, loop, keep_budget, said.__contains__), counts


def _write_dataset(replay: "Replay", folder: Path, *, total: int) -> int:
    from producers.camera import shown
    from producers.recording.dataset import write_dataset
    from producers.recording.judged import said_of

    with shown(total) as advance:
        counts = write_dataset(replay, said_of(replay.recording), folder, written=advance)
    print(f"{folder}: " + ", ".join(f"{count} {place}" for place, count in sorted(counts.items())))
    return 0


def _publishers(
    cameras: list[str], *, work: str, live: str, key: Path | None, insecure: bool, state: Path | None
) -> "list[PublisherSettings]":
    from pydantic import ValidationError

    from producers.errors import SettingsError
    from producers.frame import first_fault
    from producers.journal import default_state
    from producers.publisher import PublisherSettings
    from producers.recording.daemon import endpoints

    ends = zip(cameras, endpoints(work, len(cameras)), endpoints(live, len(cameras)), strict=True)
    where = state or default_state() / "replay"  # the camera's own journal may be in use just now
    try:
        return [
            PublisherSettings(camera=camera, work=one, live=two, key=key, insecure=insecure, state=where)
            for camera, one, two in ends
        ]
    except ValidationError as error:
        raise SettingsError(first_fault(error)) from error


def _tell(sentence: str) -> None:
    import structlog

    structlog.get_logger("replay").warning(sentence)
