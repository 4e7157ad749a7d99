"""Both readers behind one face, and entries at ids of our choosing, for tests."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import closing
from typing import Any

import pytest
import redis

from tests.worker.frames import verdict
from worker.async_reader import AsyncResultReader
from worker.line import LineKeys
from worker.notice import Notice, NoticeKind
from worker.reader import ResultReader
from worker.verdict import Verdict


class Readers:
    """Makes readers of one kind, blocking or asyncio, whose verdicts come from a plain iterator either way.

    Attributes:
        told: notices of all of them.
    """

    def __init__(self, url: str, line: str, *, twin: bool) -> None:
        self.url, self.line, self.twin = url, line, twin
        self.told: list[Notice] = []
        self.closing: list[Callable[[], None]] = []

    def follow(self, *, patience_s: float = 60.0, **how: Any) -> Iterator[Verdict]:
        return self._reading("follow", patience_s, (), how)

    def follow_group(self, group: str, consumer: str, **how: Any) -> Iterator[Verdict]:
        return self._reading("follow_group", 60.0, (group, consumer), how)

    def kinds(self) -> list[NoticeKind]:
        return [notice.kind for notice in self.told]

    def of(self, kind: NoticeKind) -> list[Notice]:
        return [notice for notice in self.told if notice.kind is kind]

    def _reading(self, method: str, patience_s: float, who: tuple[str, ...], how: dict[str, Any]) -> Iterator[Verdict]:
        options: dict[str, Any] = {"say": self.told.append, "patience_s": patience_s}
        if not self.twin:
            reader = ResultReader(self.url, self.line, **options)
            self.closing.append(reader.close)
            found: Iterator[Verdict] = getattr(reader, method)(*who, **how)
            return found
        runner, twin = asyncio.Runner(), AsyncResultReader(self.url, self.line, **options)
        verdicts = getattr(twin, method)(*who, **how)

        def close() -> None:
            runner.run(verdicts.aclose())
            runner.run(twin.close())
            runner.close()

        self.closing.append(close)
        return _blocking(verdicts, runner)


def _blocking(verdicts: AsyncIterator[Verdict], runner: asyncio.Runner) -> Iterator[Verdict]:
    async def following() -> Verdict | None:
        return await anext(verdicts, None)

    while (found := runner.run(following())) is not None:
        yield found


@pytest.fixture(params=[False, True], ids=["blocking", "asyncio"])
def readers(request: pytest.FixtureRequest, redis_url: str, line: str) -> Iterator[Readers]:
    """Readers on the Redis that all tests share; set `url` for another."""
    made = Readers(redis_url, line, twin=request.param)
    yield made
    for close in made.closing:
        close()


class Stream:
    """A line's stream, written by hand."""

    def __init__(self, url: str, line: str) -> None:
        self.url, self.key = url, LineKeys(line).results

    def add(self, *seqs: int, ms: int | None = None, passed: bool = True, camera: str = "cam1") -> list[str]:
        """Adds the verdicts of frames; the first at id `ms`-0, the next a millisecond later."""
        return [
            self.add_fields(
                fields_of(verdict(seq, passed=passed, camera=camera)), entry="*" if ms is None else f"{ms + place}-0"
            )
            for place, seq in enumerate(seqs)
        ]

    def add_fields(self, fields: dict[Any, Any], *, entry: str = "*") -> str:
        with closing(redis.Redis.from_url(self.url)) as client:
            added: Any = client.xadd(self.key, fields, id=entry)
            return str(added.decode())

    def ask(self, *words: Any) -> Any:
        with closing(redis.Redis.from_url(self.url)) as client:
            run: Any = client.execute_command
            return run(*words)

    def pending(self, group: str) -> int:
        return int(self.ask("XPENDING", self.key, group)["pending"])

    @property
    def counts_all(self) -> bool:
        """Whether this Redis tells how many entries were ever added: 7.0 and later."""
        return "entries-added" in self.ask("XINFO STREAM", self.key)


def fields_of(found: Verdict, **changed: Any) -> dict[str, Any]:
    """A verdict's fields as the script stores them."""
    fields: dict[str, Any] = {**found.to_fields(), "latency_us": json.dumps({**found.latency_us, "store": 60})}
    return {**fields, **changed}
