"""The gateway on a real Redis: verdicts become results, and whatever is lost on the way opens nothing."""

import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from producers.daemon import load_settings
from producers.errors import SettingsError
from producers.publisher import FramePublisher, PublisherSettings
from tests.conftest import RedisServer, start_redis, stop_redis
from tests.worker.gate.driven import judged
from tests.worker.gate.gateways import HandPlc, running_gateway
from tests.worker.processes import eventually
from tests.worker.readers import Stream, fields_of
from worker.demo.processes import free_ports
from worker.gate.cli import gate
from worker.gate.deciding import Cause
from worker.gate.inbox import AT_MOST, Inbox, Reading, ResultsLost, now_us
from worker.gate.plc import LinkDown, LinkUp, Trigger
from worker.gate.reign import Reign
from worker.gate.settings import GateSettings
from worker.gate.status import GateReason


def test_verdicts_of_every_view_become_a_result_that_opens(redis_url: str, line: str) -> None:
    with running_gateway(redis_url, line) as gateway:
        gateway.is_in_step()
        gateway.trigger(1, "A")
        gateway.store(1)
        assert (gateway.result(1).opens, gateway.result(1).part_id) == (True, "A")


def test_the_backlog_opens_nothing(redis_url: str, line: str) -> None:
    with running_gateway(redis_url, line) as before:
        before.store(1)
    with running_gateway(redis_url, line, window_ms=300) as gateway:
        gateway.is_in_step()
        gateway.trigger(1)
        assert gateway.result(1).reason is GateReason.SILENCE


def test_entries_that_are_no_verdicts_open_nothing_and_stop_nothing(redis_url: str, line: str) -> None:
    """A foreign entry, a map that is no PNG, a PASS with a score of NaN, a part id of 10 kB."""
    stream = Stream(redis_url, line)
    with running_gateway(redis_url, line) as gateway:
        gateway.is_in_step()
        gateway.trigger(1)
        until = 2**52
        stream.add_fields({"what": "ever"})
        for bad in ({"map": b"GIF89a"}, {"score": "nan"}, {"part_id": "A" * 10_000}, {"trigger": "one"}):
            for camera in ("top", "side"):
                stream.add_fields(fields_of(judged(camera, 1, seq=9, valid_until_us=until), **bad))
        reign = gateway.gateway.reign
        assert reign is not None
        assert eventually(lambda: reign.results.unreadable == 9)
        assert not gateway.status.results
        gateway.store(1)
        assert gateway.result(1).opens


def test_while_redis_is_away_parts_are_rejected_and_after_it_until_in_step(own_redis: RedisServer, line: str) -> None:
    with running_gateway(own_redis.url, line) as gateway:
        gateway.is_in_step()
        gateway.trigger(1)
        stop_redis(own_redis)
        gateway.shows(lambda status: not status.online)
        gateway.trigger(2)
        again = start_redis(own_redis.folder, port=own_redis.port)
        try:
            gateway.shows(lambda status: status.online)
            assert not gateway.status.synchronised
            gateway.trigger(3)
            gateway.store(1)
            gateway.store(2)
            gateway.store(3)
            assert gateway.result(2).reason is GateReason.OFFLINE
            assert gateway.result(3).reason is GateReason.UNSYNCHRONISED
            assert not gateway.result(1).opens
            gateway.is_in_step()
            gateway.trigger(4)
            gateway.store(4)
            assert gateway.result(4).opens
        finally:
            gateway.leave()
            stop_redis(again)


def test_a_stream_that_is_gone_puts_the_gate_out_of_step(redis_url: str, line: str) -> None:
    with running_gateway(redis_url, line) as gateway:
        gateway.is_in_step()
        gateway.trigger(1)
        gateway.store(1)
        assert gateway.result(1).opens
        Stream(redis_url, line).ask("DEL", f"{{{line}}}:results")
        assert eventually(lambda: gateway.machine.causes[Cause.RESULTS] == 1)
        gateway.is_in_step()
        gateway.trigger(2)
        gateway.store(2)
        assert gateway.result(2).opens


def test_a_plc_that_comes_back_finds_the_gate_out_of_step(redis_url: str, line: str) -> None:
    with running_gateway(redis_url, line) as gateway:
        gateway.is_in_step()
        gateway.plc.ask(LinkDown("no answer"), LinkUp())
        gateway.shows(lambda status: not status.synchronised)
        for number in (1, 2, 3):
            gateway.trigger(number)
            gateway.store(number)
            assert gateway.result(number).reason is GateReason.UNSYNCHRONISED
        gateway.trigger(4)
        gateway.store(4)
        assert gateway.result(4).opens, "three parts in time, and it is in step by itself"


def test_the_heartbeat_runs_while_nothing_happens(redis_url: str, line: str) -> None:
    with running_gateway(redis_url, line) as gateway:
        first = gateway.shows(lambda status: status.heartbeat > 0).heartbeat
        gateway.shows(lambda status: status.heartbeat > first + 3)


def test_the_live_topic_arms_parts_where_the_plc_does_not(redis_url: str, line: str) -> None:
    work, live = (f"tcp://127.0.0.1:{port}" for port in free_ports(2))
    publisher = PublisherSettings(camera="top", work=work, live=live, simulated=False, budget_ms=20_000)
    cameras = {"top": {"live": live}}
    with (
        FramePublisher(publisher) as camera,
        running_gateway(redis_url, line, arm="live", cameras=cameras, views=[{"camera": "top"}]) as gateway,
    ):
        gateway.is_in_step()
        number = 0

        def heard() -> bool:
            """Publishes until the subscription is there."""
            nonlocal number
            number += 1
            camera.publish(np.zeros((4, 6, 3), np.uint8), trigger=number)
            return bool(gateway.machine.counts["triggers"])

        assert eventually(heard)
        armed = number
        camera.publish(np.zeros((4, 6, 3), np.uint8), trigger=armed + 1)
        assert eventually(lambda: gateway.machine._roll.under_way(armed + 1) is not None)
        gateway.store(armed + 1, "top", session=camera.session)
        assert gateway.result(armed + 1).opens


def test_more_events_than_there_is_room_for_are_dropped_and_told() -> None:
    """Only verdicts and headers: what tells how the gateway stands, and what the PLC asks for, is always taken."""
    inbox, header = Inbox(), judged("top", 1).tag
    for _ in range(AT_MOST + 3):
        inbox.put(header)
    inbox.put(ResultsLost("Redis is away"))
    events, dropped = inbox.take(0)
    assert (len(events), dropped, events[-1][1]) == (AT_MOST + 1, 3, ResultsLost("Redis is away"))
    assert inbox.take(0) == ([], 0)


def test_while_the_inbox_is_half_full_requests_wait_in_their_link(redis_url: str, line: str) -> None:
    """So a PLC's block is refused as busy, or not read, before anything that it asks for can be lost."""
    given = {"line": line, "redis": redis_url, "views": [{"camera": "top"}], "window_ms": 100}
    inbox, links = Inbox(), list[HandPlc]()

    def opened(wake: Callable[[], None]) -> HandPlc:
        links.append(HandPlc(wake))
        return links[-1]

    reign = Reign(GateSettings.model_validate(given), inbox, opened)
    for _ in range(AT_MOST // 2):
        inbox.put(judged("top", 1).tag)
    links[0].ask(Trigger(1))
    assert list(links[0].waiting) == [Trigger(1)]
    inbox.clear()
    reign.turn(now_us())
    assert not links[0].waiting
    assert Trigger(1) in [event for _, event in inbox.take(0)[0]]
    reign.close()


def test_the_inbox_wakes_whoever_waits() -> None:
    inbox = Inbox()
    later = threading.Timer(0.05, inbox.put, (Reading(),))
    later.start()
    events, _ = inbox.take(now_us() + 30_000_000)
    assert [event for _, event in events] == [Reading()]
    later.join()


BAD = {
    "views": ["views = []", "List should|at least 1|too_short|Tuple should"],
    "a view twice": ['views = [{camera = "a"}, {camera = "a", view = "b"}]', "a view twice"],
    "no window": ["window_ms = 0", "window_ms"],
    "nobody arms": ['arm = "live"', r"needs \[cameras.top\]"],
    "both arm": ['cameras = {top = {live = "tcp://127.0.0.1:1"}}', "is for arm"],
    "live endpoint": ['cameras = {top = {live = "tcp:/127.0.0.1:1"}}', "can't be dialled: expected tcp"],
    "live port": ['cameras = {top = {live = "tcp://127.0.0.1:70000"}}', "can't be dialled"],
    "unknown key": ["windows = 3", "unknown key windows"],
    "address": ['modbus = {address = "nowhere"}', "nowhere"],
    "name": ['name = "a b"', "name"],
}


@pytest.mark.parametrize("bad", BAD)
def test_bad_settings_are_one_clear_sentence(tmp_path: Path, bad: str) -> None:
    given = {"views": 'views = [{camera = "top"}]', "window_ms": "window_ms = 100"}
    wrong, sentence = BAD[bad]
    given[wrong.split(" ")[0]] = wrong
    file = tmp_path / "gate.toml"
    file.write_text("\n".join(given.values()), encoding="utf-8")
    with pytest.raises(SettingsError, match=sentence):
        gate(config=file)


def test_without_a_file_the_command_says_what_is_missing() -> None:
    with pytest.raises(SettingsError, match="--config"):
        gate()


def test_the_shipped_settings_are_read() -> None:
    shipped = Path(__file__).parent.parent.parent.parent / "deploy" / "gate.toml"
    settings = load_settings(GateSettings, shipped, {})
    assert (settings.window_ms, settings.modbus.mode) == (400, "server")
