"""What batches take, of the times that were measured."""

import pytest

from worker.recipes import BatchCost, sizes_of


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
def test_the_best_batch_is_the_smallest_of_those_that_are_fastest(milliseconds: dict[int, float], best: int) -> None:
    assert BatchCost.of({size: ms / 1000 for size, ms in milliseconds.items()}).best == best


def test_a_cost_is_right_for_one_frame_and_for_the_best_batch() -> None:
    cost = BatchCost.of({1: 0.0135, 2: 0.0242, 4: 0.0467, 8: 0.1})
    assert cost.seconds(1) == pytest.approx(0.0135)
    assert cost.seconds(4) == pytest.approx(0.0467)


def test_a_larger_batch_never_counts_as_quicker_than_a_smaller_one() -> None:
    """Measured on a machine that had something else to do at first."""
    cost = BatchCost.of({1: 0.02, 2: 0.015, 4: 0.016})
    assert cost.seconds(4) >= cost.seconds(1)


def test_sizes_that_are_measured_are_powers_of_two_and_the_largest() -> None:
    assert sizes_of(1) == (1,)
    assert sizes_of(8) == (1, 2, 4, 8)
    assert sizes_of(12) == (1, 2, 4, 8, 12)
