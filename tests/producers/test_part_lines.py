"""`producers.part_lines`: lines over real TCP and a real serial line."""

import itertools
import os
import socket
import sys
from collections.abc import Iterator
from contextlib import closing

import pytest

from producers.announced import Announcement
from producers.errors import SettingsError
from producers.part_lines import PartLines, part_lines
from tests.producers.scripted_worker import wait_until


@pytest.fixture
def server() -> Iterator[socket.socket]:
    """A barcode reader that waits for connections."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        listening.settimeout(10)
        yield listening


def listening_to(server: socket.socket) -> PartLines:
    lines = part_lines(f"tcp://127.0.0.1:{server.getsockname()[1]}")
    lines.open()
    return lines


def heard(lines: PartLines, count: int) -> list[str | None]:
    """The parts of so many announcements."""
    found: list[Announcement] = []

    def there() -> bool:
        found.extend(lines.take())
        return len(found) >= count

    wait_until(there, what=f"{count} parts are announced")
    assert all(first.at <= second.at for first, second in itertools.pairwise(found))
    return [item.part.part_id for item in found]


def test_every_line_is_a_part_however_readers_end_their_lines(server: socket.socket) -> None:
    with closing(listening_to(server)) as lines:
        reader, _ = server.accept()
        reader.sendall(b"A-1\r\nA-2\n\x02A-3\x03A-4\rhal")
        assert heard(lines, 4) == ["A-1", "A-2", "A-3", "A-4"]
        reader.sendall(b"f\n")
        assert heard(lines, 1) == ["half"]
        reader.close()


def test_a_reader_that_hangs_up_is_dialled_again(server: socket.socket) -> None:
    with closing(listening_to(server)) as lines:
        first, _ = server.accept()
        first.sendall(b"A-1\nbroken o")
        assert heard(lines, 1) == ["A-1"]
        first.close()
        second, _ = server.accept()
        second.sendall(b"A-2\n")
        assert heard(lines, 1) == ["A-2"], "half a line of the first connection is nobody's beginning"
        second.close()


def test_what_announces_nothing_is_left_out(server: socket.socket) -> None:
    with closing(listening_to(server)) as lines:
        reader, _ = server.accept()
        reader.sendall(b"x" * 300 + b"\n" + b"y" * 2000)
        reader.sendall(b"\n\r\n  \nA-1\n")
        assert "A-1" in heard(lines, 1)
        assert lines.take() == []
        reader.close()


@pytest.mark.parametrize("text", ["tcp://plc..local:1", "tcp://127.0.0.1:1"])
def test_nobody_there_or_a_name_that_can_be_none_is_dialled_again_and_closing_ends_it(text: str) -> None:
    """Its thread lives on, and the camera goes on without parts."""
    lines = part_lines(text)
    lines.open()
    lines._thread.join(0.2)
    assert lines._thread.is_alive()
    assert lines.take() == []
    lines.close()


def test_a_line_that_is_too_long_announces_no_part_though_its_beginning_would() -> None:
    with socket.create_server(("127.0.0.1", 0)) as door:
        port = door.getsockname()[1]
        with closing(part_lines(f"tcp://127.0.0.1:{port}")) as lines:
            lines.open()
            reader, _ = door.accept()
            reader.sendall(b"A-1" + b" " * 600)
            reader.sendall(b"B\nA-2\n")
            assert heard(lines, 1) == ["A-2"]
            reader.close()


@pytest.mark.skipif(sys.platform == "win32", reason="serial ports need termios")
def test_a_serial_port_is_read_line_by_line() -> None:
    reader, port = os.openpty()
    with closing(part_lines(f"serial:{os.ttyname(port)}@115200")) as lines:
        lines.open()
        wait_until(lambda: lines._port >= 0, what="it is open")  # type: ignore[attr-defined]
        os.write(reader, b"#7 A-1\r\nA-2\r\n")
        assert heard(lines, 2) == ["A-1", "A-2"]
    os.close(reader)
    os.close(port)


@pytest.mark.skipif(sys.platform == "win32", reason="serial ports need termios")
def test_a_speed_that_no_port_has_is_refused() -> None:
    with pytest.raises(SettingsError, match="1234"):
        part_lines("serial:/dev/ttyS0@1234")
