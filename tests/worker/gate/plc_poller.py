"""A PLC that polls, as a process of its own: reads the block again and again, and counts what does not fit together.

`python -m tests.worker.gate.plc_poller PORT SECONDS`. Says `up` after the first answer, and at the end how many reads,
how many of them torn, and the counters it saw first and last. The statuses are those of `statuses.showing`.
"""

import json
import sys
import time

from pymodbus.client import ModbusTcpClient

from worker.gate.registers import BLOCK_WORDS, decode


def main(port: int, seconds: float) -> None:
    client = ModbusTcpClient("127.0.0.1", port=port, timeout=2, retries=0)
    client.connect()  # type: ignore[no-untyped-call]
    ends, seen, torn, reads = time.monotonic() + seconds, [], 0, 0
    while time.monotonic() < ends:
        status = decode(client.read_holding_registers(0, count=BLOCK_WORDS).registers)
        if reads == 0:
            print(json.dumps("up"), flush=True)
        reads += 1
        newest = status.results[-1].counter if status.results else 0
        at_gate = status.at_gate.counter if status.at_gate and status.at_gate.opens else 0
        torn += len({status.counter, newest, at_gate, status.heartbeat}) != 1
        seen.append(status.counter)
    print(json.dumps({"reads": reads, "torn": torn, "first": seen[0], "last": seen[-1]}), flush=True)
    client.close()  # type: ignore[no-untyped-call]


if __name__ == "__main__":
    main(int(sys.argv[1]), float(sys.argv[2]))
