"""A PLC that is a Modbus server, as a process of its own: registers that anybody may write, and no program.

`python -m tests.worker.gate.plc_memory PORT REGISTERS SLOW_MS`. One order a line on its standard input, in JSON:
`[what, ...]`. One answer a line on its standard output.
"""

import asyncio
import json
import logging
import sys
from typing import Any

from pymodbus.server import ModbusTcpServer
from pymodbus.simulator import DataType, SimData, SimDevice
from pymodbus.simulator.simdevice import SimAction

writes: list[tuple[int, int]] = []


def noting(slow_s: float) -> SimAction:
    """Notes each write, and takes its time for every answer."""

    async def note(
        _code: int, _start: int, address: int, count: int, _registers: list[int], values: list[Any] | None
    ) -> None:
        if values is not None:
            writes.append((address, count))
        await asyncio.sleep(slow_s)

    return note


async def obey(server: ModbusTcpServer, order: list[Any]) -> object:
    """`read, at, count`; `write, at, words`; `writes`: (address, registers) of each write since the last such order."""
    what, *rest = order
    if what == "read":
        return await server.async_getValues(1, 3, *rest)
    if what == "write":
        await server.async_setValues(1, 16, *rest)
        return None
    found = list(writes)
    writes.clear()
    return found


async def main(port: int, registers: int, slow_ms: int) -> None:
    logging.getLogger("pymodbus").setLevel(logging.CRITICAL)
    memory = SimData(0, count=registers, datatype=DataType.REGISTERS)
    device = SimDevice(0, simdata=[memory], action=noting(slow_ms / 1000))
    server = ModbusTcpServer(device, address=("127.0.0.1", port))
    await server.serve_forever(background=True)
    loop = asyncio.get_running_loop()
    print(json.dumps("up"), flush=True)
    while line := await loop.run_in_executor(None, sys.stdin.readline):
        print(json.dumps(await obey(server, json.loads(line))), flush=True)


if __name__ == "__main__":
    asyncio.run(main(*map(int, sys.argv[1:])))
