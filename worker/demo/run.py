"""The demo, from nothing to a summary: every step is the command or the library call that a user would make."""

import json
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import track

from model.dataset import TestPicture, good_pictures, read_image, test_pictures
from model.errors import DataError
from model.picture import to_bgr, write_png
from producers.daemon import ExitCode
from producers.parts import draw_dataset
from worker.demo.processes import Processes, free_ports, interrupt_on_sigterm
from worker.demo.screen import Screen
from worker.demo.sheet import contact_sheet
from worker.demo.summary import summarise
from worker.errors import WorkerError
from worker.line import LineKeys, connect, redis_errors
from worker.reader import ResultReader
from worker.verdict import Verdict

LINE = "demo"
CAMERA = "cam1"
WORKER = "demo"
TRAIN_PARTS, GOOD_PARTS, BAD_PARTS = 100, 60, 60
DEMO_STEPS = 200


@dataclass(frozen=True)
class DemoSettings:
    """What the demo is told.

    Attributes:
        data: real pictures (MVTec layout), or None for drawn parts.
        weights: of the backbone, as for `sightline train`.
        steps: of training; None: the recipe's own for real pictures, fewer for drawn parts.
        rate: frames a second; 0: as fast as the worker takes them.
        seed: of the parts and the training.
        out: folder for the bundle, the contact sheet and the summary.
        as_json: print the summary as JSON on standard output and nothing else there.
    """

    data: Path | None
    weights: str
    steps: int | None
    rate: float
    seed: int
    out: Path
    as_json: bool


def run(settings: DemoSettings) -> ExitCode:
    """Runs the demo. `OK` only if every frame has exactly one verdict.

    Raises:
        DataError: `data` is not what it should be.
        ResultsUnavailable: there is no redis-server.
        WorkerError: a step failed.
    """
    interrupt_on_sigterm()
    console = Console(stderr=True, highlight=False, soft_wrap=True)
    if settings.data is not None:
        good_pictures(settings.data)
        test_pictures(settings.data)  # fail before anything is started
    with tempfile.TemporaryDirectory(prefix="sightline-demo-") as name:
        folder = Path(name)
        root = settings.data or _draw(folder / "parts", settings, console)
        pictures = test_pictures(root)
        verdicts = _inspect(folder, root, pictures, settings, console)
        return _report(root, pictures, verdicts, settings, console)


def _inspect(
    folder: Path, root: Path, pictures: list[TestPicture], settings: DemoSettings, console: Console
) -> list[Verdict]:
    """Trains, runs the line over every test picture, returns what came out of Redis. Nothing it starts outlives it."""
    redis_port, work_port, live_port = free_ports(3)
    with Processes(folder) as processes:
        url = processes.redis(redis_port)
        console.print(f"redis at {url}, line {LINE}")
        _train(root, settings, console)
        config = _write_config(folder, url, work_port, settings.out)
        processes.sightline("worker", "worker", "--config", str(config))
        _await_worker(url, processes)
        ends = [f"--work=tcp://127.0.0.1:{work_port}", f"--live=tcp://127.0.0.1:{live_port}", f"--state={folder}"]
        source = [str(root / "test"), f"--camera={CAMERA}", "--recipe=part", f"--rate={settings.rate}"]
        camera = processes.sightline("camera", "camera", *source, *ends)
        console.print(f"camera {CAMERA} publishes {len(pictures)} parts, a worker judges them")
        verdicts = _watch(url, len(pictures), camera, processes, console)
        for name in ("camera", "worker"):
            code = processes.stop(name, patience_s=30)
            if code:
                console.print(f"the {name} ended with exit code {code}: {processes.last_words(name)}", style="yellow")
    return verdicts


def _draw(root: Path, settings: DemoSettings, console: Console) -> Path:
    total = TRAIN_PARTS + GOOD_PARTS + BAD_PARTS
    steps = iter(track(range(total), f"drawing {total} parts", console=console, disable=not console.is_terminal))
    draw_dataset(
        root,
        train=TRAIN_PARTS,
        good=GOOD_PARTS,
        bad=BAD_PARTS,
        seed=settings.seed,
        progress=lambda done, total: next(steps, None),
    )
    console.print(f"drew {TRAIN_PARTS} good parts to learn from, {GOOD_PARTS} good and {BAD_PARTS} bad ones to inspect")
    return root


def _train(root: Path, settings: DemoSettings, console: Console) -> None:
    """`sightline train`, in a process of its own: its memory is gone before the worker starts."""
    arguments = [str(root), f"--out={settings.out / 'part'}", f"--weights={settings.weights}"]
    arguments.append(f"--seed={settings.seed}")
    steps = settings.steps or (DEMO_STEPS if settings.data is None else None)
    if steps is not None:
        arguments.append(f"--steps={steps}")
    console.print("$ sightline train " + " ".join(arguments))
    code = subprocess.run(
        [sys.executable, "-m", "worker.cli", "train", *arguments],
        stdin=subprocess.DEVNULL,
        stdout=sys.stderr,
        check=False,
    ).returncode
    if code:
        raise WorkerError(f"training ended with exit code {code}")


def _write_config(folder: Path, url: str, work_port: int, out: Path) -> Path:
    config = folder / "worker.toml"
    config.write_text(
        f'line = "{LINE}"\nredis = "{url}"\nrecipes = {json.dumps(str(out.resolve()))}\nname = "{WORKER}"\n\n'
        f'[cameras.{CAMERA}]\nendpoint = "tcp://127.0.0.1:{work_port}"\nrecipe = "part"\n',
        encoding="utf-8",
    )
    return config


def _await_worker(url: str, processes: Processes) -> None:
    """Waits for the worker's heartbeat: the parts shall not queue up while it is still warming."""
    client = connect(url, timeout_s=5.0)
    with redis_errors(url):
        while not client.exists(LineKeys(LINE).worker(WORKER)):
            processes.expect_alive("worker")
            time.sleep(0.05)
    client.close()


def _watch(
    url: str, frames: int, camera: "subprocess.Popen[bytes]", processes: Processes, console: Console
) -> list[Verdict]:
    """Reads verdicts until the camera is done and the stream has been quiet for a moment."""
    verdicts: list[Verdict] = []
    quiet_since = time.monotonic()

    def over() -> bool:
        if camera.poll() is None:
            processes.expect_alive("worker")
            return False
        return time.monotonic() - quiet_since > 1.0

    reader = ResultReader(url, LINE, patience_s=0)
    with Screen(frames, console) as screen:
        for verdict in reader.follow(start="0", until=over):
            verdicts.append(verdict)
            screen.show(verdict)
            quiet_since = time.monotonic()
    reader.close()
    return verdicts


def _report(
    root: Path, pictures: list[TestPicture], verdicts: list[Verdict], settings: DemoSettings, console: Console
) -> ExitCode:
    summary = summarise(root, pictures, verdicts)
    rejected = [verdict for verdict in verdicts if not verdict.passed]
    sheet = contact_sheet(rejected, lambda verdict: _picture(root / "test" / (verdict.tag.part_id or "")))
    settings.out.mkdir(parents=True, exist_ok=True)
    (settings.out / "summary.json").write_text(json.dumps(summary.to_json(), indent=2) + "\n", encoding="utf-8")
    console.print(summary.table())
    if sheet is not None:
        write_png(settings.out / "rejected.png", sheet)
        console.print(f"rejected parts with heat maps: {(settings.out / 'rejected.png').resolve()}")
    if settings.as_json:
        print(json.dumps(summary.to_json()))
    if not summary.complete:
        console.print("not every frame has exactly one verdict", style="red")
        return ExitCode.NO
    console.print("every frame has exactly one verdict", style="green")
    return ExitCode.OK


def _picture(path: Path) -> NDArray[np.uint8]:
    try:
        return to_bgr(read_image(path))
    except DataError:  # it ended as bad_frame: there is nothing to show
        return np.zeros((1, 1, 3), np.uint8)
