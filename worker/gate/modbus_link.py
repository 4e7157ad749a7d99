"""What both Modbus links share: how an address is written, how requests are handed over."""

from collections import deque

from producers.errors import SettingsError
from producers.metrics import parse_address
from worker.gate.plc import Request


def parse_modbus_address(text: str) -> tuple[str, int]:
    """Host and port of `HOST:PORT`.

    Raises:
        SettingsError: it is none.
    """
    try:
        return parse_address(text)
    except SettingsError as error:
        raise SettingsError(
            f"{text[:80]} is no address for Modbus: expected HOST:PORT, 127.0.0.1:1502 for example"
        ) from error


def drain(requests: deque[Request]) -> list[Request]:
    """Takes all that lies there, in order. Any thread: the gateway takes them where it is woken, and in its loop."""
    found: list[Request] = []
    while True:
        try:
            found.append(requests.popleft())
        except IndexError:
            return found
