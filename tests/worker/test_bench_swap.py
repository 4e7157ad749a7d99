"""`sightline bench swap`: what the verdicts say of a swap, and that the bundle it makes is another and a whole one."""

from dataclasses import replace
from pathlib import Path

import pytest

pytest.importorskip("torch")

from model.bundle import read_bundle
from tests.worker.test_bench_harvest import MS, captured, entry
from worker.bench.swap import another_bundle, swap_of
from worker.errors import WorkerError

FRAMES = captured(*range(0, 4000, 100))
OLD = [replace(entry(seq, 100 * seq + 10), model="a") for seq in range(25)]
NEW = [replace(entry(seq, 100 * seq + 30), model="b") for seq in range(25, 40)]


def test_the_time_around_a_swap_is_held_to_the_time_before_it() -> None:
    found = swap_of([FRAMES], [*NEW, *OLD], from_ns=0, put_ns=2000 * MS)
    assert (found.before.frames, found.before.p99_ms) == (20, 10)
    assert (found.during.frames, found.during.p99_ms) == (16, 30)  # until a second after the first verdict, at 2,530 ms
    assert found.swap_s == pytest.approx(0.53)
    assert (found.by_model, found.mixed) == ({"a": 25, "b": 15}, 0)


def test_a_verdict_of_the_old_bundle_long_after_the_new_ones_first_is_counted() -> None:
    stray = replace(entry(39, 3990), model="a")
    assert swap_of([FRAMES], [*OLD, *NEW[:-1], stray], from_ns=0, put_ns=2000 * MS).mixed == 1


def test_a_bundle_that_was_never_taken_is_said() -> None:
    with pytest.raises(WorkerError, match="not taken within that time"):
        swap_of([FRAMES], OLD, from_ns=0, put_ns=2000 * MS)


def test_the_bundle_that_it_makes_is_another_and_a_whole_one(recipes: Path, tmp_path: Path) -> None:
    newer = another_bundle(recipes / "part", tmp_path / "newer", note="swap")
    assert read_bundle(newer).digest != read_bundle(recipes / "part").digest
