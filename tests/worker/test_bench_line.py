"""`sightline bench line` and `soak`, and a worker that is told to leave under load: real processes, a real network."""

import json
import multiprocessing
import os
import time
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

pytest.importorskip("torch")

from producers.daemon import ExitCode
from tests.worker.processes import sightline
from worker.bench.arrivals import Poisson
from worker.bench.harvest import outcome
from worker.bench.plant import Plant, PlantSettings
from worker.settings import WorkerSettings

SOAK_S = float(os.environ.get("SIGHTLINE_SOAK_S", "20"))
DRAIN_S = float(WorkerSettings.model_fields["drain_s"].default)


def bench(command: str, recipes: Path, parts: Path, *more: str, timeout_s: float = 170) -> tuple[int, dict[str, Any]]:
    """The command with the small bundle and the pictures that it was trained on; its exit code and its JSON."""
    common = [str(recipes / "part"), f"--data={parts}", "--device=cpu", "--max-batch=4", "--json"]
    done = sightline("bench", command, *common, *more, timeout_s=timeout_s)
    assert done.stdout, done.stderr
    return done.returncode, json.loads(done.stdout)


def test_every_frame_has_its_verdict_also_in_overload_and_the_figures_fit_together(
    recipes: Path, parts_root: Path, tmp_path: Path
) -> None:
    plot = tmp_path / "latency.png"
    code, found = bench("line", recipes, parts_root, "--seconds=3", "--loads=0.5,1.5", f"--plot={plot}")
    assert code == ExitCode.OK
    assert (found["missing"], found["duplicates"]) == (0, 0)
    assert found["capacity_fps"] == found["engine_fps"] > 0
    assert found["ratio"] > 0 < found["line_fps"]
    assert set(found["batch_ms"]) == {"1", "2", "4"}
    assert found["batch1_ms"] == found["batch_ms"]["1"]
    assert found["overhead_us"] == pytest.approx(sum(found["overhead_items_us"].values()))
    assert {"main", "intake", "prepare", "judge", "sink", "camera", "redis"} <= set(found["overhead_items_us"])
    assert {"main", "intake", "sink"} <= set(found["threads_us"])
    assert found["idle"]["over_batch1"] == pytest.approx(found["idle"]["p50_ms"] / found["batch1_ms"])
    assert [load["load"] for load in found["loads"]] == [0.5, 1.5]
    for load in found["loads"]:
        assert sum(load["verdicts"].values()) == load["frames"]
        assert load["offered_fps"] == load["frames"] / 3
        assert load["in_time"] <= load["judged"] <= load["frames"]
        assert set(load["processes"]) == {"worker", "redis", "cam1", "cam2"}
    assert plot.stat().st_size > 0


@pytest.mark.timeout(SOAK_S + 240)
def test_nothing_grows_while_the_line_is_under_load(recipes: Path, parts_root: Path) -> None:
    """Twenty seconds; SIGHTLINE_SOAK_S says how long else."""
    code, report = bench("soak", recipes, parts_root, f"--seconds={SOAK_S}", "--rate=25", timeout_s=SOAK_S + 220)
    assert report["fault"] is None
    assert (code, report["missing"], report["duplicates"]) == (ExitCode.OK, 0, 0)
    assert report["frames"] >= sum(report["verdicts"].values()) > 10 * SOAK_S  # 20 a second were asked for
    assert set(report["processes"]) == {"worker", "redis", "cam1", "cam2"}


def test_a_worker_told_to_leave_under_load_leaves_in_time_and_every_frame_has_one_verdict(
    recipes: Path, parts_root: Path, tmp_path: Path
) -> None:
    """What it has in hand it finishes; what the cameras capture meanwhile waits for the worker that comes next."""
    settings = PlantSettings(bundle=recipes / "part", data=parts_root, device="cpu", max_batch=4)
    with Plant(settings, tmp_path, alone=False) as plant:
        starts_ns = time.monotonic_ns()
        plant.begin([Poisson(starts_ns, 40.0, 3.0, budget_ms=None, seed=(camera,)) for camera in range(2)])
        while not (seen := plant.harvest.take()):  # it is at work
            plant.processes.expect_alive("worker")
        told = time.monotonic()
        assert plant.stop_worker() == ExitCode.OK
        assert time.monotonic() - told < DRAIN_S
        plant.start_worker()
        captured, entries = plant.finish(3.0)
        plant.ledger.book(seen)
        assert plant.ledger.frames == sum(len(frames.due_ns) for frames in captured) > 100
        assert (plant.ledger.missing, plant.ledger.duplicates) == (0, 0)
        found = outcome(captured, [*seen, *entries], budget_ms=None)
        assert found.judged == found.frames  # none was given up on the way
    assert multiprocessing.active_children() == []


def test_pictures_that_the_bundle_does_not_judge_are_told_before_anything_is_measured(
    recipes: Path, tmp_path: Path
) -> None:
    (tmp_path / "dark").mkdir()
    cv2.imwrite(str(tmp_path / "dark" / "0.png"), np.zeros((256, 256, 3), np.uint8))
    arguments = [str(recipes / "part"), f"--data={tmp_path / 'dark'}", "--device=cpu", "--max-batch=2", "--seconds=1"]
    done = sightline("bench", "line", *arguments, timeout_s=170)
    assert done.returncode == ExitCode.DATA
    assert "these pictures are none for part" in done.stderr
    assert "brightness" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("arguments", "code", "word"),
    [
        (["--loads=1,x"], ExitCode.SETTINGS, "--loads"),
        (["--loads=0"], ExitCode.SETTINGS, "--loads"),
        (["/nowhere/at/all"], ExitCode.BUNDLE, "/nowhere/at/all"),
        (["--data=/nowhere/at/all"], ExitCode.DATA, "/nowhere/at/all"),
    ],
)
def test_what_can_not_be_measured_is_told_in_one_sentence(arguments: list[str], code: ExitCode, word: str) -> None:
    done = sightline("bench", "line", *arguments)
    assert (done.returncode, done.stdout) == (code, "")
    assert word in done.stderr
    assert "Traceback" not in done.stderr
