"""Shadow mode: another bundle judges beside the line, and the line is none the worse for it, whatever happens there."""

import json
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch")

from model.engine import Inspection
from model.images import Image
from producers.parts import draw_part
from producers.publisher import FramePublisher, PublisherSettings
from tests.conftest import RedisServer, start_redis, stop_redis
from tests.worker.bundles import add_golden, damage, label_of, remade, with_another_trunk
from tests.worker.frames import received, verdict
from tests.worker.processes import eventually, running, sightline, stored_verdicts, write_config
from tests.worker.sinks import now_judged, sink_at
from worker.bench.null import GRID, NullEngine, null_recipe
from worker.demo.processes import free_ports
from worker.line import LineKeys, ShadowKeys
from worker.preparing import PreparedFrame
from worker.recipes import EngineBuilder, Recipe
from worker.shadow import Shadow
from worker.sink import ResultSink
from worker.verdict import Verdict

PICTURE = np.zeros((16, 16, 3), np.uint8)


def shadow_verdicts(url: str, line: str) -> list[Verdict]:
    """Every entry of a line's shadow stream."""
    return stored_verdicts(url, line, keys=ShadowKeys)


# -- with a whole worker ---------------------------------------------------------------------------------------------


def judged_by_a_worker(
    tmp_path: Path, redis_url: str, line: str, recipes: Path, shadow: Path | None, frames: int = 12
) -> tuple[list[Verdict], str]:
    """The live verdicts of a worker of its own on so many parts, and its log; the shadow has a while to follow."""
    work, live = (f"tcp://127.0.0.1:{port}" for port in free_ports(2))
    folder = tmp_path / line
    folder.mkdir()
    config = write_config(folder / "w.toml", line=line, redis=redis_url, recipes=recipes, endpoint=work)
    if shadow is not None:
        with config.open("a") as file:
            file.write(f'[shadow]\npart = "{shadow}"\n')
    settings = PublisherSettings(camera="cam1", work=work, live=live)
    with (
        FramePublisher(settings) as publisher,
        running("worker", "--config", str(config), log=folder / "w.log") as process,
    ):
        said = (folder / "w.log").read_text
        if shadow is not None:  # it is made while the line runs already
            assert eventually(
                lambda: '"ready"' in said() and said().count("recipe is warm") + said().count("off") > 1, 60
            )
        for seed in range(frames):
            publisher.publish(draw_part(np.random.default_rng(seed))[0])
        assert publisher.drain(60) == 0
        assert process.poll() is None
        if shadow is not None and "switched off" not in said():
            assert eventually(lambda: len(shadow_verdicts(redis_url, line)) == frames, 60), said()
        process.terminate()
        assert process.wait(60) == 0
        return stored_verdicts(redis_url, line), said()


def what_counts(verdicts: Sequence[Verdict]) -> dict[int, tuple[Any, ...]]:
    return {v.tag.seq: (v.decision, v.reason, v.score, v.threshold, v.model, v.regions) for v in verdicts}


def test_shadow_verdicts_stand_beside_and_the_live_ones_are_the_same_as_without(
    tmp_path: Path, redis_url: str, line: str, recipes: Path
) -> None:
    other = with_another_trunk(recipes / "part", tmp_path / "other")
    alone, _ = judged_by_a_worker(tmp_path, redis_url, line + "-alone", recipes, None)
    beside, _ = judged_by_a_worker(tmp_path, redis_url, line, recipes, other)
    shadow = shadow_verdicts(redis_url, line)
    assert what_counts(beside) == what_counts(alone)
    assert {verdict.model for verdict in beside} == {label_of(recipes / "part")}
    assert sorted(verdict.tag.seq for verdict in shadow) == sorted(verdict.tag.seq for verdict in beside)
    assert {verdict.model for verdict in shadow} == {label_of(other)}
    assert {v.tag.seq: v.score for v in shadow} != {v.tag.seq: v.score for v in beside}
    assert all(verdict.valid_until_us is None and verdict.map is not None for verdict in shadow)
    where = ("--redis", redis_url, "--line", line, "--from", "0", "--count", "12", "--json")
    followed = [json.loads(row) for row in sightline("subscribe", "--shadow", *where).stdout.splitlines()]
    assert {row["model"] for row in followed} == {label_of(other)}


def test_the_live_bundle_as_its_own_shadow_says_the_same_from_the_trunk_they_share(
    tmp_path: Path, redis_url: str, line: str, recipes: Path
) -> None:
    live, _ = judged_by_a_worker(tmp_path, redis_url, line, recipes, recipes / "part")
    scores = {verdict.tag.seq: verdict.score for verdict in live}
    assert {v.tag.seq: v.score for v in shadow_verdicts(redis_url, line)} == pytest.approx(scores, abs=1e-5)


@pytest.mark.parametrize("kind", ["missing", "damaged", "golden"])
def test_a_bad_shadow_bundle_is_switched_off_with_a_word_and_the_line_goes_on(
    kind: str, tmp_path: Path, redis_url: str, line: str, recipes: Path
) -> None:
    bundle = tmp_path / "bad"
    if kind != "missing":
        remade(recipes / "part", bundle, threshold=1000.0)
    if kind == "damaged":
        damage(bundle)
    if kind == "golden":
        add_golden(bundle, "bad", draw_part(np.random.default_rng(0))[0])
    live, log = judged_by_a_worker(tmp_path, redis_url, line, recipes, bundle)
    assert len(live) == 12
    assert log.count("shadow is switched off") == 1
    assert {"missing": "can't be read", "damaged": "sha256", "golden": "golden/bad/one.png"}[kind] in log
    assert shadow_verdicts(redis_url, line) == []


# -- the shadow alone, with an engine that does as it is told --------------------------------------------------------


def prepared(seq: int, *, recipe: str = "part") -> PreparedFrame:
    """A frame that the line has judged."""
    frame = received(seq, recipe=recipe)
    rest = {"image": PICTURE, "bundle": null_recipe(), "prepare_s": 0.0}
    return PreparedFrame(frame.header, b"", recipe, 0.0, 0, **rest)  # type: ignore[arg-type]  # by name


class ToldEngine(NullEngine):
    """A null engine that waits until it may go on, or fails."""

    def __init__(self, *, fails: bool = False) -> None:
        super().__init__()
        self.fails, self.may_go_on, self.asked = fails, threading.Event(), threading.Event()

    def inspect(self, images: Sequence[Image]) -> list[Inspection]:
        self.asked.set()
        self.may_go_on.wait(60)
        if self.fails:
            raise RuntimeError("CUDA error: an illegal memory access was encountered")
        return [Inspection(0.25, np.full(GRID, 0.25, np.float32), (224, 224), (0, 0, 16, 16)) for _ in images]


@dataclass(frozen=True)
class ToldBuilder(EngineBuilder):
    """Makes such an engine, of whatever bundle."""

    told: ToldEngine

    def prepare(self, path: Path, beside: object = (), *, before: Recipe | None = None) -> Recipe:
        return replace(null_recipe(), label="told", engine=self.told)


@contextmanager
def shadowing(engine: ToldEngine, sink: ResultSink, *, max_frames: int = 4, max_bytes: int = 10**6) -> Iterator[Shadow]:
    shadow = Shadow(
        {"part": Path("any")},
        ToldBuilder("cpu", "torch", 1, engine),
        sink,
        "w1",
        max_frames=max_frames,
        max_bytes=max_bytes,
    )
    shadow.start()
    try:
        yield shadow
    finally:
        engine.may_go_on.set()
        shadow.close()


def shadow_sink(url: str, line: str) -> ResultSink:
    return ResultSink(url, line, timeout_s=1.0, keep_s=1e6, max_results=1000, keys=ShadowKeys)


def test_what_a_shadow_has_no_time_for_is_dropped_and_counted_and_the_caller_never_waits(
    redis_url: str, line: str
) -> None:
    engine = ToldEngine()
    with shadowing(engine, shadow_sink(redis_url, line)) as shadow:
        shadow.offer([prepared(0)])
        assert engine.asked.wait(30)  # it is at the first one now, and stays there
        started = time.monotonic()
        for seq in range(1, 11):
            shadow.offer([prepared(seq)])
        assert time.monotonic() - started < 20  # the engine would hold it for a minute
        assert shadow.status()["part"].dropped == 6
        engine.may_go_on.set()
        assert eventually(lambda: shadow.status()["part"].judged == 5)
    assert [verdict.tag.seq for verdict in shadow_verdicts(redis_url, line)] == [0, 1, 2, 3, 4]


def test_large_pictures_that_wait_are_bounded_by_their_bytes_and_one_always_fits(redis_url: str, line: str) -> None:
    engine = ToldEngine()
    with shadowing(engine, shadow_sink(redis_url, line), max_bytes=PICTURE.nbytes - 1) as shadow:
        shadow.offer([prepared(0)])
        assert engine.asked.wait(30)
        shadow.offer([prepared(seq) for seq in (1, 2)])
        assert shadow.status()["part"].dropped == 1
        engine.may_go_on.set()
        assert eventually(lambda: shadow.status()["part"].judged == 2)


def test_a_shadow_whose_engine_raises_is_switched_off_and_the_caller_is_told_nothing(redis_url: str, line: str) -> None:
    engine = ToldEngine(fails=True)
    engine.may_go_on.set()
    with shadowing(engine, shadow_sink(redis_url, line)) as shadow:
        shadow.offer([prepared(0)])
        assert eventually(lambda: shadow.status()["part"].off is not None)
        shadow.offer([prepared(1)])
        status = shadow.status()["part"]
    assert "illegal memory access" in (status.off or "")
    assert (status.judged, status.dropped) == (0, 0)


def test_frames_of_recipes_without_a_shadow_are_none_of_its_business(redis_url: str, line: str) -> None:
    engine = ToldEngine()
    engine.may_go_on.set()
    with shadowing(engine, shadow_sink(redis_url, line)) as shadow:
        shadow.offer([prepared(0, recipe="lid"), prepared(1)])
        assert eventually(lambda: shadow.status()["part"].judged == 1)
    assert [verdict.tag.seq for verdict in shadow_verdicts(redis_url, line)] == [1]


def test_without_redis_shadow_verdicts_are_lost_and_counted_and_it_goes_on_when_redis_is_back(
    own_redis: RedisServer, line: str
) -> None:
    engine = ToldEngine()
    engine.may_go_on.set()
    with shadowing(engine, shadow_sink(own_redis.url, line)) as shadow:
        stop_redis(own_redis)
        shadow.offer([prepared(0)])
        assert eventually(lambda: shadow.status()["part"].unstored == 1)
        again = start_redis(own_redis.folder, port=own_redis.port)
        with closing_redis(again):
            shadow.offer([prepared(1)])
            assert eventually(lambda: shadow.status()["part"].judged == 1)
            assert [verdict.tag.seq for verdict in shadow_verdicts(again.url, line)] == [1]


@contextmanager
def closing_redis(server: RedisServer) -> Iterator[None]:
    try:
        yield
    finally:
        stop_redis(server)


def test_a_frame_that_has_a_shadow_verdict_still_gets_its_live_one(redis_url: str, line: str) -> None:
    """Each stream remembers its own frames: the shadow must never make the live verdict a duplicate."""
    assert shadow_sink(redis_url, line).store(now_judged(verdict(1))) == ["stored"]
    assert sink_at(redis_url, line).store(now_judged(verdict(1))) == ["stored"]
    assert shadow_sink(redis_url, line).store(now_judged(verdict(1))) == ["duplicate"]
    assert LineKeys(line).results != ShadowKeys(line).results
