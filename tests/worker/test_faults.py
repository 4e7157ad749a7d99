"""The table of Redis's answers: every one is known, and none means anything else."""

import socket
import threading

import pytest
import redis

from tests.worker.sinks import sink_at
from worker.errors import ResultsUnavailable
from worker.faults import FAULTS, UNKNOWN, Policy, fault_of
from worker.line import redis_errors

# What servers say: Redis 6.2 with its prefixes, 7.0 and later, and a cluster.
SAID = {
    "seen_key": ["error: seen: WRONGTYPE Operation against a key holding the wrong kind of value"],
    "results_key": ["error: results: WRONGTYPE Operation against a key holding the wrong kind of value"],
    "wrong_type": ["WRONGTYPE Operation against a key holding the wrong kind of value"],
    "ids_used_up": ["error: results: ERR The stream has exhausted the last possible ID, unable to add more items"],
    "too_large": ["error: results: ERR Elements are too large to be stored"],
    "permission": [
        "NOPERM this user has no permissions to access one of the keys used as arguments",
        "error: seen: @user_script: 37: The user executing the script can't run this command or subcommand",
        "error: seen: ERR The user executing the script can't run this command or subcommand",
        "error: results: ERR ACL failure in script: User w has no permissions to run the 'xadd' command",
    ],
    "login": ["WRONGPASS invalid username-password pair or user is disabled.", "NOAUTH Authentication required."],
    "tls": ["tls: [SSL: CERTIFICATE_VERIFY_FAILED] certificate verify failed: self-signed certificate"],
    "clients": [
        "ERR max number of clients reached",
        "unreachable: max number of clients + cluster connections reached",
    ],
    "memory": [
        "OOM command not allowed when used memory > 'maxmemory'.",
        "error: seen: @user_script: 44: -OOM command not allowed when used memory > 'maxmemory'.\r\n",
    ],
    "disk": ["error: seen: MISCONF Redis is configured to save RDB snapshots, but it's currently unable to persist"],
    "readonly": ["error: seen: @user_script: 44: -READONLY You can't write against a read only replica.\r\n"],
    "master_down": ["MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'."],
    "replicas": ["error: seen: NOREPLICAS Not enough good replicas to write."],
    "unreplicated": [" unreplicated: 0 replicas have it, 1 asked for"],
    "loading": ["LOADING Redis is loading the dataset in memory"],
    "busy": ["BUSY Redis is busy running a script. You can only call SCRIPT KILL or SHUTDOWN NOSAVE."],
    "script_gone": ["NOSCRIPT No matching script. Please use EVAL."],
    "moved": ["MOVED 3999 127.0.0.1:6381"],
    "resharding": ["ASK 3999 127.0.0.1:6381", "TRYAGAIN Multiple keys request during rehashing of slot"],
    "cluster_down": ["CLUSTERDOWN Hash slot not served", "CLUSTERDOWN The cluster is down"],
    "timeout": ["timeout: Timeout reading from 127.0.0.1:6379"],
    "unreachable": ["unreachable: Error 111 connecting to 127.0.0.1:6379. Connection refused."],
}


def test_the_table_has_an_example_of_every_fault() -> None:
    assert [fault.name for fault in FAULTS] == list(SAID)


@pytest.mark.parametrize("name", SAID)
def test_what_redis_says_means_this_fault_and_no_other(name: str) -> None:
    assert {fault_of(text).name for text in SAID[name]} == {name}


def test_an_answer_that_nobody_foresaw_is_said_to_be_unknown_and_stops_only_its_own_verdict() -> None:
    assert fault_of("error: results: ERR something new") is UNKNOWN
    assert UNKNOWN.policy is Policy.ASIDE


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_every_fault_says_what_it_means_and_what_to_do(fault: object) -> None:
    assert fault.means  # type: ignore[attr-defined]
    assert fault.remedy  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("code", "name"),
    [
        ("ASK 1 127.0.0.1:2", "resharding"),
        ("CLUSTERDOWN The cluster is down", "cluster_down"),
        ("LOADING Redis is loading the dataset in memory", "loading"),
        ("MASTERDOWN Link with MASTER is down", "master_down"),
        ("MISCONF Errors writing to the AOF file: No space left on device", "disk"),
        ("NOAUTH Authentication required.", "login"),
        ("NOPERM this user has no permissions", "permission"),
        ("NOSCRIPT No matching script", "script_gone"),
        ("OOM command not allowed", "memory"),
        ("READONLY You can't write against a read only replica.", "readonly"),
        ("TRYAGAIN Multiple keys request", "resharding"),
        ("WRONGPASS invalid username-password pair", "login"),
        ("BUSY Redis is busy running a script.", "busy"),
        ("ERR max number of clients reached", "clients"),
    ],
)
def test_an_error_keeps_its_meaning_on_the_way_through_the_client(code: str, name: str) -> None:
    """The client takes the code off and makes it a class; what reaches the worker must still name the fault."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        answering = threading.Thread(target=answer, args=(listener, code))
        answering.start()
        with pytest.raises(ResultsUnavailable) as caught:
            sink_at(f"redis://127.0.0.1:{listener.getsockname()[1]}/0?protocol=2", "line")
        answering.join()
    assert caught.value.fault.name == name


def answer(listener: socket.socket, error: str) -> None:
    """A peer that has the same error for whatever one client asks."""
    connection, _ = listener.accept()
    with connection:
        while connection.recv(65_536):
            connection.sendall(f"-{error}\r\n".encode())


def test_a_moved_line_says_where_it_went() -> None:
    with pytest.raises(ResultsUnavailable) as caught, redis_errors("redis://127.0.0.1"):
        raise redis.exceptions.MovedError("3999 10.0.0.7:6381")
    assert caught.value.node == ("10.0.0.7", 6381)
