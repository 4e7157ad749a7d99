"""A running worker whose recipes change: real processes, and frames that never stop."""

import itertools
import subprocess
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest

pytest.importorskip("torch")

from producers.parts import draw_part
from producers.publisher import FramePublisher, PublisherSettings
from tests.worker.bundles import damage, label_of, put_in_place, remade, threshold_of, with_another_trunk
from tests.worker.processes import eventually, running, sightline, stored_verdicts, write_config
from worker.demo.processes import free_ports
from worker.line import LineKeys, connect
from worker.verdict import Verdict

CAMERAS = ("cam1", "cam2")


class Line:
    """Two cameras whose publishers live in the test, one worker, and a folder of recipes of its own."""

    def __init__(self, folder: Path, redis_url: str, line: str, recipes: Path, cam2_recipe: str | None = None) -> None:
        self.redis_url, self.line, self.folder = redis_url, line, folder
        self.recipes, self.spare = folder / "recipes", folder / "spare"
        self.recipes.mkdir()
        self.spare.mkdir()
        self.first = remade(recipes / "part", self.spare / "first", note="first")
        put_in_place(self.first, self.recipes / "part")
        ports = iter(free_ports(2 * len(CAMERAS)))
        works = {camera: f"tcp://127.0.0.1:{next(ports)}" for camera in CAMERAS}
        self.publishers = [
            FramePublisher(
                PublisherSettings(camera=camera, work=work, live=f"tcp://127.0.0.1:{next(ports)}", recipe=recipe)
            )
            for (camera, work), recipe in zip(works.items(), (None, cam2_recipe), strict=True)
        ]
        self.config = folder / "w1.toml"
        write_config(self.config, line=line, redis=redis_url, recipes=self.recipes, endpoint=works["cam1"])
        with self.config.open("a") as file:
            file.write(f'[cameras.cam2]\nendpoint = "{works["cam2"]}"\nrecipe = "part"\n')

    def all(self) -> list[Verdict]:
        return stored_verdicts(self.redis_url, self.line)

    def log(self) -> str:
        return (self.folder / "w1.log").read_text()

    def newest(self) -> list[Verdict]:
        """The last few verdicts, the newest first: asked for again and again, so not the whole stream."""
        client = connect(self.redis_url, timeout_s=5)
        found: Any = client.xrevrange(LineKeys(self.line).results, count=20)
        client.close()
        return [
            Verdict.from_fields(entry.decode(), {key.decode(): value for key, value in fields.items()})
            for entry, fields in found
        ]

    def judges_with(self, label: str) -> bool:
        return label in {verdict.model for verdict in self.newest()}

    def close(self) -> None:
        for publisher in self.publishers:
            publisher.close()


@pytest.fixture
def whole(tmp_path: Path, redis_url: str, line: str, recipes: Path) -> Iterator[Line]:
    with closing(Line(tmp_path, redis_url, line, recipes)) as made:
        yield made


@contextmanager
def working(whole: Line) -> Iterator["subprocess.Popen[bytes]"]:
    with running("worker", "--config", str(whole.config), log=whole.folder / "w1.log") as process:
        assert eventually(lambda: '"ready"' in whole.log() or process.poll() is not None, 60)
        assert process.poll() is None, whole.log()
        yield process


@contextmanager
def flowing(whole: Line, *, cameras: int = len(CAMERAS)) -> Iterator[list[int]]:
    """Each of the first cameras publishes a part every 50 ms; the list says how many frames each has published."""
    parts = [draw_part(np.random.default_rng(seed))[0] for seed in range(4)]
    counts, stop = [0] * len(whole.publishers), threading.Event()

    def publish() -> None:
        for picture in itertools.cycle(parts):
            if stop.wait(0.05):
                return
            for number, publisher in enumerate(whole.publishers[:cameras]):
                publisher.publish(picture)
                counts[number] += 1

    thread = threading.Thread(target=publish)
    thread.start()
    try:
        yield counts
    finally:
        stop.set()
        thread.join()


def expect_one_verdict_each(whole: Line, counts: list[int]) -> list[Verdict]:
    for publisher in whole.publishers:
        assert publisher.drain(60) == 0
    verdicts = whole.all()
    expected = {(camera, seq) for camera, count in zip(CAMERAS, counts, strict=True) for seq in range(count)}
    assert Counter((verdict.tag.camera, verdict.tag.seq) for verdict in verdicts) == Counter(expected)
    return verdicts


def test_bundles_change_while_frames_flow_and_each_frame_has_one_verdict_by_one_whole_bundle(whole: Line) -> None:
    news = [
        remade(whole.first, whole.spare / "same-trunk", threshold=1000.0),
        with_another_trunk(whole.first, whole.spare / "other-trunk"),
    ]
    thresholds = {label_of(bundle): threshold_of(bundle) for bundle in [whole.first, *news]}
    with working(whole):
        with flowing(whole) as counts:
            for bundle in [whole.first, *news]:
                put_in_place(bundle, whole.recipes / "part")
                label = label_of(bundle)
                assert eventually(lambda label=label: whole.judges_with(label), 60), whole.log()  # type: ignore[misc]
        verdicts = expect_one_verdict_each(whole, counts)
    for camera in CAMERAS:
        order = [v.model for v in sorted(verdicts, key=lambda v: v.tag.seq) if v.tag.camera == camera]
        assert [label for label, _ in itertools.groupby(order)] == list(thresholds)
    assert all(verdict.threshold == thresholds[verdict.model] for verdict in verdicts)
    assert all(verdict.tag.attempt == 1 for verdict in verdicts)
    assert "engine failed" not in whole.log()


def test_a_damaged_bundle_is_refused_once_and_the_one_before_judges_on(whole: Line) -> None:
    with working(whole):
        with flowing(whole) as counts:
            put_in_place(damage(remade(whole.first, whole.spare / "damaged")), whole.recipes / "part")
            assert eventually(lambda: "bundle refused" in whole.log(), 60)
            seen = counts[0]
            assert eventually(lambda: any(verdict.tag.seq > seen + 20 for verdict in whole.newest()), 60)
        verdicts = expect_one_verdict_each(whole, counts)
    assert {verdict.model for verdict in verdicts} == {label_of(whole.first)}
    assert whole.log().count("bundle refused") == 1


def test_a_publisher_learns_of_a_new_recipe_and_its_frame_is_judged_with_it(
    tmp_path: Path, redis_url: str, line: str, recipes: Path
) -> None:
    with closing(Line(tmp_path, redis_url, line, recipes, cam2_recipe="lid")) as whole:
        whole.publishers[1].publish(draw_part(np.random.default_rng(1))[0])
        with working(whole):
            with flowing(whole, cameras=1) as counts:
                counts[1] = 1
                new = remade(whole.first, whole.spare / "lid", note="lid")
                put_in_place(new, whole.recipes / "lid")
                label = label_of(new)
                assert eventually(lambda: any(verdict.model == label for verdict in whole.all()), 60), whole.log()
            verdicts = expect_one_verdict_each(whole, counts)
    judged = {(verdict.tag.camera, verdict.tag.recipe): verdict.model for verdict in verdicts}
    assert judged == {("cam1", "part"): label_of(whole.first), ("cam2", "lid"): label_of(new)}


def test_the_command_puts_a_bundle_in_use_and_rolls_it_back_on_a_running_worker(whole: Line) -> None:
    new = remade(whole.first, whole.spare / "new")
    steps = {label_of(new): ("activate", str(new), "--as", "part"), label_of(whole.first): ("rollback", "part")}
    with working(whole), flowing(whole):
        for label, command in steps.items():
            done = sightline("recipe", *command, "--recipes", str(whole.recipes))
            assert done.returncode == 0, done.stderr
            assert label in done.stdout
            assert eventually(lambda label=label: whole.newest()[0].model == label, 60), whole.log()  # type: ignore[misc]


def test_memory_does_not_grow_with_each_exchange(whole: Line) -> None:
    """Each bundle brings a trunk of its own, 11 MB: kept, seven of them would show. The first fill the allocator."""
    sizes: list[int] = []
    with working(whole) as process:
        for seed in range(15):
            bundle = with_another_trunk(whole.first, whole.spare / str(seed), seed=seed)
            put_in_place(bundle, whole.recipes / "part")
            assert eventually(lambda: whole.log().count("recipe is in use") == len(sizes) + 1, 60), whole.log()
            sizes.append(psutil.Process(process.pid).memory_info().rss)
    assert sizes[-1] - sizes[7] < 4 * 11e6, sizes
