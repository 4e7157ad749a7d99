"""The `sightline` command: the one place that sees every package. It imports late: the base install has no torch."""

import functools
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

import model.cli.bench
import model.cli.calibrate
import model.cli.export
import model.cli.judge
import model.cli.pretrain
import model.cli.reproduce
import model.cli.train
import model.cli.trust
import producers.cli
import producers.keys_cli
import producers.recording.cli
import producers.recording.replay_cli
import producers.view_cli
from producers.daemon import ExitCode
from worker import audit_cli, recipe_cli, record_cli
from worker.bench.cli import transport
from worker.bench.cli_faults import away, faults
from worker.bench.cli_gate import gate as bench_gate
from worker.bench.cli_latency import latency
from worker.bench.cli_line import line, soak, swap
from worker.bench.cli_replay import replay as bench_replay
from worker.compare import cli as compare_cli
from worker.gate.cli import gate

RedisUrl = Annotated[str, typer.Option(help="Redis of the line.", envvar="SIGHTLINE_REDIS")]
LineName = Annotated[str, typer.Option(help="Name of the line.", envvar="SIGHTLINE_LINE")]
DEFAULT_REDIS = "redis://127.0.0.1:6379/0"
EXTRAS = {
    "worker": ("torch", "torchvision", "safetensors", "sklearn", "scipy", "matplotlib", "jinja2"),
    "onnx": ("onnx", "onnxruntime", "onnxscript"),
    "record": ("mcap",),
    "plc": ("pymodbus",),
    "aravis": ("gi",),
    "basler": ("pypylon",),
    "demo": ("psutil",),
    "peers": ("anomalib",),
}
"""Which libraries an extra brings."""

app = typer.Typer(
    name="sightline",
    help="Inspects every part on a production line: one verdict a frame, and only an explicit pass opens the gate.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)


def exit_code(error: Exception) -> ExitCode | None:
    """The exit code that an error ends a command with; None for one that nobody meant to raise."""
    from model.errors import BundleError, ModelError
    from producers.errors import AddressTaken, ProducersError, SettingsError
    from worker.errors import EngineBroken, RecipeMissing, ResultsUnavailable, StageFailed, WorkerError

    codes: list[tuple[type[Exception], ExitCode]] = [
        (SettingsError, ExitCode.SETTINGS),
        (BundleError, ExitCode.BUNDLE),
        (RecipeMissing, ExitCode.BUNDLE),
        (ResultsUnavailable, ExitCode.UNREACHABLE),
        (AddressTaken, ExitCode.ADDRESS_TAKEN),
        (EngineBroken, ExitCode.NO),
        (StageFailed, ExitCode.NO),
        (ProducersError, ExitCode.DATA),
        (ModelError, ExitCode.DATA),
        (WorkerError, ExitCode.DATA),
    ]
    return next((code for kind, code in codes if isinstance(error, kind)), None)


def _missing(error: ImportError) -> str | None:
    """The install that brings a missing library, as a sentence; None if it is one of our own."""
    library = (error.name or "").split(".")[0]
    extra = next((extra for extra, libraries in EXTRAS.items() if library in libraries), None)
    return extra and f"this command needs {error.name}: install it with pip install 'sightline[{extra}]'"


def command(function: Callable[..., int], into: typer.Typer | None = None) -> None:
    """Registers a command: what it returns is the exit code, what it raises becomes one sentence and a named code."""

    @functools.wraps(function)
    def wrapped(*args: Any, **kwargs: Any) -> None:
        try:
            code: int = function(*args, **kwargs)
        except Exception as error:
            sentence: str | None = str(error)
            named = exit_code(error)
            if isinstance(error, ImportError):
                sentence, named = _missing(error), ExitCode.SETTINGS
            if named is None or sentence is None:
                raise
            print(f"sightline {function.__name__}: {sentence}", file=sys.stderr)
            code = named
        raise typer.Exit(int(code))

    (into or app).command(name=function.__name__)(wrapped)


def worker(
    config: Annotated[Path, typer.Option(help="TOML file: line, redis, recipes, [cameras.NAME].")],
    name: Annotated[str | None, typer.Option(help="Of this worker, unique on the line.")] = None,
    redis: Annotated[str | None, typer.Option(help="Redis of the line.")] = None,
    max_batch: Annotated[int | None, typer.Option(help="Frames in a batch at most.")] = None,
    device: Annotated[str | None, typer.Option(help="auto, cpu or cuda.")] = None,
    engine: Annotated[str | None, typer.Option(help="auto, torch or openvino.")] = None,
    log_level: Annotated[str | None, typer.Option(help="debug, info, warning or error.")] = None,
) -> int:
    """Judge the frames of one or more cameras, day and night.

    SIGTERM: take no more frames, judge and store those in hand, leave. A second one leaves at once.

    Exit codes: 0 it was told to leave, and drained; 1 the engine is broken (it fails on one frame after another), or
    a crash; 2 settings; 3 a bundle is missing or damaged; 4 Redis is not there at the start; 5 the address for metrics
    is in use; 6 no such device or engine here; 143 or 130 a second SIGTERM or SIGINT.

    Under systemd (Type=notify) it says when it is ready, and its work loop feeds the watchdog.
    """
    from producers.daemon import configure_logging, load_settings
    from worker.settings import WorkerSettings

    flags = {
        "name": name,
        "redis": redis,
        "max_batch": max_batch,
        "device": device,
        "engine": engine,
        "log_level": log_level,
    }
    settings = load_settings(WorkerSettings, config, flags)
    configure_logging(settings.log_level)
    from worker.daemon import run

    return run(settings)


def subscribe(
    redis: RedisUrl = DEFAULT_REDIS,
    line: LineName = "line",
    start: Annotated[
        str | None,
        typer.Option("--from", help="now, 0 for the oldest, or an entry's id; by default now, with --group 0."),
    ] = None,
    count: Annotated[int | None, typer.Option(min=1, help="End after so many verdicts.")] = None,
    group: Annotated[str | None, typer.Option(help="Share the verdicts: each goes to one reader of the group.")] = None,
    consumer: Annotated[
        str | None, typer.Option(help="Name of this reader within the group; by default its host and process.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a line.")] = False,
    maps: Annotated[Path | None, typer.Option(help="Folder for heat maps, one PNG a verdict that has one.")] = None,
    camera: Annotated[list[str] | None, typer.Option(help="Only of this camera; may be given again.")] = None,
    decision: Annotated[str | None, typer.Option(help="Only these: pass or fail.")] = None,
    shadow: Annotated[bool, typer.Option("--shadow", help="Shadow verdicts, not those for the gate.")] = False,
) -> int:
    """Follow the verdicts of a line. Ctrl-C ends it.

    It ends at once if Redis is not there at the start; later it waits for Redis, and says so. What it has to say
    besides verdicts (outages, losses, entries that can't be read) goes to standard error, with --json among the
    verdicts, as an object with the one key "notice".
    """
    from producers.daemon import stop_requested
    from producers.errors import SettingsError
    from worker.line import LineKeys, ShadowKeys
    from worker.reader import ResultReader
    from worker.subscribe import Printer, default_consumer
    from worker.verdict import Decision

    if decision not in (None, *Decision):
        raise SettingsError(f"--decision is pass or fail, not {decision}")
    printer = Printer(as_json=as_json, maps=maps)
    reader = ResultReader(redis, line, say=printer.say, keys=ShadowKeys if shadow else LineKeys)
    reader.reach()
    wishes: dict[str, Any] = {"cameras": camera or (), "decision": Decision(decision) if decision else None}
    with stop_requested() as stopping:

        def over() -> bool:
            return stopping() or printer.shown == count

        if group:
            verdicts = reader.follow_group(
                group, consumer or default_consumer(), start=start or "0", until=over, **wishes
            )
        else:
            verdicts = reader.follow(start=start or "now", until=over, **wishes)
        for verdict in verdicts:
            printer.show(verdict)
    reader.close()
    return 0


def check(
    config: Annotated[Path | None, typer.Option(help="A worker's TOML file, to be tried out.")] = None,
    redis: Annotated[str | None, typer.Option(help="A Redis to try; by default the file's.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object on standard output.")] = False,
) -> int:
    """Say what is installed and from where; with --config, print the settings and try every connection.

    Exit code 0 if all is well, 1 if something that was tried is not.
    """
    from worker.check import examine

    findings = examine(config, redis)
    if as_json:
        print(json.dumps([finding.to_json() for finding in findings]))
    else:
        console = Console()
        for finding in findings:
            mark = {True: "[green]ok[/]  ", False: "[red]NO[/]  ", None: "    "}[finding.ok]
            console.print(mark, end="")
            console.print(f"{finding.what:18} {finding.detail}", highlight=False, soft_wrap=True, markup=False)
    return ExitCode.NO if any(finding.ok is False for finding in findings) else ExitCode.OK


def demo(
    data: Annotated[Path | None, typer.Option(help="Real pictures (MVTec layout) instead of drawn parts.")] = None,
    weights: Annotated[str, typer.Option(help="Of the backbone: auto, own, imagenet, random or a file.")] = "auto",
    steps: Annotated[int | None, typer.Option(min=1, help="Training steps; by default enough for the demo.")] = None,
    rate: Annotated[float, typer.Option(min=0, help="Frames a second; 0: as fast as the worker takes them.")] = 12.0,
    seed: Annotated[int, typer.Option(help="Of the parts and the training.")] = 0,
    out: Annotated[Path, typer.Option(help="Folder for the bundle, the contact sheet and the summary.")] = Path(
        "sightline-demo"
    ),
    as_json: Annotated[bool, typer.Option("--json", help="The summary as one JSON object on standard output.")] = False,
) -> int:
    """The whole line on this machine, in about a minute: Redis, camera, worker, reader.

    Draws parts, learns from the good ones, inspects good and bad ones, and sums up. Exit code 0 only if every frame
    has exactly one verdict. Everything it starts is gone when it ends.
    """
    from worker.demo.run import DemoSettings, run

    return run(DemoSettings(data=data, weights=weights, steps=steps, rate=rate, seed=seed, out=out, as_json=as_json))


for function in (
    demo,
    producers.cli.camera,
    worker,
    subscribe,
    gate,
    audit_cli.audit,
    record_cli.record,
    producers.recording.replay_cli.replay,
    compare_cli.compare,
    check,
    producers.view_cli.view,
    producers.cli.parts,
    model.cli.train.train,
    model.cli.pretrain.pretrain,
    model.cli.calibrate.calibrate,
    model.cli.judge.evaluate,
    model.cli.judge.inspect,
    model.cli.trust.suspects,
    model.cli.trust.challenge,
    model.cli.trust.repeatability,
    model.cli.trust.limits,
    model.cli.reproduce.reproduce,
    model.cli.export.export,
):
    command(function)
bench = typer.Typer(help="Measure speed, as ratios within one run; break the line, and count.", no_args_is_help=True)
app.add_typer(bench, name="bench")
command(model.cli.bench.model, into=bench)
command(model.cli.bench.peers, into=bench)
command(faults, into=bench)
command(away, into=bench)
keys = typer.Typer(help=producers.keys_cli.HELP, no_args_is_help=True)
app.add_typer(keys, name="keys")
command(producers.keys_cli.new, into=keys)
command(producers.keys_cli.list, into=keys)
command(transport, into=bench)
command(line, into=bench)
command(soak, into=bench)
command(swap, into=bench)
command(bench_replay, into=bench)
command(bench_gate, into=bench)
command(latency, into=bench)
recipe = typer.Typer(help=recipe_cli.HELP, no_args_is_help=True)
app.add_typer(recipe, name="recipe")
command(recipe_cli.list, into=recipe)
command(recipe_cli.check, into=recipe)
command(recipe_cli.activate, into=recipe)
command(recipe_cli.rollback, into=recipe)
recordings = typer.Typer(help=producers.recording.cli.HELP, no_args_is_help=True)
app.add_typer(recordings, name="recordings")
command(producers.recording.cli.list, into=recordings)
command(producers.recording.cli.check, into=recordings)
command(producers.recording.cli.repair, into=recordings)


def main() -> None:
    """Entry point of the console command."""
    app()


if __name__ == "__main__":
    main()
