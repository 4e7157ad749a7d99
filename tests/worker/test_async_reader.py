"""What only the asyncio reader must do: leave the loop to others, and end when its task is cancelled."""

import asyncio

import pytest

from tests.worker.readers import Stream
from worker.async_reader import AsyncResultReader
from worker.errors import ResultsUnavailable


def test_while_a_reader_waits_others_run_and_its_task_can_be_cancelled(redis_url: str, line: str) -> None:
    async def scenario() -> int:
        reader = AsyncResultReader(redis_url, line)
        task = asyncio.ensure_future(anext(reader.follow()))
        turns = 0
        while turns < 100:
            await asyncio.sleep(0.001)
            turns += 1
        assert not task.done()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        Stream(redis_url, line).add(3)
        found = await anext(reader.follow(start="0"))  # on the same reader: no answer was left over
        await reader.close()
        return found.tag.seq

    assert asyncio.run(scenario()) == 3


def test_two_readers_share_one_loop(redis_url: str, line: str) -> None:
    async def scenario() -> list[int]:
        readers = [AsyncResultReader(redis_url, line) for _ in range(2)]
        tasks = [asyncio.ensure_future(anext(reader.follow(start="0"))) for reader in readers]
        await asyncio.to_thread(Stream(redis_url, line).add, 5)
        found = [(await task).tag.seq for task in tasks]
        for reader in readers:
            await reader.close()
        return found

    assert asyncio.run(scenario()) == [5, 5]


def test_reach_says_at_once_that_redis_is_not_there(line: str) -> None:
    with pytest.raises(ResultsUnavailable, match=r"127\.0\.0\.1:1"):
        asyncio.run(AsyncResultReader("redis://127.0.0.1:1/0", line).reach())
