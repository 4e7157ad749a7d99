"""`sightline bench transport`: its figures are of one run, fit together, and a burst that can't be done is told."""

import json
import multiprocessing
from pathlib import Path

import pytest

pytest.importorskip("torch")

from producers.publisher import PublisherSettings
from tests.worker.processes import sightline
from worker.bench.bursts import Burster, publish, pull, push, seconds
from worker.bench.transport import SETUPS, Setup, bench_transport
from worker.demo.processes import free_ports
from worker.errors import WorkerError


def test_the_figures_of_a_case_fit_together_and_no_process_is_left() -> None:
    found = bench_transport(10, setups=(Setup(sockets="curve", aof="always"),))
    (case,) = found.cases
    assert (case.sockets, case.aof) == ("curve", "always")
    assert min(case.acknowledged_fps, case.plain_fps, case.ratio) > 0
    assert set(case.cpu_us) == set(case.resident_mib) == {"publisher", "worker", "redis"}
    assert found.resident_growth == max(case.resident_growth["publisher"], case.resident_growth["worker"])
    assert multiprocessing.active_children() == []


def test_machines_get_every_case_and_the_first_once_more() -> None:
    done = sightline("bench", "transport", "--frames=10", "--json", timeout_s=170)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert [(case["sockets"], case["aof"]) for case in found["cases"]] == [(it.sockets, it.aof) for it in SETUPS]
    assert {name: found[name] for name in ("acknowledged_fps", "plain_fps", "ratio")} == {
        name: found["cases"][0][name] for name in ("acknowledged_fps", "plain_fps", "ratio")
    }


def test_redis_writes_each_verdict_to_its_disk_in_the_cases_that_say_so() -> None:
    assert Setup(aof="always").redis_options() == ["--appendonly", "yes", "--appendfsync", "always"]
    assert Setup().redis_options() == []


def test_the_worker_of_a_case_with_keys_is_the_only_one_on_the_list(tmp_path: Path) -> None:
    setup = Setup(sockets="curve")
    setup.make_keys(tmp_path)
    publisher, worker = setup.publisher(1, 2, tmp_path), setup.worker(1, "redis://127.0.0.1:1/0", tmp_path)
    pair = worker.key_pair()
    assert pair is not None
    assert [file.read_text().strip() for file in (tmp_path / "workers").iterdir()] == [pair.public]
    assert worker.cameras["bench"].server_key == (tmp_path / "camera.pub").read_text().strip()
    assert publisher.key == tmp_path / "camera.key"


def test_plain_sockets_bring_every_message_of_a_burst_across() -> None:
    endpoint = f"tcp://127.0.0.1:{free_ports(1)[0]}"
    with Burster("PULL", pull, endpoint) as puller, Burster("PUSH", push, endpoint, [b"a", b"b" * 100_000]) as pusher:
        for burster in (puller, pusher):
            burster.ready()
        assert seconds(50, puller, pusher) > 0
        assert seconds(50, puller, pusher) > 0  # nothing of the first burst is left to be counted


def test_a_process_that_can_not_start_is_told_instead_of_waited_for() -> None:
    settings = PublisherSettings(camera="bench", work="tcp://127.0.0.1:1", live="ipc:///nowhere/at/all")
    with Burster("publisher", publish, settings) as publisher, pytest.raises(WorkerError, match="publisher has ended"):
        publisher.ready()
