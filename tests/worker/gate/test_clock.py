"""What the gate knows of Redis's clock, sample by sample."""

from worker.gate.clock import MAX_AGE_US, RedisClock


def test_a_worse_sample_does_not_take_the_place_of_a_better_one_that_is_young() -> None:
    clock = RedisClock()
    assert clock.hear(500_000, 0, unsure_us=1_000) == 0
    assert clock.hear(700_000, 1_000_000, unsure_us=300_000) == 0
    assert clock.at(1_000_000) == 1_501_000, "a thousandth of the time between them is allowed for drift"
    assert clock.here(1_501_000) == 1_003_000
    clock.hear(700_000, 1_000_001 + MAX_AGE_US, unsure_us=300_000)
    assert clock.at(1_000_001 + MAX_AGE_US) == 1_700_001 + MAX_AGE_US, "the better one had grown old"


def test_samples_that_contradict_each_other_are_a_clock_that_was_set() -> None:
    clock = RedisClock()
    clock.hear(500_000, 0, unsure_us=1_000)
    assert clock.hear(490_000, 0, unsure_us=1_000) == 0, "a small step is followed"
    assert clock.at(0) == 490_000
    assert clock.hear(430_000, 0, unsure_us=1_000) == 59_000
    assert clock.at(0) == 430_000
    assert clock.hear(630_000, 0, unsure_us=1_000) == 199_000
    assert clock.at(0) == 630_000
