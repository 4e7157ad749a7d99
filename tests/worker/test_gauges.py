"""A worker's numbers over real HTTP, from a line that runs: a publisher, a null worker, Redis."""

import re
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch")

from prometheus_client.parser import text_string_to_metric_families
from pydantic import SecretStr

from model.modes import gpu_memory_bytes
from producers.publisher import FramePublisher, PublisherSettings
from producers.service import ServiceManager
from tests.notified import listening
from tests.producers.test_metrics import get
from tests.worker.processes import eventually
from tests.worker.test_shadow import ToldEngine, prepared, shadow_sink, shadowing
from tests.worker.test_watches import a_recipe
from worker.bench.null import RECIPE, NullPipeline
from worker.demo.processes import free_ports
from worker.gauges import worker_metrics
from worker.health import Health, ServiceReport
from worker.observed import STAGES
from worker.recipes import EngineBuilder
from worker.settings import CameraSettings, WorkerSettings
from worker.shelf import Shelf
from worker.watches import DriftWatches

Numbers = dict[str, float]


class Line:
    """A null worker whose loop the test turns itself, and its camera."""

    def __init__(self, redis_url: str, line: str) -> None:
        metrics, work, live = free_ports(3)
        self.address = ("127.0.0.1", metrics)
        ends = {"work": f"tcp://127.0.0.1:{work}", "live": f"tcp://127.0.0.1:{live}"}
        self.publisher = FramePublisher(PublisherSettings(camera="cam1", recipe=RECIPE, **ends))
        self.settings = WorkerSettings(
            line=line,
            redis=SecretStr(redis_url),
            cameras={"cam1": CameraSettings(endpoint=ends["work"], recipe=RECIPE)},
            metrics=f"127.0.0.1:{metrics}",
            ping_s=0.05,
        )
        self.health = Health(self.settings)

    def numbers(self) -> Numbers:
        """Every sample, its labels written as in Prometheus but sorted."""
        status, text = get(self.address, "/metrics")
        assert status == 200
        found: Numbers = {}
        for family in text_string_to_metric_families(text):
            assert family.documentation
            for sample in family.samples:
                labels = ",".join(f"{key}={value}" for key, value in sorted(sample.labels.items()))
                found[sample.name.removeprefix("sightline_worker_") + (f"{{{labels}}}" if labels else "")] = (
                    sample.value
                )
        return found

    def judge(self, *values: int) -> None:
        """Publishes a frame for each, and turns the work loop until all have their verdict."""
        for value in values:
            self.publisher.publish(np.full((16, 16, 3), value, np.uint8))
        pipeline = self.health.pipeline
        assert pipeline is not None

        def all_stored() -> bool:
            return self.publisher.counts()["open"] == 0

        pipeline.serve(until=all_stored)
        assert eventually(lambda: pipeline.intake.holding == 0)


@pytest.fixture
def production(redis_url: str, line: str) -> Iterator[Line]:
    made = Line(redis_url, line)
    with (
        closing(made.publisher),
        worker_metrics(made.health, made.settings),
        NullPipeline(made.settings) as pipeline,
    ):
        pipeline.drift = DriftWatches(made.settings.cameras, {RECIPE: a_recipe(RECIPE)})
        made.health.pipeline = pipeline
        yield made


def test_verdicts_are_counted_by_recipe_and_reason_from_zero_on(production: Line) -> None:
    before = production.numbers()
    assert before["verdicts_total{reason=ok,recipe=null}"] == 0
    assert before["verdicts_total{reason=lost,recipe=other}"] == 0
    production.judge(7, 7, 200)
    after = production.numbers()
    assert after["verdicts_total{reason=ok,recipe=null}"] == 2
    assert after["verdicts_total{reason=defect,recipe=null}"] == 1
    assert sum(value for name, value in after.items() if name.startswith("verdicts_total")) == 3
    assert after["duplicates_total"] == 0


def test_the_time_of_every_stage_is_a_histogram_and_their_sum_is_the_total(production: Line) -> None:
    production.judge(*[7] * 20)
    numbers = production.numbers()
    for stage in STAGES:
        assert numbers[f"stage_seconds_count{{stage={stage}}}"] == 20
        assert numbers[f"stage_seconds_bucket{{le=+Inf,stage={stage}}}"] == 20
    sums = [numbers[f"stage_seconds_sum{{stage={stage}}}"] for stage in STAGES]
    assert sums[-1] == pytest.approx(sum(sums[:-1]))
    assert 0 < sums[-1] < 20 * 60
    assert "stage_seconds_bucket{le=0.0005,stage=total}" in numbers


def test_batches_are_counted_by_their_size(production: Line) -> None:
    production.judge(*[7] * 5)
    numbers = production.numbers()
    assert numbers["batch_frames_sum"] == 5
    assert 1 <= numbers["batch_frames_count"] <= 5


def test_queues_are_empty_and_nothing_is_in_hand_when_all_is_done(production: Line) -> None:
    production.judge(7, 7)
    numbers = production.numbers()
    for queue in ("inbox", "batcher", "judge", "verdicts", "set_aside"):
        assert numbers[f"queue_entries{{queue={queue}}}"] == 0
    assert numbers["frames_in_hand"] == 0


def test_frames_that_the_engine_has_not_taken_yet_are_in_hand_and_in_the_batcher(production: Line) -> None:
    """The work loop does not turn here."""
    production.publisher.publish(np.full((16, 16, 3), 7, np.uint8))
    production.publisher.publish(np.full((16, 16, 3), 7, np.uint8))
    assert eventually(lambda: production.numbers()["queue_entries{queue=batcher}"] == 2)
    assert production.numbers()["frames_in_hand"] == 2
    production.judge()


def test_what_a_publisher_sends_and_is_refused_is_counted_by_reason(production: Line) -> None:
    numbers = production.numbers()
    assert numbers["refused_total{reason=garbage}"] == 0
    assert numbers["handed_back_total"] == 0
    assert numbers["taken_over_total"] == 0


def test_a_frame_that_is_handed_back_is_counted_here_and_as_taken_over_by_who_judges_it(production: Line) -> None:
    frame = production.publisher.publish(np.full((16, 16, 3), 7, np.uint8))
    pipeline = production.health.pipeline
    assert pipeline is not None
    assert eventually(lambda: pipeline.queues()["batcher"] == 1)
    pipeline._ready.get_nowait()
    pipeline.intake.busy(frame, "for the test")
    assert eventually(lambda: production.numbers()["handed_back_total"] == 1)
    production.judge()
    assert production.numbers()["taken_over_total"] == 1


def test_the_bundle_in_use_and_its_digest_are_told_by_recipe(production: Line) -> None:
    assert production.numbers()["bundle_info{bundle=null engine, no network,recipe=null}"] == 1


def test_the_drift_of_each_camera_and_recipe_is_told_from_zero_on(production: Line) -> None:
    numbers = production.numbers()
    assert (numbers["drift{camera=cam1,recipe=null}"], numbers["drift_warning{camera=cam1,recipe=null}"]) == (0, 0)


def test_peers_are_up_and_the_worker_is_ready(production: Line) -> None:
    production.judge(7)
    assert eventually(lambda: production.numbers()["ready"] == 1)
    numbers = production.numbers()
    assert (numbers["redis_up"], numbers["publisher_up{camera=cam1}"]) == (1, 1)
    assert 0 <= numbers["beat_age_seconds"] < 60
    production.publisher.close()
    assert eventually(lambda: production.numbers()["publisher_up{camera=cam1}"] == 0)
    assert production.numbers()["ready"] == 0


def test_while_bundles_load_it_lives_and_says_what_is_missing(redis_url: str, line: str) -> None:
    made = Line(redis_url, line)
    with closing(made.publisher), worker_metrics(made.health, made.settings):
        assert made.numbers() == {"ready": 0}
        assert get(made.address, "/healthz") == (200, "yes\n")
        status, said = get(made.address, "/readyz")
        assert status == 503
        assert said.splitlines() == [
            "no",
            f"recipe {RECIPE} is not warm",
            "Redis has not taken the last heartbeat or write",
            "camera cam1 does not answer",
        ]


def test_a_worker_that_leaves_is_not_ready_whatever_else_is_well(production: Line) -> None:
    production.judge(7)
    assert eventually(lambda: get(production.address, "/readyz")[0] == 200)
    production.health.leaving = True
    assert get(production.address, "/readyz") == (503, "no\nit leaves: it takes no more frames\n")


@pytest.mark.skipif(sys.platform != "linux", reason="systemd is Linux's")
def test_a_worker_whose_sink_is_gone_is_not_healthy_and_feeds_no_watchdog(production: Line, tmp_path: Path) -> None:
    """Its loop still turns, but no verdict would ever be stored."""
    pipeline = production.health.pipeline
    assert pipeline is not None
    with listening(tmp_path) as systemd:
        environment = {"NOTIFY_SOCKET": systemd.address, "WATCHDOG_USEC": "1000"}
        pipeline.on_beat = ServiceReport(ServiceManager(environment), production.health).beat
        production.judge(7)
        assert any("WATCHDOG=1" in said for said in systemd.drain())
        pipeline.writer.close()
        pipeline.serve(until=iter([False] * 5 + [True]).__next__)
        assert not any("WATCHDOG=1" in said for said in systemd.drain())
    assert get(production.address, "/healthz") == (503, "no\n")


def test_gpu_memory_is_told_only_where_this_process_uses_one() -> None:
    import torch

    if not torch.cuda.is_available():
        assert gpu_memory_bytes() == {}
        return
    held = torch.zeros(1 << 20, device="cuda")
    assert gpu_memory_bytes()["cuda:0"] >= held.nbytes


def test_the_alert_rules_ask_for_nothing_that_is_not_told(production: Line, tmp_path: Path) -> None:
    """A rule on a name that nobody exports never fires, and nobody notices. Every real worker has a shelf."""
    pipeline = production.health.pipeline
    assert pipeline is not None
    pipeline.shelf = Shelf(tmp_path, pipeline.recipes, EngineBuilder("cpu", "torch", 1))
    rules = Path(__file__).parent.parent.parent / "deploy" / "alerts.yml"
    asked = set(re.findall(r"\bsightline_worker_(\w+)", rules.read_text(encoding="utf-8")))
    told = {name.partition("{")[0] for name in production.numbers()}
    assert asked
    assert asked <= told


def test_a_bundle_that_is_refused_is_seen_though_its_recipe_judges_on(production: Line, tmp_path: Path) -> None:
    pipeline = production.health.pipeline
    assert pipeline is not None
    pipeline.shelf = Shelf(tmp_path, pipeline.recipes, EngineBuilder("cpu", "torch", 1))
    assert production.numbers()[f"bundle_refused{{recipe={RECIPE}}}"] == 0
    (tmp_path / RECIPE).mkdir()
    (tmp_path / RECIPE / "manifest.json").write_text("{", encoding="utf-8")
    for _ in range(2):  # it must look the same twice
        pipeline.shelf.look()
    assert production.numbers()[f"bundle_refused{{recipe={RECIPE}}}"] == 1


def test_a_shadow_says_what_it_judged_what_it_had_no_time_for_and_whether_it_is_on(
    production: Line, redis_url: str, line: str
) -> None:
    pipeline, engine = production.health.pipeline, ToldEngine()
    assert pipeline is not None
    with shadowing(engine, shadow_sink(redis_url, line)) as shadow:
        pipeline.shadow = shadow
        shadow.offer([prepared(0)])
        assert engine.asked.wait(30)
        shadow.offer([prepared(seq) for seq in range(1, 7)])
        numbers = production.numbers()
        assert (numbers["shadow_on{recipe=part}"], numbers["shadow_dropped_total{recipe=part}"]) == (1, 2)
        engine.may_go_on.set()
        assert eventually(lambda: production.numbers()["shadow_judged_total{recipe=part}"] == 5)
        pipeline.shadow = None
