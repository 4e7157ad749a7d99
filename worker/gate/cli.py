"""`sightline gate`: its flags."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from producers.daemon import ExitCode, configure_logging, load_settings
from producers.errors import SettingsError


def gate(
    config: Annotated[
        Path | None, typer.Option(help="TOML file: line, redis, views, window_ms and more, as deploy/gate.toml.")
    ] = None,
    name: Annotated[str | None, typer.Option(help="Of the gate; of gateways with one name, one works.")] = None,
    redis: Annotated[str | None, typer.Option(help="Redis of the line.")] = None,
    registers: Annotated[
        bool, typer.Option("--registers", help="Print the map of Modbus registers as CSV, and end.")
    ] = False,
    log_level: Annotated[str | None, typer.Option(help="debug, info, warning or error.")] = None,
) -> int:
    """Tell a PLC, part by part, whether the reject gate may open: only on an explicit PASS of every view.

    The PLC triggers each part with a number, the cameras send the same number (or a part id) with their frames, and
    each part ends as one result: open, or not and why. A part opens the gate only if every view has a PASS that is
    matched by that number, taken live, read while the part's timer (window_ms) runs, and still valid by Redis's clock.
    Silence is reject. A frame needs a budget for that: sightline camera --live-camera --budget-ms 500.

    At the start, after an outage of Redis or of the PLC, a new start of a camera, a step of Redis's clock or a jump of
    the trigger's number it is out of step, and rejects every part until the PLC says so or three parts in a row were in
    time.

    A second gateway of the same name stands by and takes over when the first is gone.

    SIGTERM: give the gate up, leave. A second one leaves at once.

    Exit codes: 0 it was told to leave; 1 a crash; 2 settings; 4 Redis is not there at the start; 5 an address is in
    use; 143 or 130 a second SIGTERM or SIGINT.
    """
    if registers:
        from worker.gate.registers import to_csv

        sys.stdout.write(to_csv())
        return ExitCode.OK
    if config is None:
        raise SettingsError("--config is missing: a TOML file like deploy/gate.toml")
    from worker.gate.settings import GateSettings

    settings = load_settings(GateSettings, config, {"name": name, "redis": redis, "log_level": log_level})
    configure_logging(settings.log_level)
    from worker.gate.daemon import run

    return run(settings)
