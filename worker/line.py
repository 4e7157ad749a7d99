"""One production line in Redis: its keys, and a connection with nothing left to defaults."""

import hashlib
import ssl
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, TypeVar, cast
from urllib.parse import urlsplit, urlunsplit

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from producers.frame import FrameId
from worker.errors import ResultsUnavailable
from worker.faults import fault_of

T = TypeVar("T")

SEEN_WINDOW = 1 << 16  # frames in one bitmap of those that have a verdict

# redis-py takes the code off an error's text and makes it a class.
CODES: dict[type[BaseException], str] = {
    redis.exceptions.AskError: "ASK",
    redis.exceptions.AuthenticationError: "NOAUTH",
    redis.exceptions.BusyLoadingError: "LOADING",
    redis.exceptions.ClusterCrossSlotError: "CROSSSLOT",
    redis.exceptions.ClusterDownError: "CLUSTERDOWN",
    redis.exceptions.MasterDownError: "MASTERDOWN",
    redis.exceptions.MovedError: "MOVED",
    redis.exceptions.NoPermissionError: "NOPERM",
    redis.exceptions.NoScriptError: "NOSCRIPT",
    redis.exceptions.OutOfMemoryError: "OOM",
    redis.exceptions.ReadOnlyError: "READONLY",
    redis.exceptions.TryAgainError: "TRYAGAIN",
}


@dataclass(frozen=True)
class LineKeys:
    """The keys of a line. The braces are a Redis Cluster hash tag: all keys of a line live in one slot."""

    line: str

    @property
    def results(self) -> str:
        """The result stream."""
        return f"{{{self.line}}}:results"

    def seen(self, frame: FrameId) -> str:
        """The bitmap that holds this frame's bit, `seq % SEEN_WINDOW`."""
        return f"{{{self.line}}}:seen:{frame.camera}:{frame.session}:{frame.seq // SEEN_WINDOW}"

    def worker(self, name: str) -> str:
        """A worker's hash, which expires when its heartbeat stops."""
        return f"{{{self.line}}}:worker:{name}"

    def gate(self, name: str) -> str:
        """A gate's lease, which ends when the gateway that holds it dies."""
        return f"{{{self.line}}}:gate:{name}"


class ShadowKeys(LineKeys):
    """The keys of a line's shadow verdicts, which no gate reads. Which frames have one is remembered apart, too."""

    @property
    def results(self) -> str:
        """The shadow's stream."""
        return f"{{{self.line}}}:shadow"

    def seen(self, frame: FrameId) -> str:
        """As `LineKeys.seen`; no session is named like a camera, so the two never meet."""
        return f"{{{self.line}}}:seen:shadow:{frame.camera}:{frame.session}:{frame.seq // SEEN_WINDOW}"


def connect(url: str, *, timeout_s: float) -> "redis.Redis":
    """A client that never retries by itself (a retried XADD would write twice) and never waits for ever.

    Args:
        url: `redis://`, `unix://`, or `rediss://` for TLS, whose certificates stand in the query: `ssl_ca_certs`,
            `ssl_certfile`, `ssl_keyfile`.
        timeout_s: for connecting, and for one answer.

    Raises:
        ResultsUnavailable: the URL can't be read, or a file that it names. Nothing is connected yet.
    """
    try:
        client = redis.Redis.from_url(
            url,
            socket_timeout=timeout_s,
            socket_connect_timeout=timeout_s,
            retry=Retry(NoBackoff(), 0),
            health_check_interval=0,
        )
        client.connection_pool.make_connection()  # not connected: an option that nobody knows shows here
        options = client.connection_pool.connection_kwargs
        for option in ("ssl_ca_certs", "ssl_certfile", "ssl_keyfile"):
            if options.get(option) and not Path(options[option]).is_file():
                raise ValueError(f"{option} names {options[option]}, which is no file")
    except (ValueError, TypeError, redis.RedisError) as error:
        raise ResultsUnavailable(f"{without_secrets(url)} is not a Redis URL: {error}") from error
    return client


class Server:
    """A Redis, dialled when it is first asked, and anew after every failure. One thread at a time.

    No connection outlives an error: after a failover the name may lead elsewhere. A node of a cluster that says which
    node has the line (MOVED) is believed until the next error. All keys of a line live in one slot, so one node is all
    that is needed.

    Args:
        url: of Redis.
        timeout_s: for one answer.
    """

    def __init__(self, url: str, *, timeout_s: float) -> None:
        self.url, self._timeout_s = url, timeout_s
        self._redis = connect(url, timeout_s=timeout_s)
        options = self._redis.connection_pool.connection_kwargs
        self._home = {key: options[key] for key in ("host", "port") if key in options}  # empty for unix://

    @contextmanager
    def asked(self) -> "Iterator[redis.Redis]":
        """The client, for a few commands.

        Raises:
            ResultsUnavailable: one of them failed. The next call dials anew.
        """
        try:
            with redis_errors(self.url):
                yield self._redis
        except ResultsUnavailable as error:
            pool = self._redis.connection_pool
            pool.disconnect()
            if self._home:
                host, port = error.node or (self._home["host"], self._home["port"])
                pool.connection_kwargs.update(host=host or self._home["host"], port=port)
                pool.reset()  # a connection, though closed, would remember where it led
            raise

    def ask(self, command: "Callable[[redis.Redis], T]") -> T:
        """One command that may be sent twice, because a cluster may say once that another node has the line.

        Raises:
            ResultsUnavailable: it failed.
        """
        try:
            with self.asked() as client:
                return command(client)
        except ResultsUnavailable as error:
            if error.node is None:
                raise
        with self.asked() as client:
            return command(client)

    def run_script(self, text: str, *, keys: Sequence[str], args: Sequence[Any], replicas: int) -> list[Any]:
        """Runs a script, and waits until replicas have what it wrote.

        Raises:
            ResultsUnavailable: no answer, or too few replicas in half the time for an answer. The script may have run.
        """
        answer, *copies = self.ask(lambda client: self._evaluate(client, text, keys=keys, args=args, replicas=replicas))
        if copies and copies[0] < replicas:
            said = f"unreplicated: {copies[0]} replicas have it, {replicas} asked for"
            raise ResultsUnavailable(f"Redis at {without_secrets(self.url)}: {said}", fault=fault_of(said))
        return cast(list[Any], answer)

    def _evaluate(
        self, client: "redis.Redis", text: str, *, keys: Sequence[str], args: Sequence[Any], replicas: int
    ) -> list[Any]:
        """The script's answer and, if asked for, how many replicas have what it wrote."""
        sha = _sha1(text)
        try:
            return self._evaluate_known(client, sha, keys=keys, args=args, replicas=replicas)
        except redis.exceptions.NoScriptError:
            client.script_load(text)
            return self._evaluate_known(client, sha, keys=keys, args=args, replicas=replicas)

    def _evaluate_known(
        self, client: "redis.Redis", sha: str, *, keys: Sequence[str], args: Sequence[Any], replicas: int
    ) -> list[Any]:
        if not replicas:
            return [client.evalsha(sha, len(keys), *keys, *args)]
        pipe = client.pipeline(transaction=False)  # WAIT speaks of what came over its own connection: hence in one go
        pipe.evalsha(sha, len(keys), *keys, *args)
        pipe.wait(replicas, int(self._timeout_s * 500))
        replies: list[Any] = pipe.execute(raise_on_error=False)
        for error in replies:
            if isinstance(error, Exception):
                raise error
        return replies

    def close(self) -> None:
        """Closes the connection."""
        self._redis.close()


@cache
def _sha1(text: str) -> str:
    """By which Redis knows a script."""
    return hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest()


@contextmanager
def redis_errors(url: str) -> Iterator[None]:
    """Maps whatever Redis or its client raises to `ResultsUnavailable`, naming the server without its password."""
    try:
        yield
    except (redis.RedisError, OSError, UnicodeError) as error:
        text = str(error).splitlines()[0] if str(error) else type(error).__name__
        node = (error.host, error.port) if isinstance(error, redis.exceptions.MovedError) else None
        said = f"{_code(error)} {text}"
        raise ResultsUnavailable(f"Redis at {without_secrets(url)}: {text}", fault=fault_of(said), node=node) from error


def _code(error: BaseException) -> str:
    """What redis-py's class of an error, or its cause, stands for."""
    if type(error) in CODES:
        return CODES[type(error)]
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, ssl.SSLError):
            return "tls:"
        cause = cause.__cause__ or cause.__context__
    if isinstance(error, (redis.TimeoutError, TimeoutError)):
        return "timeout:"
    return "unreachable:" if isinstance(error, (redis.ConnectionError, OSError)) else ""


def without_secrets(url: str) -> str:
    """A URL for logs: user name and password are left out."""
    parts = urlsplit(url)
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2], query=""))
