"""The asyncio twin of `worker.reader`: the same steps, carried out without blocking the loop.

async for verdict in AsyncResultReader("redis://127.0.0.1:6379/0", "line").follow():
    print(verdict.tag.part_id, verdict.decision)
"""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

from worker.async_line import AsyncServer
from worker.errors import ResultsUnavailable
from worker.reader import TIMEOUT_S, LineReader
from worker.reading import Ask, Pause, Steps
from worker.verdict import Verdict


class AsyncResultReader(LineReader[AsyncServer, AsyncIterator[Verdict]]):
    """Reads the result stream. One task at a time, one event loop; cancelling the task ends it, too.

    Arguments and ways of reading: `worker.reader.LineReader`.
    """

    def _connection(self, url: str) -> AsyncServer:
        return AsyncServer(url, timeout_s=TIMEOUT_S)

    async def reach(self) -> None:
        """As `ResultReader.reach`."""
        await self._server.ask(lambda client: client.ping())

    async def close(self) -> None:
        """Closes the connection."""
        await self._server.close()

    async def _run(self, steps: Steps[None]) -> AsyncIterator[Verdict]:
        """Carries steps out."""
        answer: Any = None
        failure: ResultsUnavailable | None = None
        while True:
            try:
                step = steps.throw(failure) if failure else steps.send(answer)
            except StopIteration:
                return
            answer = failure = None
            if isinstance(step, Ask):
                try:
                    answer = await self._server.ask(step.send)
                except ResultsUnavailable as error:
                    failure = error
            elif isinstance(step, Pause):
                await asyncio.sleep(step.seconds)
            else:
                yield step
