"""A Redis Cluster, of real nodes: one without slots, and one whose other node has the line."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from itertools import islice
from pathlib import Path
from typing import Any

from structlog.testing import capture_logs

from tests.conftest import RedisServer, start_redis, stop_redis
from tests.worker.processes import eventually, stored_verdicts
from tests.worker.sinks import Stored, command, put, sink_at, writing
from worker.demo.processes import free_ports
from worker.reader import ResultReader


@contextmanager
def nodes(folder: Path, count: int) -> Iterator[list[RedisServer]]:
    """Cluster nodes that know nothing yet. A node's bus listens 10,000 ports above its own."""
    with ExitStack() as stack:
        servers = []
        for index in range(count):
            port = next(port for port in iter(lambda: free_ports(1)[0], None) if port < 55_000)
            (folder / str(index)).mkdir()
            options = ("--cluster-enabled", "yes", "--cluster-node-timeout", "2000")
            servers.append(start_redis(folder / str(index), *options, port=port))
            stack.callback(stop_redis, servers[-1])
        yield servers


def ask(server: RedisServer, *words: str | int) -> Any:
    answer = command(server.url, *words)
    return answer.decode() if isinstance(answer, bytes) else answer


def test_verdicts_wait_while_the_cluster_serves_no_slots_and_are_then_stored_once_and_in_order(
    tmp_path: Path, line: str
) -> None:
    stored = Stored()
    with nodes(tmp_path, 1) as (server,), capture_logs() as logs, writing(sink_at(server.url, line), stored) as writer:
        put(writer, *range(100))
        assert eventually(lambda: any(entry.get("fault") == "cluster_down" for entry in logs))
        assert stored.frames == []
        ask(server, "CLUSTER", "ADDSLOTS", *range(16_384))
        assert stored.wait_for(100)
        assert [read.tag.seq for read in stored_verdicts(server.url, line)] == list(range(100))


def test_a_line_that_lives_on_another_node_is_followed_there_and_back(tmp_path: Path, line: str) -> None:
    stored = Stored()
    with nodes(tmp_path, 2) as (first, second):
        ask(first, "CLUSTER", "ADDSLOTS", *range(16_384))
        ask(first, "CLUSTER", "MEET", "127.0.0.1", second.port)
        slot = ask(first, "CLUSTER", "KEYSLOT", f"{{{line}}}:results")
        owners = {server.port: ask(server, "CLUSTER", "MYID") for server in (first, second)}
        assert eventually(lambda: str(ask(second, "CLUSTER", "NODES")).count("connected") >= 2)
        with writing(sink_at(first.url, line), stored) as writer:
            for node in (second, first):  # the slot is empty whenever it moves: the nodes need no migration of keys
                for server in (node, first, second):
                    ask(server, "CLUSTER", "SETSLOT", slot, "NODE", owners[node.port])
                put(writer, 0 if node is second else 1)
                assert stored.wait_for(1 if node is second else 2)
                assert len(stored_verdicts(node.url, line)) == 1
                for server in (first, second):  # a reader finds it from either node
                    assert len(list(islice(ResultReader(server.url, line).follow(start="0"), 1))) == 1
                    assert next(ResultReader(server.url, line).follow_group(f"g{server.port}", "c")).tag.seq >= 0
                ask(node, "FLUSHALL")
