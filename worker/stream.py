"""What Redis says of a stream, in our own words: entries, ids, how far it goes and what it has lost. Pure."""

from dataclasses import dataclass
from typing import Any, NamedTuple, cast

from producers.errors import SettingsError


class EntryId(NamedTuple):
    """An entry's id: milliseconds of Redis's clock when it was stored, and a count within them."""

    ms: int
    nth: int

    def __str__(self) -> str:
        return f"{self.ms}-{self.nth}"


BEGINNING = EntryId(0, 0)
Entry = tuple[bytes | None, dict[bytes, bytes]]
"""An id and its fields. Without fields it was pending and is trimmed; Redis 6.2 may not even tell its id."""


def entry_id(text: bytes | str) -> EntryId:
    """An id as it came from Redis."""
    ms, _, count = (text.decode() if isinstance(text, bytes) else text).partition("-")
    return EntryId(int(ms), int(count or 0))


def start_id(start: str) -> EntryId:
    """An id as a person wrote it.

    Raises:
        SettingsError: it is none.
    """
    ms, _, count = start.partition("-")
    if not (
        ms.isascii() and ms.isdigit() and len(start) <= 41 and (not count or (count.isascii() and count.isdigit()))
    ):
        raise SettingsError(f"{start[:50]!r} is no place to begin: now, 0 for the oldest, or an entry's id like 1700-0")
    return entry_id(start)


@dataclass(frozen=True)
class StreamState:
    """A stream at one moment.

    Attributes:
        length: entries that are there.
        first: id of the first of them; None: there is none.
        last: the highest id ever given; an entry of that id need not be there any more.
        added: entries ever added; None: Redis 6.2 does not tell.
    """

    length: int = 0
    first: EntryId | None = None
    last: EntryId = BEGINNING
    added: int | None = None

    @classmethod
    def of(cls, info: dict[str, Any]) -> "StreamState":
        """What XINFO STREAM says."""
        first = info["first-entry"]
        return cls(
            length=info["length"],
            first=entry_id(first[0]) if first else None,
            last=entry_id(info["last-generated-id"]),
            added=info.get("entries-added"),
        )

    @property
    def before_first(self) -> int | None:
        """Entries that were added and are gone, all before the first that is there; None: Redis 6.2 does not tell."""
        return None if self.added is None else self.added - self.length

    def may_lack(self, last: EntryId) -> bool:
        """Whether entries after `last` may be gone: the first that is there lies beyond it. Ids alone tell no more.

        For who is at the end nothing is gone; where nothing is there at all, what came after `last` certainly is.
        """
        return last < self.last and (self.first is None or self.first > last)


def entries_of(answer: Any) -> list[Entry]:
    """The entries of the one stream asked for; RESP3 answers a mapping, RESP2 a list."""
    if not answer:
        return []
    if isinstance(answer, dict):
        (batches,) = answer.values()
        return cast(list[Entry], batches[0] if batches and isinstance(batches[0], list) else batches)
    return cast(list[Entry], answer[0][1])
