"""How many frames at once go through an engine fastest: measured, for it differs from machine to machine.

More is not always better. On a CPU, what a layer hands to the next must fit its caches.
"""

import statistics
import time
from collections.abc import Mapping

from model.engine import Engine
from model.images import Image

ROUNDS = 5
LEAST_GAIN = 1.02  # in frames a second, for a larger size: two measurements differ by as much


def batch_seconds(engine: Engine, image: Image, most: int) -> dict[int, float]:
    """Seconds for a batch, by its size.

    All sizes are measured in turns, so that a moment in which the machine has other things to do counts for all.

    Args:
        engine: one that has run before or not: the first round counts for nothing.
        image: that each batch is made of.
        most: frames in the largest batch.

    Returns:
        Medians, for powers of two and `most`.
    """
    times: dict[int, list[float]] = {size: [] for size in sizes_of(most)}
    for _ in range(1 + ROUNDS):
        for size, taken in times.items():
            started = time.perf_counter()
            engine.inspect([image] * size)
            taken.append(time.perf_counter() - started)
    return {size: statistics.median(taken[1:]) for size, taken in times.items()}


def fastest(seconds: Mapping[int, float]) -> int:
    """The size of which most frames get through in a second; of sizes that are about as good, the smallest.

    Args:
        seconds: for a batch, by its size.
    """
    rates = {size: size / max(took, 1e-9) for size, took in seconds.items()}
    return min(size for size, rate in rates.items() if rate >= max(rates.values()) / LEAST_GAIN)


def sizes_of(most: int) -> tuple[int, ...]:
    """Sizes that are measured: powers of two, and the largest."""
    return tuple(sorted({2**power for power in range(most.bit_length())} | {most}))
