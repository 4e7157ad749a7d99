"""What the fault suite shares: lines that are closed when a test ends."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import pytest

from producers.daemon import configure_logging

if TYPE_CHECKING:
    from tests.faults.harness import FaultLine

PATIENT_S = 60.0

OpenLine = Callable[..., "FaultLine"]


@pytest.fixture(autouse=True)
def quiet() -> None:
    """What is broken on purpose need not fill the test's output."""
    configure_logging("error")


@pytest.fixture
def open_line(redis_url: str, line: str) -> Iterator[OpenLine]:
    """Opens a line with publisher settings of the test's choice, and a Redis of its own if it has one."""
    from tests.faults.harness import FaultLine  # the null worker needs torch, which a base install lacks

    with ExitStack() as stack:

        def opened(*, redis: str = redis_url, **changes: Any) -> "FaultLine":
            return stack.enter_context(FaultLine(redis, line, **changes))

        yield opened


@pytest.fixture
def a_line(open_line: OpenLine) -> "FaultLine":
    """A line as most tests need it."""
    return open_line()


@pytest.fixture
def patient_line(open_line: OpenLine) -> "FaultLine":
    """A line whose workers all live: on no machine, however busy, does one of them look dead."""
    return open_line(heartbeat_s=PATIENT_S)
