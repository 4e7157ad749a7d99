"""What `producers` brings to the `sightline` command: `camera` and `parts`."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import track

from producers.daemon import configure_logging
from producers.keys_cli import key_path


def camera(
    source: Annotated[
        str,
        typer.Argument(
            help="A folder of pictures (searched below, too), one picture, a video file; usb:0 or /dev/video0; "
            "rtsp://..., http://... (MJPEG); aravis:NAME or aravis:IP; basler:SERIAL; push://HOST:PORT, push:///PATH."
        ),
    ],
    camera: Annotated[str, typer.Option(help="Name of this camera: [a-z0-9_-], at most 32.")],
    recipe: Annotated[str | None, typer.Option(help="What is inspected; by default the worker knows.")] = None,
    work: Annotated[
        str, typer.Option(help="Endpoint that workers dial.", envvar="SIGHTLINE_WORK")
    ] = "tcp://127.0.0.1:5555",
    live: Annotated[
        str, typer.Option(help="Endpoint that viewers dial.", envvar="SIGHTLINE_LIVE")
    ] = "tcp://127.0.0.1:5556",
    rate: Annotated[float, typer.Option(min=0, help="Pictures a second; 0: as fast as workers take them.")] = 0.0,
    loop: Annotated[bool, typer.Option("--loop", help="Start again after the last picture.")] = False,
    settings: Annotated[
        Path | None, typer.Option(help="TOML file: [features] of the camera, [shaping] of its pictures, [parts].")
    ] = None,
    feature: Annotated[
        list[str] | None,
        typer.Option(help="NAME=VALUE, goes before the file's: exposure_us=800, gain=6, trigger=Line1, ..."),
    ] = None,
    parts: Annotated[
        str | None,
        typer.Option(
            help="Which part a triggered camera's picture shows: counter, or a line each from tcp://HOST:PORT or "
            "serial:DEVICE@BAUD."
        ),
    ] = None,
    roi: Annotated[str | None, typer.Option(help="X,Y,WIDTH,HEIGHT: the part of the picture that is kept.")] = None,
    rotate: Annotated[int | None, typer.Option(help="Clockwise: 0, 90, 180 or 270.")] = None,
    scale: Annotated[float | None, typer.Option(help="Makes pictures smaller: 0.5 halves both sides.")] = None,
    encoding: Annotated[str | None, typer.Option(help="Of pictures on the wire: raw, png or jpeg.")] = None,
    budget_ms: Annotated[float | None, typer.Option(help="Milliseconds until a verdict is useless.")] = None,
    is_live: Annotated[
        bool | None,
        typer.Option(
            "--live-camera/--simulated",
            help="Whether a PASS may open the gate; by default only of a real camera's pictures.",
        ),
    ] = None,
    policy: Annotated[
        str | None,
        typer.Option(
            help="When too much is unanswered: block, or drop_oldest; by default a real camera drops, all else waits."
        ),
    ] = None,
    drain_s: Annotated[float, typer.Option(min=0, help="Seconds to wait at the end without a verdict.")] = 60.0,
    key: Annotated[
        Path | None,
        typer.Option(
            parser=key_path,
            metavar="PATH",
            help="File of this camera's key pair (sightline keys new): encrypts, and lets in only who is listed.",
            envvar="SIGHTLINE_KEY",
        ),
    ] = None,
    workers: Annotated[
        Path | None,
        typer.Option(
            help="Folder of .pub files: who may work; by default workers/ beside the key.", envvar="SIGHTLINE_WORKERS"
        ),
    ] = None,
    viewers: Annotated[
        Path | None,
        typer.Option(
            help="Folder of .pub files: who may watch; by default viewers/ beside the key.", envvar="SIGHTLINE_VIEWERS"
        ),
    ] = None,
    insecure: Annotated[
        bool, typer.Option("--insecure", help="Let other machines in without keys. Only on a network of your own.")
    ] = False,
    metrics: Annotated[
        str | None, typer.Option(help="HOST:PORT for /metrics, /readyz and /healthz; by default nowhere.")
    ] = None,
    state: Annotated[
        Path | None,
        typer.Option(
            help="Folder for the journal, which ends the frames of a camera that was killed; by default "
            "sightline in $XDG_STATE_HOME, ~/.local/state or %LOCALAPPDATA%.",
            show_default=False,
        ),
    ] = None,
    record: Annotated[
        Path | None, typer.Option(help="Record every frame: a new file NAME.mcap, or a folder for many.")
    ] = None,
    record_window_s: Annotated[
        float | None, typer.Option(help="A power cut loses what is younger than this; default 1.")
    ] = None,
    record_file_mib: Annotated[
        float | None, typer.Option(min=1, help="The next file after so many MiB; default 1024.")
    ] = None,
    record_disk_gib: Annotated[
        float | None,
        typer.Option(help="This camera's recordings there together; the oldest are removed. By default no limit."),
    ] = None,
    log_level: Annotated[str, typer.Option(help="debug, info, warning or error.")] = "info",
) -> int:
    """Publish a camera's pictures, or a folder's or a video's, and wait until each has its verdict.

    A camera or stream that is lost is opened anew until it is back; --metrics counts the gaps.

    push://127.0.0.1:5557 takes frames from a camera program in any language instead, until it is told to stop: each
    message is [header][payload], the header JSON with the keys shape, dtype, color, encoding.

    Frames are kept until a worker has stored their verdict; workers may come and go. Exit code 0 only if every frame
    has one. SIGTERM or Ctrl-C: no more frames, wait for the verdicts of those captured; a second one leaves at once.
    """
    from pydantic import ValidationError

    from producers.camera import run
    from producers.camera_settings import read_camera_settings
    from producers.choosing import choose_source
    from producers.errors import SettingsError
    from producers.journal import default_state
    from producers.publisher import PublisherSettings
    from producers.recording.settings import RecordingSettings

    configure_logging(log_level)
    wishes = read_camera_settings(
        settings, features=feature or (), parts=parts, roi=roi, rotate=rotate, scale=scale, encoding=encoding
    )
    chosen = choose_source(source, loop=loop, rate=rate, settings=wishes)
    fields = {
        "camera": camera,
        "work": work,
        "live": live,
        "recipe": recipe,
        "budget_ms": budget_ms,
        "simulated": chosen.simulated if is_live is None else not is_live,
        "policy": policy or chosen.policy,
        "shaping": wishes.shaping,
        "insecure": insecure,
        "state": state or default_state(),
        "key": key,
        "workers": workers,
        "viewers": viewers,
    }
    try:
        known = PublisherSettings.model_validate(fields)
    except ValidationError as error:
        first = error.errors()[0]
        raise SettingsError(f"--{str(first['loc'][0]).replace('_', '-')}: {first['msg']}") from error
    recording = None
    if record is not None:
        recording = RecordingSettings.of(
            out=record, name=camera, window_s=record_window_s, file_mib=record_file_mib, disk_gib=record_disk_gib
        )
    return run(chosen, known, drain_s=drain_s, metrics=metrics, record=recording)


def parts(
    out: Annotated[Path, typer.Argument(help="Folder to draw into; it must not exist yet, or be empty.")],
    train: Annotated[int, typer.Option(min=2, help="Good parts to learn from.")] = 100,
    good: Annotated[int, typer.Option(min=0, help="Good parts to test with.")] = 60,
    bad: Annotated[int, typer.Option(min=0, help="Bad parts to test with.")] = 60,
    seed: Annotated[int, typer.Option(help="Of everything drawn.")] = 0,
) -> int:
    """Draw machined parts, good and bad, as a folder to train and test with (MVTec layout)."""
    from producers.errors import SourceError
    from producers.parts import draw_dataset

    if out.exists() and any(out.iterdir()):
        raise SourceError(f"{out} is not empty: choose another folder")
    console = Console(stderr=True)
    steps = iter(track(range(train + good + bad), "drawing parts", console=console, disable=not console.is_terminal))
    draw_dataset(out, train=train, good=good, bad=bad, seed=seed, progress=lambda done, total: next(steps, None))
    console.print(f"drew {train} good parts to train with, {good} good and {bad} bad ones to test with, into {out}")
    return 0
