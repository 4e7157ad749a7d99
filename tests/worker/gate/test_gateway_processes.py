"""Real gateways and a real Modbus client: what a PLC sees when one hangs, and when it goes away itself."""

import signal
import time
import urllib.request
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from urllib.error import HTTPError

import pytest

pytest.importorskip("pymodbus")

from pymodbus.client import ModbusTcpClient
from pymodbus.exceptions import ModbusException

from tests.worker.gate.driven import judged
from tests.worker.processes import eventually, running
from tests.worker.readers import Stream
from tests.worker.sinks import now_judged, sink_at
from worker.demo.processes import free_ports
from worker.gate.commands import COMMAND_AT, Command
from worker.gate.registers import BLOCK_WORDS, decode, read
from worker.gate.status import Status
from worker.line import LineKeys


class ModbusPlc:
    """A PLC's program that polls one gateway, and dials again when it must."""

    def __init__(self, port: int) -> None:
        self.client = ModbusTcpClient("127.0.0.1", port=port, timeout=5, retries=0)

    def registers(self) -> list[int] | None:
        """The block; None: the gateway does not answer."""
        try:
            if not self.client.connected and not self.client.connect():  # type: ignore[no-untyped-call]
                return None
            found = self.client.read_holding_registers(0, count=BLOCK_WORDS)
        except (ModbusException, OSError):
            self.close()
            return None
        return None if found.isError() else list(found.registers)

    def sees(self, condition: Callable[[Status], bool], timeout_s: float = 60) -> bool:
        """Whether it sees a status that is so."""

        def seen() -> bool:
            found = self.registers()
            return found is not None and condition(decode(found))

        return eventually(seen, timeout_s)

    def order(self, **what: object) -> None:
        """Writes a command block, and waits until it was taken."""

        def taken() -> int:
            found = self.registers()
            assert found is not None
            return int(read(found, "taken") or 0)

        sequence = taken() % 65_535 + 1
        self.client.write_registers(COMMAND_AT, Command(sequence=sequence, **what).words())  # type: ignore[arg-type]
        assert eventually(lambda: taken() == sequence)

    def close(self) -> None:
        self.client.close()  # type: ignore[no-untyped-call]


def ready(port: int) -> str:
    """What /readyz says; nothing: nobody is there yet."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=5) as answer:
            return str(answer.read().decode())
    except HTTPError as error:
        return str(error.read().decode())
    except OSError:
        return ""


def write_gate(path: Path, *, url: str, line: str, modbus: int, metrics: int) -> Path:
    path.write_text(
        f'line = "{line}"\nredis = "{url}"\nwindow_ms = 20000\nlease_ms = 5000\nmetrics = "127.0.0.1:{metrics}"\n'
        f'views = [{{camera = "top"}}, {{camera = "side"}}]\nmodbus = {{address = "127.0.0.1:{modbus}"}}\n',
        encoding="utf-8",
    )
    return path


def opens(plc: ModbusPlc, url: str, line: str, number: int) -> bool:
    """Puts a good part through: whether its gate opens."""
    plc.order(trigger=number)
    sink = sink_at(url, line)
    until = sink.redis_us(time.monotonic() + 20)
    sink.store(now_judged(*(judged(camera, number, valid_until_us=until) for camera in ("top", "side"))))
    return plc.sees(lambda status: any(result.trigger == number and result.opens for result in status.results))


def test_a_gateway_that_hangs_is_succeeded_and_stands_by_when_it_goes_on(
    redis_url: str, line: str, tmp_path: Path
) -> None:
    ports = free_ports(4)
    configs = [
        write_gate(tmp_path / f"{at}.toml", url=redis_url, line=line, modbus=ports[2 * at], metrics=ports[2 * at + 1])
        for at in (0, 1)
    ]
    first, second = ModbusPlc(ports[0]), ModbusPlc(ports[2])
    with ExitStack() as stack:
        holder = stack.enter_context(running("gate", "--config", str(configs[0]), log=tmp_path / "0.log"))
        assert first.sees(lambda status: status.online)
        heir = stack.enter_context(running("gate", "--config", str(configs[1]), log=tmp_path / "1.log"))
        assert eventually(lambda: "it stands by" in ready(ports[3]))
        assert second.registers() is None, "who stands by shows nothing"
        first.order(synchronise=True)
        assert opens(first, redis_url, line, 1)
        assert "yes" in ready(ports[1])

        first.close()
        assert first.sees(lambda status: not status.synchronised), "the PLC was away"

        first.close()
        holder.send_signal(signal.SIGSTOP)
        assert second.sees(lambda status: status.online)
        assert second.sees(lambda status: not status.synchronised and status.counter == 0)
        second.order(synchronise=True)
        assert opens(second, redis_url, line, 2)

        holder.send_signal(signal.SIGCONT)
        assert eventually(lambda: "it stands by" in ready(ports[1]))
        assert first.registers() is None
        assert second.sees(lambda status: status.online and status.synchronised), "the other's return is nothing to it"

        heir.terminate()
        assert heir.wait(30) == 0
        assert first.sees(lambda status: status.online and status.counter == 0)
        holder.terminate()
        assert holder.wait(30) == 0
        assert eventually(lambda: not Stream(redis_url, line).ask("EXISTS", LineKeys(line).gate("gate")), 5)
    first.close()
    second.close()
