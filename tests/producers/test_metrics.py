"""`producers.metrics` and `producers.gauges` over real HTTP."""

import socket
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

import numpy as np
import pytest
from prometheus_client import CollectorRegistry
from prometheus_client.parser import text_string_to_metric_families

from producers.errors import AddressTaken, SettingsError
from producers.gauges import camera_metrics
from producers.metrics import AT_ONCE, parse_address, serve_metrics
from producers.publisher import FramePublisher
from tests.producers.conftest import Dial, Publish
from tests.producers.scripted_worker import wait_until
from tests.producers.test_journal import killed
from worker.demo.processes import free_ports

PICTURE = np.full((4, 6, 3), 7, np.uint8)


@pytest.fixture
def address() -> tuple[str, int]:
    return "127.0.0.1", free_ports(1)[0]


@pytest.fixture
def publisher(publish: Publish, address: tuple[str, int], tmp_path: Path) -> Iterator[FramePublisher]:
    """One whose predecessor was killed with three frames, and that shows its numbers."""
    killed(tmp_path, given_out=3)
    with publish(state=tmp_path) as opened, camera_metrics(opened, address):
        yield opened


def get(address: tuple[str, int], path: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(f"http://{address[0]}:{address[1]}{path}", timeout=10) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()


def scrape(address: tuple[str, int]) -> dict[str, float]:
    """The samples; with the reason, where they have one."""
    status, text = get(address, "/metrics")
    assert status == 200
    found = {}
    for family in text_string_to_metric_families(text):
        assert family.documentation
        for sample in family.samples:
            assert sample.labels["camera"] == "cam1"
            reason = sample.labels.get("reason")
            found[f"{sample.name}/{reason}" if reason else sample.name] = sample.value
    return {name.removeprefix("sightline_camera_"): value for name, value in found.items()}


def test_every_outcome_of_a_frame_is_counted(publisher: FramePublisher, dial: Dial, address: tuple[str, int]) -> None:
    worker = dial()
    worker.hello(credit=3)
    names = [publisher.publish(PICTURE) for _ in range(4)]
    publisher.give_up("bad_frame")
    worker.send(b"nonsense", b"", b"")
    wait_until(lambda: publisher.counts()["captured"] == 5, what="the publisher has the frames")
    worker.settle()
    worker.stored(names[0])
    worker.judged(names[1])
    worker.settle()
    assert scrape(address) == {
        "captured_total": 5,
        "inherited_total": 3,
        "stored_total": 1,
        "judged_total": 1,
        "resent_total": 0,
        "gone_total/lost": 3,
        "gone_total/bad_frame": 1,
        "gone_total/expired": 0,
        "gone_total/no_recipe": 0,
        "gone_total/worker_error": 0,
        "messages_refused_total": 1,
        "keys_refused_total": 0,
        "unrecorded_total": 0,
        "journal_failures_total": 0,
        "workers": 1,
        "open": 7,
        "kept_frames": 3,
        "kept_bytes": 3 * PICTURE.nbytes,
    }


def test_a_camera_is_ready_while_a_worker_is_there(
    publisher: FramePublisher, dial: Dial, address: tuple[str, int]
) -> None:
    assert get(address, "/readyz") == (503, "no\n")
    worker = dial()
    worker.hello()
    wait_until(lambda: get(address, "/readyz") == (200, "yes\n"), what="it is ready")


def test_a_camera_is_healthy_while_its_thread_runs(publisher: FramePublisher, address: tuple[str, int]) -> None:
    assert get(address, "/healthz") == (200, "yes\n")
    publisher.close()
    assert get(address, "/healthz") == (503, "no\n")


def test_other_paths_are_not_found_and_say_which_there_are(publisher: FramePublisher, address: tuple[str, int]) -> None:
    status, text = get(address, "/")
    assert status == 404
    assert "/metrics" in text
    assert get(address, "/metrics?name=x")[0] == 200


def test_whoever_holds_connections_open_does_not_shut_out_the_rest_for_good(
    publisher: FramePublisher, address: tuple[str, int]
) -> None:
    with ExitStack() as stack:
        idle = [stack.enter_context(socket.create_connection(address)) for _ in range(AT_ONCE)]
        more = stack.enter_context(socket.create_connection(address))
        more.settimeout(10)
        with suppress(ConnectionResetError):
            assert more.recv(1) == b"", "it is turned away at once"
        idle.pop().close()
        wait_until(lambda: answers(address), what="there is a seat again")


def answers(address: tuple[str, int]) -> bool:
    try:
        return get(address, "/healthz")[0] == 200
    except (OSError, urllib.error.URLError):
        return False


def test_an_address_in_use_is_told_by_name_and_is_free_again_afterwards(address: tuple[str, int]) -> None:
    def serving() -> "ExitStack":
        stack = ExitStack()
        stack.enter_context(serve_metrics(address, CollectorRegistry(), ready=lambda: True, alive=lambda: True))
        return stack

    with serving():
        with pytest.raises(AddressTaken, match=f"127.0.0.1:{address[1]}"):
            serving()
        assert answers(address)
    with serving():
        assert answers(address)


def test_a_host_that_there_is_not_is_told_by_name() -> None:
    with (
        pytest.raises(AddressTaken, match=r"nowhere\.invalid"),
        serve_metrics(("nowhere.invalid", 1), CollectorRegistry(), ready=lambda: True, alive=lambda: True),
    ):
        pytest.fail("it serves")


@pytest.mark.parametrize(
    ("text", "address"),
    [("127.0.0.1:9464", ("127.0.0.1", 9464)), ("[::1]:1", ("::1", 1)), ("camera-pc:65535", ("camera-pc", 65535))],
)
def test_an_address_is_host_and_port(text: str, address: tuple[str, int]) -> None:
    assert parse_address(text) == address


@pytest.mark.parametrize(
    "text", ["", "9464", ":9464", "host", "host:", "host:0", "host:65536", "::1:80", "http://h:80"]
)
def test_anything_else_is_a_settings_error_that_names_it(text: str) -> None:
    with pytest.raises(SettingsError, match="no address for metrics"):
        parse_address(text)
