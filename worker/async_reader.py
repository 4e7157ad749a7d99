"""The asyncio twin of `worker.reader`: the same steps, carried out without blocking the loop.

async for verdict in AsyncResultReader("redis://127.0.0.1:6379/0", "line").follow():
    print(verdict.tag.part_id, verdict.decision)
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Collection
from typing import Any

from worker.async_line import AsyncServer
from worker.errors import ResultsUnavailable
from worker.reader import TIMEOUT_S, LineReader
from worker.reading import Ask, Pause, Steps
from worker.verdict import Decision, Verdict


class AsyncResultReader(LineReader[AsyncServer]):
    """Reads the result stream. One task at a time, one event loop. Arguments: `worker.reader.LineReader`."""

    def _connection(self, url: str) -> AsyncServer:
        return AsyncServer(url, timeout_s=TIMEOUT_S)

    async def reach(self) -> None:
        """As `ResultReader.reach`."""
        await self._server.ask(lambda client: client.ping())

    def follow(
        self,
        *,
        start: str = "now",
        until: Callable[[], bool] = lambda: False,
        cameras: Collection[str] = (),
        decision: Decision | None = None,
    ) -> AsyncIterator[Verdict]:
        """As `ResultReader.follow`; cancelling the task ends it, too."""
        return self._run(self._following(start, until=until, cameras=cameras, decision=decision))

    def follow_group(
        self,
        group: str,
        consumer: str,
        *,
        start: str = "0",
        until: Callable[[], bool] = lambda: False,
        cameras: Collection[str] = (),
        decision: Decision | None = None,
        abandoned_after_s: float = 60.0,
    ) -> AsyncIterator[Verdict]:
        """As `ResultReader.follow_group`."""
        wishes = {"until": until, "cameras": cameras, "decision": decision}
        return self._run(self._membership(group, consumer, start=start, abandoned_after_s=abandoned_after_s, **wishes))

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
