"""How many frames at once are fastest, of the times that were measured."""

import pytest

from model.engine import Engine
from model.parts import batch_seconds, fastest, sizes_of
from tests.model.small import PREPROCESSING, plates, small_network


@pytest.mark.parametrize(
    ("milliseconds", "best"),
    [
        ({1: 13.5, 2: 24.2, 4: 46.7, 8: 100.0}, 4),  # two cores: eight frames' layers don't fit their caches
        ({1: 2.0, 2: 2.1, 4: 2.6, 8: 4.0}, 8),  # a GPU
        ({1: 10.0, 2: 20.0, 4: 40.0, 8: 79.5}, 1),  # nothing to gain that is worth waiting for
        ({1: 10.0, 2: 16.0, 3: 24.0}, 2),
        ({1: 10.0}, 1),
    ],
)
def test_the_smallest_of_the_fastest_sizes_is_taken(milliseconds: dict[int, float], best: int) -> None:
    assert fastest({size: ms / 1000 for size, ms in milliseconds.items()}) == best


def test_sizes_that_are_measured_are_powers_of_two_and_the_largest() -> None:
    assert sizes_of(1) == (1,)
    assert sizes_of(8) == (1, 2, 4, 8)
    assert sizes_of(12) == (1, 2, 4, 8, 12)


def test_each_size_is_measured() -> None:
    engine = Engine(small_network(), PREPROCESSING, device="cpu")
    found = batch_seconds(engine, plates(1)[0], 3)
    assert list(found) == [1, 2, 3]
    assert all(seconds > 0 for seconds in found.values())
