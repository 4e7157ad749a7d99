"""Follows the verdicts of a line. Needs neither torch nor a worker: it stands beside the PLC.

for verdict in ResultReader("redis://127.0.0.1:6379/0", "line").follow():
    print(verdict.tag.part_id, verdict.decision)

With asyncio: `worker.async_reader`.
"""

import math
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Iterator
from typing import Any, Generic, TypeVar

from worker.errors import ResultsUnavailable
from worker.following import Following
from worker.line import LineKeys, Server
from worker.membership import Membership
from worker.notice import Notice, log_notice
from worker.reading import Ask, Pause, Steps, Wishes
from worker.verdict import Decision, Verdict

S = TypeVar("S")
V = TypeVar("V")  # an iterator of verdicts, of either kind

TIMEOUT_S = 5.0  # longer than any BLOCK


class LineReader(ABC, Generic[S, V]):
    """Reads the result stream; what the blocking reader and its asyncio twin have in common.

    Args:
        url: of Redis.
        line: name of the line.
        say: told of everything that is no verdict: entries that can't be read, outages, losses. By default the log.
        patience_s: how long Redis may be away; by default for ever.
        keys: where the verdicts lie; by default `LineKeys`.

    Raises:
        ResultsUnavailable: the URL can't be read. Nothing is connected yet.
    """

    def __init__(
        self,
        url: str,
        line: str,
        *,
        say: Callable[[Notice], None] = log_notice,
        patience_s: float = math.inf,
        keys: Callable[[str], LineKeys] = LineKeys,
    ) -> None:
        self.url = url
        self.keys = keys(line)
        self._server = self._connection(url)
        self._say, self._patience_s = say, patience_s

    @abstractmethod
    def _connection(self, url: str) -> S:
        """Of its own kind; not dialled yet."""

    @abstractmethod
    def _run(self, steps: Steps[None]) -> V:
        """Carries steps out, in its own way."""

    def follow(
        self,
        *,
        start: str = "now",
        until: Callable[[], bool] = lambda: False,
        cameras: Collection[str] = (),
        decision: Decision | None = None,
    ) -> V:
        """Every verdict from `start` on, each frame's once, in the order in which they were stored, for ever.

        A stream that is gone, or has lost its end, is read again from where this began, or from its start; what has
        been handed out already is left out (`worker.remembered` says how much is remembered).

        Args:
            start: `now`, `0` for the oldest there is, or an entry's id (exclusive).
            until: asked at least twice a second while Redis answers, and after each verdict, whether to end.
            cameras: only of these; by default of all.
            decision: only these; by default both.

        Raises:
            SettingsError: `start` is no place.
            ResultsUnavailable: Redis was away for longer than `patience_s`, or refuses what only a person can change.
        """
        return self._run(Following(self.keys.results, start, self._wishes(until, cameras, decision)).steps())

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
    ) -> V:
        """Every verdict once among all consumers of a group.

        A verdict counts as read when the next one is asked for. One that was handed to a consumer which then died is
        handed out again, marked `redelivered`: at once to a consumer of the same name, to any other after a while.
        What a filter leaves out counts as read by the whole group: filter alike in all of its readers.

        Args:
            group: created where it isn't there yet.
            consumer: name of this reader, its own within the group.
            start: where a new group begins: `0`, `now` or an entry's id.
            until: asked at least twice a second while Redis answers, and after each verdict, whether to end.
            cameras: only of these; by default of all.
            decision: only these; by default both.
            abandoned_after_s: a verdict that its consumer has not finished for so long is handed to another, even if
                that consumer is only slow.

        Raises:
            SettingsError: `start` is no place.
            ResultsUnavailable: Redis was away for longer than `patience_s`, or refuses what only a person can change.
        """
        membership = Membership(
            self.keys.results,
            group,
            consumer,
            start=start,
            abandoned_after_s=abandoned_after_s,
            wishes=self._wishes(until, cameras, decision),
        )
        return self._run(membership.steps())

    def _wishes(self, until: Callable[[], bool], cameras: Collection[str], decision: Decision | None) -> Wishes:
        return Wishes(until, cameras, decision, say=self._say, patience_s=self._patience_s)


class ResultReader(LineReader[Server, Iterator[Verdict]]):
    """Reads the result stream. One thread at a time. Arguments and ways of reading: `LineReader`."""

    def _connection(self, url: str) -> Server:
        return Server(url, timeout_s=TIMEOUT_S)

    def reach(self) -> None:
        """Sees that Redis is there, for programs that would rather end at the start than wait.

        Raises:
            ResultsUnavailable: it is not.
        """
        self._server.ask(lambda client: client.ping())

    def close(self) -> None:
        """Closes the connection."""
        self._server.close()

    def _run(self, steps: Steps[None]) -> Iterator[Verdict]:
        """Carries steps out, with blocking I/O."""
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
                    answer = self._server.ask(step.send)
                except ResultsUnavailable as error:
                    failure = error
            elif isinstance(step, Pause):
                time.sleep(step.seconds)
            else:
                yield step
