"""What the tests beside the camera share: endpoints of their own, publishers that are closed, scripted workers."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from producers.daemon import configure_logging
from producers.publisher import FramePublisher, PublisherSettings
from tests.producers.scripted_worker import ScriptedWorker
from worker.demo.processes import free_ports

Publish = Callable[..., FramePublisher]
Dial = Callable[..., ScriptedWorker]


@pytest.fixture(autouse=True)
def quiet() -> None:
    """Publishers that are badly treated on purpose need not fill the test's output."""
    configure_logging("error")


@pytest.fixture
def endpoints() -> tuple[str, str]:
    """A work and a live endpoint that nobody has."""
    work, live = free_ports(2)
    return f"tcp://127.0.0.1:{work}", f"tcp://127.0.0.1:{live}"


@pytest.fixture
def publisher_settings(endpoints: tuple[str, str]) -> PublisherSettings:
    """Of camera `cam1` and recipe `part`."""
    return PublisherSettings(camera="cam1", recipe="part", work=endpoints[0], live=endpoints[1])


@pytest.fixture
def publish(publisher_settings: PublisherSettings) -> Iterator[Publish]:
    """Opens publishers, with settings changed as asked; closes them when the test ends."""
    with ExitStack() as stack:

        def open_publisher(**changes: Any) -> FramePublisher:
            fields = {**publisher_settings.model_dump(), **changes}
            return stack.enter_context(FramePublisher(PublisherSettings.model_validate(fields)))

        yield open_publisher


@pytest.fixture
def dial(endpoints: tuple[str, str]) -> Iterator[Dial]:
    """Starts scripted workers that dial the work endpoint; they leave when the test ends."""
    with ExitStack() as stack:

        def dial_worker(**changes: Any) -> ScriptedWorker:
            return stack.enter_context(ScriptedWorker(endpoints[0], **changes))

        yield dial_worker
