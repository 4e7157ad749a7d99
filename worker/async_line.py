"""A connection to a line's Redis for asyncio: the same rules as `worker.line.Server`."""

from collections.abc import Awaitable, Callable
from typing import Any

import redis.asyncio
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from worker.errors import ResultsUnavailable
from worker.line import connect, redis_errors


class AsyncServer:
    """A Redis, dialled when it is first asked, and anew after every failure. One task at a time.

    Args:
        url: of Redis, as `worker.line.connect` takes it.
        timeout_s: for one answer.

    Raises:
        ResultsUnavailable: the URL can't be read, or a file that it names.
    """

    def __init__(self, url: str, *, timeout_s: float) -> None:
        connect(url, timeout_s=timeout_s).close()  # not connected: what is wrong with the URL shows here
        self.url = url
        self._redis = redis.asyncio.Redis.from_url(
            url,
            socket_timeout=timeout_s,
            socket_connect_timeout=timeout_s,
            retry=Retry(NoBackoff(), 0),
            health_check_interval=0,
        )
        options = self._redis.connection_pool.connection_kwargs
        self._home = {key: options[key] for key in ("host", "port") if key in options}  # empty for unix://

    async def ask(self, command: Callable[[Any], Awaitable[Any]]) -> Any:
        """One command that may be sent twice, because a cluster may say once that another node has the line.

        Raises:
            ResultsUnavailable: it failed. The next call dials anew.
        """
        try:
            return await self._once(command)
        except ResultsUnavailable as error:
            if error.node is None:
                raise
        return await self._once(command)

    async def _once(self, command: Callable[[Any], Awaitable[Any]]) -> Any:
        try:
            with redis_errors(self.url):
                return await command(self._redis)
        except ResultsUnavailable as error:
            pool: Any = self._redis.connection_pool
            await pool.disconnect()
            if self._home:
                host, port = error.node or (self._home["host"], self._home["port"])
                pool.connection_kwargs.update(host=host or self._home["host"], port=port)
                pool.reset()  # a connection, though closed, would remember where it led
            raise

    async def close(self) -> None:
        """Closes the connection."""
        await self._redis.aclose()
