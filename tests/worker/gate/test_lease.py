"""One gateway a gate: who has the lease, who stands by, and how it goes from one to the other."""

from tests.worker.gate.gateways import running_gateway
from tests.worker.processes import eventually
from tests.worker.readers import Stream
from worker.gate.inbox import LeaseHeld, LeaseTaken
from worker.gate.lease import Lease
from worker.line import LineKeys


def lease(url: str, line: str, holder: str, *, lasts_ms: int = 60_000) -> Lease:
    return Lease(url, line, "gate", holder, lasts_ms=lasts_ms, timeout_s=5.0)


def test_one_has_it_and_the_other_is_told_who(redis_url: str, line: str) -> None:
    first, second = lease(redis_url, line, "g1"), lease(redis_url, line, "g2")
    held = first.hold()
    assert isinstance(held, LeaseHeld)
    assert held.anew
    assert second.hold() == LeaseTaken("g1")
    kept = first.hold()
    assert isinstance(kept, LeaseHeld)
    assert not kept.anew


def test_given_up_it_goes_to_the_next_at_once_and_only_its_holder_can_give_it_up(redis_url: str, line: str) -> None:
    first, second = lease(redis_url, line, "g1"), lease(redis_url, line, "g2")
    first.hold()
    second.release()
    assert second.hold() == LeaseTaken("g1")
    first.release()
    assert eventually(lambda: isinstance(second.hold(), LeaseHeld), 5)


def test_one_that_is_not_renewed_ends_by_itself(redis_url: str, line: str) -> None:
    lease(redis_url, line, "g1", lasts_ms=50).hold()
    second = lease(redis_url, line, "g2")
    assert eventually(lambda: isinstance(second.hold(), LeaseHeld), 5)
    key = LineKeys(line).gate("gate")
    assert 0 < Stream(redis_url, line).ask("PTTL", key) <= 60_000, "never without an end"


def test_leases_of_two_gates_have_nothing_to_do_with_each_other(redis_url: str, line: str) -> None:
    lease(redis_url, line, "g1").hold()
    other = Lease(redis_url, line, "second", "g2", lasts_ms=60_000, timeout_s=5.0)
    assert isinstance(other.hold(), LeaseHeld)


def test_redis_s_clock_comes_with_it_and_is_never_behind(redis_url: str, line: str) -> None:
    """The offset is the most that Redis's clock may be ahead."""
    held = lease(redis_url, line, "g1").hold()
    assert isinstance(held, LeaseHeld)
    seconds, micros = Stream(redis_url, line).ask("TIME")
    redis_us = int(seconds) * 1_000_000 + int(micros)
    later = lease(redis_url, line, "g1").hold()
    assert isinstance(later, LeaseHeld)
    assert later.until_us - 60_000_000 + later.offset_us >= redis_us


def test_the_loser_stands_by_without_a_link_and_takes_over_when_the_first_leaves(redis_url: str, line: str) -> None:
    with running_gateway(redis_url, line, "g1") as first:
        first.is_in_step()
        with running_gateway(redis_url, line, "g2") as second:
            assert eventually(lambda: second.gateway.holder == "g1")
            assert not second.links
            first.leave()
            assert not first.plc.open
            second.shows(lambda status: status.online)
            assert (second.status.synchronised, second.status.counter, second.status.bypass) == (False, 0, False)
            second.is_in_step()
            second.trigger(1)
            second.store(1)
            assert second.result(1).opens


def test_a_gateway_whose_lease_another_has_taken_shows_nothing_any_more(redis_url: str, line: str) -> None:
    """As after a pause that outlasted its lease."""
    with running_gateway(redis_url, line, "g1", lease_ms=600) as gateway:
        gateway.shows(lambda status: status.online)
        plc = gateway.plc
        Stream(redis_url, line).ask("SET", LineKeys(line).gate("gate"), "g2", "PX", 60_000)
        assert eventually(lambda: not plc.open)
        assert not plc.status.online, "the last that was shown"
        assert eventually(lambda: gateway.gateway.holder == "g2")
        assert gateway.gateway.reign is None


def test_a_lease_that_had_ended_puts_the_gate_out_of_step(redis_url: str, line: str) -> None:
    with running_gateway(redis_url, line, "g1", lease_ms=3_000) as gateway:
        gateway.is_in_step()
        Stream(redis_url, line).ask("DEL", LineKeys(line).gate("gate"))
        gateway.shows(lambda status: not status.synchronised)
        gateway.is_in_step()
