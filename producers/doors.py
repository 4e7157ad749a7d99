"""The doors of a publisher: who may come in, and the sockets that are bound there."""

import ipaddress
import re
import socket as sockets

import zmq

from producers.doorkeeper import Doorkeeper
from producers.errors import AddressTaken, SettingsError
from producers.protocol import MAX_CONTROL_BYTES

ZERO_COPY_BYTES = 1 << 20
"""A payload from this size on is sent without a copy. A smaller one is copied: pyzmq frees what it lent to libzmq in a
thread of its own, which costs as much as the copy and, on a busy machine, lags behind by a hundred pictures."""


def refuse_open_door(endpoint: str, *, insecure: bool, keys: bool = False) -> None:
    """Without keys only this machine may come in.

    Raises:
        SettingsError: no endpoint, or one that other machines can reach, without `keys` or `insecure`.
    """
    if endpoint.startswith("ipc://") and len(endpoint) > len("ipc://"):
        return
    address = re.fullmatch(r"tcp://(?P<host>\[[^\]]+\]|[^:\[\]]+):(?P<port>\d+|\*)", endpoint)
    if address is None or (address["port"] != "*" and not 0 < int(address["port"]) < 65_536):
        raise SettingsError(f"{endpoint} is no endpoint: expected tcp://HOST:PORT or ipc://PATH")
    host = address["host"].strip("[]")
    try:
        local = host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        local = False
    if not (local or keys or insecure):
        raise SettingsError(
            f"{endpoint} can be reached from other machines and frames would travel without keys: "
            "bind to tcp://127.0.0.1:PORT, give the camera a --key (sightline keys new NAME), or say --insecure if the "
            "network is yours alone"
        )


def bind(
    context: "zmq.Context[zmq.Socket[bytes]]", kind: int, endpoint: str, doorkeeper: Doorkeeper | None = None
) -> "zmq.Socket[bytes]":
    """A ROUTER for workers or a PUB for viewers, nothing about it left to defaults.

    Args:
        context: of the publisher.
        kind: `zmq.ROUTER` or `zmq.PUB`.
        endpoint: to bind.
        doorkeeper: who decides about keys; None: there are none.

    Raises:
        AddressTaken: it can't be bound.
    """
    socket = context.socket(kind)
    socket.setsockopt(zmq.LINGER, 0)
    # A worker is sent no more than its credit. A viewer that does not keep up may cost this many pictures of memory.
    socket.setsockopt(zmq.SNDHWM, 1000 if kind == zmq.ROUTER else 16)
    socket.setsockopt(zmq.RCVHWM, 1000)
    socket.setsockopt(zmq.MAXMSGSIZE, 2 * MAX_CONTROL_BYTES)  # only control messages come in
    socket.setsockopt(zmq.HEARTBEAT_IVL, 1000)
    socket.setsockopt(zmq.HEARTBEAT_TIMEOUT, 5000)
    if kind == zmq.ROUTER:
        socket.setsockopt(zmq.ROUTER_MANDATORY, 1)  # a send to a peer that is gone fails instead of vanishing
    if doorkeeper is not None:
        doorkeeper.guard(socket, "work" if kind == zmq.ROUTER else "live")
    claim(socket, endpoint)
    return socket


def claim(socket: "zmq.Socket[bytes]", endpoint: str) -> None:
    """Binds a socket whose options are set.

    Raises:
        AddressTaken: it can't be bound.
    """
    if endpoint.startswith("ipc://") and _answers(endpoint.removeprefix("ipc://")):
        raise AddressTaken(f"{endpoint} can't be bound: Address already in use")
    socket.setsockopt(zmq.IPV6, 1 if "[" in endpoint else 0)
    try:
        socket.bind(endpoint)
    except zmq.ZMQError as error:
        raise AddressTaken(f"{endpoint} can't be bound: {error.strerror or error}") from error


def _answers(path: str) -> bool:
    """Whether somebody listens on a Unix socket: libzmq would take the path away without a word."""
    with sockets.socket(sockets.AF_UNIX, sockets.SOCK_STREAM) as probe:
        return probe.connect_ex(path) == 0
