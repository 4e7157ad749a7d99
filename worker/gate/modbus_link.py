"""What both Modbus links share: how an address is written."""

from producers.errors import SettingsError
from producers.metrics import parse_address


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
