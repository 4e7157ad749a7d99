"""The Modbus server: each read is of one status, each block is taken once, and no client costs the others anything."""

import random
import socket
import struct
import threading
import time
from collections.abc import Iterator

import psutil
import pytest

pytest.importorskip("pymodbus")

from pymodbus.client import ModbusTcpClient

from producers.errors import AddressTaken, SettingsError
from tests.worker.gate.peers import PlcPoller
from tests.worker.gate.statuses import showing
from tests.worker.processes import eventually
from worker.demo.processes import free_ports
from worker.gate.commands import COMMAND_AT, SEQUENCE_AT, Command
from worker.gate.modbus_caller import MAX_REQUESTS
from worker.gate.modbus_server import MAX_CLIENTS, MAX_WAITING, ModbusServer
from worker.gate.plc import Acknowledge, LinkDown, LinkUp, Request, SetBypass, Trigger
from worker.gate.registers import BLOCK_WORDS, RECORDS_AT, decode

ILLEGAL_FUNCTION, ILLEGAL_ADDRESS, ILLEGAL_VALUE, BUSY = 1, 2, 3, 6
FC3 = struct.pack(">HHHBBHH", 1, 0, 6, 1, 3, 0, BLOCK_WORDS)
"""A request for the block."""
ANSWER_BYTES = 9 + 2 * BLOCK_WORDS


class Link:
    """A server under test, and all that it ever asked for."""

    def __init__(self, **settings: float) -> None:
        self.port = free_ports(1)[0]
        self.woken = threading.Event()
        self.server = ModbusServer(f"127.0.0.1:{self.port}", wake=self.woken.set, **settings)
        self.asked: list[Request] = []

    def hear(self, request: Request) -> bool:
        """Whether it asks for that before long."""

        def heard() -> bool:
            self.asked += self.server.requests()
            return request in self.asked

        return eventually(heard, 10)

    def dial(self) -> socket.socket:
        """A connection that speaks in bytes."""
        return socket.create_connection(("127.0.0.1", self.port), timeout=5)

    def count(self, what: str) -> int:
        return self.server.counts.get(what, 0)


@pytest.fixture
def link() -> Iterator[Link]:
    link = Link()
    yield link
    link.server.close()


@pytest.fixture
def client(link: Link) -> Iterator[ModbusTcpClient]:
    client = ModbusTcpClient("127.0.0.1", port=link.port, timeout=5, retries=0)
    assert client.connect()  # type: ignore[no-untyped-call]
    yield client
    client.close()  # type: ignore[no-untyped-call]


def read_exactly(connection: socket.socket, size: int) -> bytes:
    found = b""
    while len(found) < size and (more := connection.recv(size - len(found))):
        found += more
    return found


def hung_up(connection: socket.socket) -> bool:
    """Whether the other end has ended it."""
    try:
        while connection.recv(65_536):
            pass
    except TimeoutError:
        return False
    except ConnectionError:
        pass
    return True


def test_the_newest_status_is_read_as_holding_and_as_input_registers(link: Link, client: ModbusTcpClient) -> None:
    link.server.show(showing(3))
    link.server.show(showing(40))
    block = client.read_holding_registers(0, count=BLOCK_WORDS).registers
    assert decode(block).counter == 40
    assert [result.counter for result in decode(block).results] == list(range(25, 41))
    assert client.read_input_registers(0, count=BLOCK_WORDS).registers == block
    assert client.read_holding_registers(RECORDS_AT, count=1).registers[0] == 35  # (35 - 1) % 17 == 0


def test_no_read_is_torn_while_statuses_change_as_fast_as_they_can() -> None:
    """A counter that runs, and a PLC in a process of its own that holds the fields of each read against each other."""
    link = Link(stale_s=60)  # the PLC takes its time to start
    link.server.show(showing(1, heartbeat=1))
    with PlcPoller(link.port, 1.0) as poller:
        counter = 1
        while poller.process.poll() is None:
            counter += 1
            link.server.show(showing(counter, heartbeat=counter))
            time.sleep(0.0005)
        found = poller.answer()
    link.server.close()
    assert found["torn"] == 0
    assert found["reads"] > 10
    assert found["last"] > found["first"]


def test_a_block_is_taken_once_and_said_so_and_wakes_whoever_reads(link: Link, client: ModbusTcpClient) -> None:
    block = Command(sequence=5, trigger=17, part_id="A-17", acknowledge=3).words()
    for _ in range(2):
        assert not client.write_registers(COMMAND_AT, block).isError()
    assert link.woken.is_set()
    assert link.server.requests() == [LinkUp(), Acknowledge(3), Trigger(17, "A-17")]
    assert client.read_holding_registers(5).registers == [5]
    assert client.read_holding_registers(COMMAND_AT, count=len(block)).registers == block


def test_a_block_that_is_written_word_by_word_is_taken_at_its_sequence(link: Link, client: ModbusTcpClient) -> None:
    *words, sequence = Command(sequence=9, trigger=2, bypass=True).words()
    for at, word in enumerate(words):
        client.write_register(COMMAND_AT + at, word)
    assert link.server.requests() == [LinkUp()]
    client.write_register(SEQUENCE_AT, sequence)
    assert link.server.requests() == [SetBypass(True), Trigger(2)]


@pytest.mark.parametrize(
    ("at", "words"), [(0, 1), (BLOCK_WORDS - 1, 1), (COMMAND_AT - 1, 2), (SEQUENCE_AT, 2), (9999, 1)]
)
def test_a_write_outside_the_command_block_is_refused(link: Link, client: ModbusTcpClient, at: int, words: int) -> None:
    assert client.write_registers(at, [7] * words).exception_code == ILLEGAL_ADDRESS
    assert link.server.requests() == [LinkUp()]


@pytest.mark.parametrize(("at", "words"), [(BLOCK_WORDS, 1), (BLOCK_WORDS - 1, 2), (RECORDS_AT + 950, 3), (65_535, 1)])
def test_a_read_beyond_the_map_is_refused(client: ModbusTcpClient, at: int, words: int) -> None:
    assert client.read_holding_registers(at, count=words).exception_code == ILLEGAL_ADDRESS


def test_whatever_is_no_register_is_refused(client: ModbusTcpClient) -> None:
    assert client.read_coils(0, count=8).exception_code == ILLEGAL_FUNCTION
    assert client.write_coil(COMMAND_AT, True).exception_code == ILLEGAL_FUNCTION
    assert client.report_device_id().exception_code == ILLEGAL_FUNCTION
    assert client.diag_restart_communication(True).exception_code == ILLEGAL_FUNCTION


@pytest.mark.parametrize(
    ("request_bytes", "code"),
    [
        (b"\x03\x00\x00\x00\x7e", ILLEGAL_FUNCTION),  # 126 registers: pymodbus can't decode it
        (b"\x03\x00", ILLEGAL_FUNCTION),  # cut short
        (b"\x41\x00\x00", ILLEGAL_FUNCTION),  # no such function
        (b"\x10\x01\xf4\x00\x02\x02\x00\x07", ILLEGAL_VALUE),  # two registers announced, one there
    ],
)
def test_a_malformed_request_is_answered_by_an_exception_and_the_next_one_as_ever(
    link: Link, request_bytes: bytes, code: int
) -> None:
    with link.dial() as connection:
        connection.sendall(struct.pack(">HHHB", 7, 0, 1 + len(request_bytes), 1) + request_bytes)
        answer = read_exactly(connection, 9)
        assert answer[7] & 0x80
        assert answer[8] == code
        connection.sendall(FC3)
        assert len(read_exactly(connection, ANSWER_BYTES)) == ANSWER_BYTES


def test_no_function_with_any_bytes_behind_it_ends_the_server_or_gets_no_answer(
    link: Link, client: ModbusTcpClient
) -> None:
    chance = random.Random(3)
    with link.dial() as connection:
        for number in range(600):
            pdu = bytes([number % 128]) + chance.randbytes(chance.randrange(1, 40))
            connection.sendall(struct.pack(">HHHB", number, 0, 1 + len(pdu), 1) + pdu)
            transaction, _, length = struct.unpack(">HHH", read_exactly(connection, 6))
            assert transaction == number
            assert len(read_exactly(connection, length)) == length
    assert decode(client.read_holding_registers(0, count=BLOCK_WORDS).registers).counter == 0


def test_requests_may_come_in_one_segment_or_byte_by_byte(link: Link) -> None:
    with link.dial() as connection:
        connection.sendall(FC3 * 5)
        assert len(read_exactly(connection, 5 * ANSWER_BYTES)) == 5 * ANSWER_BYTES
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for byte in FC3:
            connection.sendall(bytes([byte]))
        assert len(read_exactly(connection, ANSWER_BYTES)) == ANSWER_BYTES


@pytest.mark.parametrize("garbage", [b"GET / HTTP/1.1\r\n\r\n", b"\0" * 300, FC3 * (MAX_REQUESTS + 40)])
def test_who_does_not_speak_modbus_is_hung_up_on_and_the_others_are_served(
    link: Link, client: ModbusTcpClient, garbage: bytes
) -> None:
    with link.dial() as connection:
        connection.sendall(garbage)
        assert hung_up(connection)
    assert not client.read_holding_registers(0, count=BLOCK_WORDS).isError()


def test_who_never_reads_the_answers_is_hung_up_on(link: Link) -> None:
    with link.dial() as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.settimeout(0.5)
        for _ in range(200_000):
            try:
                connection.sendall(FC3)
            except OSError:  # its answers fill every buffer, or it is hung up on
                break
        assert eventually(lambda: link.count("answers_unread") + link.count("too_many_requests") == 1, 10)


def test_a_ninth_client_takes_the_place_of_the_one_that_is_silent_longest(link: Link) -> None:
    connections = [link.dial() for _ in range(MAX_CLIENTS)]
    for connection in connections:
        connection.sendall(FC3)
        read_exactly(connection, ANSWER_BYTES)
    ninth = link.dial()
    assert hung_up(connections[0])
    ninth.sendall(FC3)
    connections[1].sendall(FC3)
    assert len(read_exactly(ninth, ANSWER_BYTES)) == len(read_exactly(connections[1], ANSWER_BYTES)) == ANSWER_BYTES
    for connection in (*connections, ninth):
        connection.close()
    assert link.count("evicted") == 1


def test_however_many_dial_at_once_eight_remain(link: Link) -> None:
    connections = [link.dial() for _ in range(30)]
    assert eventually(lambda: link.count("evicted") == 30 - MAX_CLIENTS, 10)
    for connection in connections:
        connection.close()
    assert eventually(lambda: link.count("hung_up") == MAX_CLIENTS, 10)


def test_a_client_that_falls_silent_is_hung_up_on_and_said_to_be_gone() -> None:
    link = Link(idle_s=1.0)
    with link.dial() as half_open:
        half_open.sendall(FC3)
        assert link.hear(LinkUp())
        assert link.hear(LinkDown("the last client is gone: silent"))
        assert hung_up(half_open)
    assert not link.server.connected
    link.server.close()


def test_the_link_is_up_while_any_client_asks_and_down_once_after_the_last(link: Link) -> None:
    with PlcPoller(link.port, 60) as poller:
        assert link.hear(LinkUp())
        with link.dial() as second:
            second.sendall(FC3)
            read_exactly(second, ANSWER_BYTES)
            assert link.count("accepted") == 2
            poller.kill()
            assert eventually(lambda: link.count("hung_up") == 1, 10)
            assert link.server.connected
        assert link.hear(LinkDown("the last client is gone: hung_up"))
    assert [type(request) for request in link.asked] == [LinkUp, LinkDown]


def test_a_connection_that_asks_for_nothing_is_no_link(link: Link) -> None:
    with link.dial():
        assert eventually(lambda: link.count("accepted") == 1, 10)
    assert eventually(lambda: link.count("hung_up") == 1, 10)
    assert link.server.requests() == []


def test_blocks_beyond_what_may_wait_are_refused_as_busy_and_taken_later(link: Link, client: ModbusTcpClient) -> None:
    for sequence in range(1, MAX_WAITING):
        assert not client.write_registers(COMMAND_AT, Command(sequence=sequence, trigger=sequence).words()).isError()
    late = Command(sequence=40_000, trigger=40_000).words()
    assert client.write_registers(COMMAND_AT, late).exception_code == BUSY
    assert client.read_holding_registers(5).registers == [MAX_WAITING - 1]
    assert len(link.server.requests()) == MAX_WAITING
    assert not client.write_registers(COMMAND_AT, late).isError()
    assert link.server.requests() == [Trigger(40_000)]


def test_a_gateway_that_hangs_is_seen_to() -> None:
    link = Link(stale_s=0.1)
    link.server.show(showing(3))
    with link.dial() as connection:
        time.sleep(0.15)
        connection.sendall(FC3)
        words = struct.unpack(f">{BLOCK_WORDS}H", read_exactly(connection, ANSWER_BYTES)[9:])
    assert (decode(words).online, decode(words).at_gate, decode(words).heartbeat) == (False, None, 1)
    link.server.close()


def test_connections_that_come_and_go_leave_nothing_behind(link: Link) -> None:
    me = psutil.Process()
    with link.dial() as connection:
        connection.sendall(FC3)
        read_exactly(connection, ANSWER_BYTES)
    assert eventually(lambda: not link.server.connected, 10)
    before = (me.num_fds(), threading.active_count())
    for _ in range(100):
        with link.dial() as connection:
            connection.sendall(FC3)
    assert eventually(lambda: link.count("hung_up") + link.count("evicted") == 101, 10)
    assert (me.num_fds(), threading.active_count()) == before


def test_an_address_that_is_taken_is_named(link: Link) -> None:
    with pytest.raises(AddressTaken, match=f"127.0.0.1:{link.port} can't be bound for Modbus"):
        ModbusServer(f"127.0.0.1:{link.port}", wake=lambda: None)


def test_what_is_no_address_is_named() -> None:
    with pytest.raises(SettingsError, match="no address for Modbus: expected HOST:PORT"):
        ModbusServer("tcp://0.0.0.0:502", wake=lambda: None)
