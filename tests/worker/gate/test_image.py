"""What a PLC may still see of a status."""

from tests.worker.gate.statuses import showing
from worker.gate.image import Image
from worker.gate.registers import decode


class Clock:
    """Stands still until it is set."""

    now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


def test_a_status_is_shown_as_it_is_while_it_is_fresh() -> None:
    clock = Clock()
    image = Image(stale_s=1.0, clock=clock)
    image.show(showing(3))
    clock.now_s = 1.0
    assert decode(image.registers(0)) == showing(3)


def test_a_status_that_nobody_renews_opens_nothing_and_is_offline() -> None:
    clock = Clock()
    image = Image(stale_s=1.0, clock=clock)
    image.show(showing(3))
    clock.now_s = 1.01
    seen = decode(image.registers(0))
    assert (seen.online, seen.synchronised, seen.at_gate) == (False, False, None)
    assert (seen.heartbeat, seen.results) == (1, showing(3).results)
    image.show(showing(3, heartbeat=2))
    assert decode(image.registers(0)).online


def test_before_the_first_status_it_is_offline() -> None:
    assert not decode(Image().registers(0)).online


def test_it_says_which_block_was_taken() -> None:
    image = Image()
    image.show(showing(3))
    assert [image.registers(taken)[5] for taken in (0, 7, 8)] == [0, 7, 8]
