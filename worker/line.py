"""One production line in Redis: its keys, and a connection with nothing left to defaults."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from urllib.parse import urlsplit, urlunsplit

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from producers.frame import FrameId
from worker.errors import ResultsUnavailable


@dataclass(frozen=True)
class LineKeys:
    """The keys of a line. The braces are a Redis Cluster hash tag: all keys of a line live in one slot."""

    line: str

    @property
    def results(self) -> str:
        """The result stream."""
        return f"{{{self.line}}}:results"

    def seen(self, frame: FrameId) -> str:
        """The bitmap that holds this frame's bit, `seq & 65535`."""
        return f"{{{self.line}}}:seen:{frame.camera}:{frame.session}:{frame.seq >> 16}"

    def worker(self, name: str) -> str:
        """A worker's hash, which expires when its heartbeat stops."""
        return f"{{{self.line}}}:worker:{name}"


def connect(url: str, *, timeout_s: float) -> "redis.Redis":
    """A client that never retries by itself (a retried XADD would write twice) and never waits for ever.

    Raises:
        ResultsUnavailable: the URL can't be read. Nothing is connected yet.
    """
    try:
        return redis.Redis.from_url(
            url,
            socket_timeout=timeout_s,
            socket_connect_timeout=timeout_s,
            retry=Retry(NoBackoff(), 0),
            health_check_interval=0,
        )
    except ValueError as error:
        raise ResultsUnavailable(f"{without_secrets(url)} is not a Redis URL: {error}") from error


@contextmanager
def redis_errors(url: str) -> Iterator[None]:
    """Maps whatever Redis or its client raises to `ResultsUnavailable`, naming the server without its password."""
    try:
        yield
    except (redis.RedisError, OSError) as error:
        text = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise ResultsUnavailable(f"Redis at {without_secrets(url)}: {text}") from error


def without_secrets(url: str) -> str:
    """A URL for logs: user name and password are left out."""
    parts = urlsplit(url)
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2], query=""))
