"""Follows the verdicts of a line. Needs neither torch nor a worker: it stands beside the PLC.

for verdict in ResultReader("redis://127.0.0.1:6379/0", "line").follow():
    print(verdict.tag.part_id, verdict.decision)
"""

from collections.abc import Callable, Iterator
from typing import Any, cast

import redis

from worker.errors import ResultError
from worker.line import LineKeys, Server
from worker.verdict import Verdict

BLOCK_MS = 500
TIMEOUT_S = 5.0  # longer than any BLOCK

Entries = list[tuple[bytes, dict[bytes, bytes]]]


class ResultReader:
    """Reads the result stream. One thread at a time.

    Args:
        url: of Redis.
        line: name of the line.
        unreadable: told of each entry that is not a verdict; it is skipped.
        keys: where they lie; by default `LineKeys`.
    """

    def __init__(
        self,
        url: str,
        line: str,
        *,
        unreadable: Callable[[ResultError], None] = lambda error: None,
        keys: Callable[[str], LineKeys] = LineKeys,
    ) -> None:
        self.url = url
        self.keys = keys(line)
        self._server = Server(url, timeout_s=TIMEOUT_S)
        self._unreadable = unreadable

    def follow(self, *, start: str = "now", until: Callable[[], bool] = lambda: False) -> Iterator[Verdict]:
        """Every verdict from `start` on, in the order in which they were stored, for ever.

        Args:
            start: `now`, `0` for the oldest there is, or an entry's id (exclusive).
            until: asked at least twice a second, and after each verdict, whether to end.

        Raises:
            ResultsUnavailable: Redis is not there.
        """
        last = self._newest() if start == "now" else start
        while not until():
            for entry, fields in self._after(last):
                last = entry.decode()
                yield from self._verdict(entry, fields)
                if until():
                    return

    def follow_group(
        self,
        group: str,
        consumer: str,
        *,
        start: str = "0",
        until: Callable[[], bool] = lambda: False,
        abandoned_after_s: float = 60.0,
    ) -> Iterator[Verdict]:
        """Every verdict once among all consumers of a group.

        A verdict counts as read when the next one is asked for. One that was handed to a consumer which then died is
        handed out again: at once to a consumer of the same name, to any other after a while.

        Args:
            group: created where it isn't there yet.
            consumer: name of this reader, its own within the group.
            start: where a new group begins: `0`, `now` or an entry's id.
            until: asked at least twice a second, and after each verdict, whether to end.
            abandoned_after_s: a verdict that its consumer has not finished for so long is handed to another.

        Raises:
            ResultsUnavailable: Redis is not there.
        """
        self._create_group(group, "$" if start == "now" else start)
        unfinished = True  # first what a consumer of this name was given and did not finish, then what is new
        while not until():
            entries = self._next_in_group(group, consumer, unfinished=unfinished, abandoned_after_s=abandoned_after_s)
            unfinished = unfinished and bool(entries)
            for entry, fields in entries:
                yield from self._verdict(entry, fields)
                self._acknowledge(group, entry)

    def _next_in_group(self, group: str, consumer: str, *, unfinished: bool, abandoned_after_s: float) -> Entries:
        """At most one entry: whatever is fetched beyond the next is out of everybody else's reach."""
        key = self.keys.results
        after = "0" if unfinished else ">"
        entries = _entries(
            self._server.ask(lambda client: client.xreadgroup(group, consumer, {key: after}, count=1, block=BLOCK_MS))
        )
        if entries or unfinished:
            return entries
        idle_ms = int(abandoned_after_s * 1000)
        claimed: Any = self._server.ask(lambda client: client.xautoclaim(key, group, consumer, idle_ms, count=1))
        return cast(Entries, claimed[1])

    def close(self) -> None:
        """Closes the connection."""
        self._server.close()

    def _after(self, last: str) -> Entries:
        key = self.keys.results
        return _entries(self._server.ask(lambda client: client.xread({key: last}, count=100, block=BLOCK_MS)))

    def _acknowledge(self, group: str, entry: bytes) -> None:
        self._server.ask(lambda client: client.xack(self.keys.results, group, entry))

    def _newest(self) -> str:
        newest = cast(Entries, self._server.ask(lambda client: client.xrevrange(self.keys.results, count=1)))
        return newest[0][0].decode() if newest else "0-0"

    def _create_group(self, group: str, start: str) -> None:
        """Creates the group where it isn't there yet; a reader beside this one may have been first."""

        def create(client: "redis.Redis") -> None:
            try:
                client.xgroup_create(self.keys.results, group, id=start, mkstream=True)
            except redis.ResponseError as error:
                if "BUSYGROUP" not in str(error):
                    raise

        self._server.ask(create)

    def _verdict(self, entry: bytes, fields: dict[bytes, bytes]) -> Iterator[Verdict]:
        try:
            yield Verdict.from_fields(entry.decode(), {key.decode(): value for key, value in fields.items()})
        except ResultError as error:
            self._unreadable(error)


def _entries(answer: Any) -> Entries:
    """The entries of the one stream asked for; RESP3 answers a mapping, RESP2 a list."""
    if not answer:
        return []
    if isinstance(answer, dict):
        (batches,) = answer.values()
        return cast(Entries, batches[0] if batches and isinstance(batches[0], list) else batches)
    return cast(Entries, answer[0][1])
