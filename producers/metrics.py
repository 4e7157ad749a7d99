"""What a daemon tells about itself over HTTP: `/metrics` for Prometheus, `/readyz` and `/healthz` for who runs it.

Nothing is counted here: a collector reads what the daemon counts anyway, when somebody asks.
"""

import re
import socket
import socketserver
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler
from typing import Any

import structlog
from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector

from producers.errors import AddressTaken, SettingsError

log = structlog.get_logger("metrics")

AT_ONCE = 8  # connections; more are turned away: whoever holds them open holds nothing else up
PATIENCE_S = 5.0  # for a request to arrive, and for an answer to be taken

Check = tuple[Callable[[], bool], Callable[[], Sequence[str]]]
"""Whether all is well, and if not, what it lacks."""


def parse_address(text: str) -> tuple[str, int]:
    """Host and port in `HOST:PORT` or `[V6]:PORT`.

    Raises:
        SettingsError: it is neither.
    """
    address = re.fullmatch(r"(?P<host>\[[0-9A-Fa-f:.]+\]|[^:\[\]/\s]+):(?P<port>\d{1,5})", text)
    if address is None or not 0 < int(address["port"]) < 65_536:
        raise SettingsError(f"{text} is no address for metrics: expected HOST:PORT, 127.0.0.1:9464 for example")
    return address["host"].strip("[]"), int(address["port"])


def by_label(
    family: CounterMetricFamily | GaugeMetricFamily, values: Mapping[str, float]
) -> CounterMetricFamily | GaugeMetricFamily:
    """A family of one label, with a sample for each of its values."""
    for label, value in values.items():
        family.add_metric((label,), value)
    return family


@contextmanager
def serve_metrics(
    address: tuple[str, int],
    collector: Collector,
    *,
    ready: Callable[[], bool],
    alive: Callable[[], bool],
    missing: Callable[[], Sequence[str]] = tuple,
) -> Iterator[None]:
    """Answers at `address` for as long as the context lasts, from threads of its own.

    Args:
        address: host and port.
        collector: read at each scrape, from a thread of the server.
        ready: whether the daemon can do its work: `/readyz` is 200, else 503. Likewise called from there.
        alive: whether it should go on running: `/healthz` is 200, else 503.
        missing: what it lacks to be ready, a sentence each: `/readyz` says them.

    Raises:
        AddressTaken: the address can't be bound.
    """
    registry = CollectorRegistry()
    registry.register(collector)
    where = f"{address[0]}:{address[1]}"
    try:
        family = socket.getaddrinfo(*address, type=socket.SOCK_STREAM)[0][0]
        checks: dict[str, Check] = {"/readyz": (ready, missing), "/healthz": (alive, tuple)}
        server = _Server(address, family, registry, checks)
    except OSError as error:
        raise AddressTaken(f"{where} can't be bound for metrics: {error.strerror or error}") from error
    thread = threading.Thread(target=server.serve_forever, args=(0.1,), name="metrics", daemon=True)
    thread.start()
    log.info("metrics", at=f"http://{where}/metrics")
    try:
        yield
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


class _Server(socketserver.ThreadingTCPServer):
    """A few connections at a time, each with a thread of its own."""

    allow_reuse_address = sys.platform != "win32"  # on Windows that would let two servers have one port
    daemon_threads = True
    block_on_close = False

    def __init__(
        self, address: tuple[str, int], family: int, registry: CollectorRegistry, checks: "dict[str, Check]"
    ) -> None:
        self.address_family = family
        self.registry, self.checks = registry, checks
        self._seats = threading.BoundedSemaphore(AT_ONCE)
        super().__init__(address, _Handler)

    def process_request(self, request: Any, client_address: Any) -> None:
        if self._seats.acquire(blocking=False):
            super().process_request(request, client_address)
        else:
            self.shutdown_request(request)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._seats.release()

    def handle_error(self, request: Any, client_address: Any) -> None:
        log.debug("a scrape was broken off", peer=str(client_address), request=str(request), error=str(sys.exception()))


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    timeout = PATIENCE_S

    def do_GET(self) -> None:
        path = self.path.partition("?")[0]
        if path == "/metrics":
            encode, kind = choose_encoder(self.headers.get("Accept", ""))
            self._answer(HTTPStatus.OK, kind, encode(self.server.registry))
        elif path in self.server.checks:
            is_well, lacks = self.server.checks[path]
            if is_well():
                self._answer(HTTPStatus.OK, "text/plain", b"yes\n")
            else:
                body = "".join(f"{line}\n" for line in ("no", *lacks()))
                self._answer(HTTPStatus.SERVICE_UNAVAILABLE, "text/plain", body.encode())
        else:
            self._answer(HTTPStatus.NOT_FOUND, "text/plain", b"/metrics, /readyz or /healthz\n")

    def _answer(self, status: HTTPStatus, kind: str, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        """Nothing per scrape in the log."""
