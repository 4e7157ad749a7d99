"""`sightline bench replay`: whether a replay is what was recorded."""

import json
from typing import Annotated

import typer

from model.cli.screen import AsJson, bars, to_stderr
from producers.daemon import ExitCode


def replay(
    frames: Annotated[int, typer.Option(min=10, help="Of both cameras together.")] = 1000,
    rate: Annotated[float, typer.Option(min=1, help="Frames a second of each camera.")] = 200.0,
    as_json: AsJson = False,
) -> int:
    """Record two cameras, replay them, and compare every byte and every moment.

    256 x 256 x 3 raw frames. What arrives from the replay is held to an account of what the publishers were handed,
    which no recording had a part in. Exit code 0 only if all of it is the same. Nothing outlives the command.
    """
    from worker.bench.replay import bench_replay
    from worker.demo.processes import interrupt_on_sigterm

    interrupt_on_sigterm()
    with bars(to_stderr()) as progress:
        found = bench_replay(frames, rate=rate, progress=progress)
    if as_json:
        print(json.dumps(found.to_json()))
    else:
        same = "all identical" if found.identical else f"{found.differences} differ, {found.dropped} dropped"
        print(f"{found.frames} frames, {found.mib:.0f} MiB, recorded at {found.recorded_fps:.0f}/s: {same}")
        spans = (found.timing_error_p50_ms, found.timing_error_p99_ms, found.timing_error_max_ms)
        print("timing error at speed 1: p50 {:.2f} ms, p99 {:.2f} ms, at most {:.2f} ms".format(*spans))
        print(f"at full speed {found.max_fps:.0f} frames/s, on {found.machine}")
    return ExitCode.OK if found.identical else ExitCode.NO
