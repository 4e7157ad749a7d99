"""Following a stream alone: where to read next, and whether it is still the same stream. No I/O: `worker.reading`."""

from worker.notice import NoticeKind
from worker.reading import BLOCK_MS, Reading, Steps, Wishes
from worker.stream import BEGINNING, Entry, EntryId, StreamState, entries_of, entry_id, start_id

BATCH = 100


class Following(Reading):
    """Reads every entry after a place, and notices when the stream behind that place has changed.

    Our place has an ordinal as well as an id where Redis tells how many entries were ever added (7.0): the difference
    between the two counts is what was trimmed before we came, whenever we look.

    Args:
        key: of the stream.
        start: `now`, `0` or an entry's id (exclusive).
        wishes: of whoever reads.

    Raises:
        SettingsError: `start` is none of these.
    """

    def __init__(self, key: str, start: str, wishes: Wishes) -> None:
        super().__init__(key, wishes)
        self._last: EntryId | None = None if start == "now" else start_id(start)
        self._began = self._last or BEGINNING
        self._ordinal: int | None = None  # entries ever added, up to and including the last one read

    def _begin(self) -> Steps[None]:
        yield from self._check()

    def _turn(self) -> Steps[bool]:
        if self._due():
            yield from self._check()
        place = {self.key: str(self._last)}
        entries = entries_of((yield from self._ask("xread", place, count=BATCH, block=BLOCK_MS)))
        # empty: the stream may have begun anew with lower ids; full: we are behind, and trimming may overtake us
        self._unsure = not entries or len(entries) == BATCH
        over = yield from self._hand_out(entries)
        self._tell_repeats()
        return over

    def _hand_out(self, entries: list[Entry]) -> Steps[bool]:
        for entry, fields in entries:
            assert entry is not None  # noqa: S101 - only pending entries come without an id
            self._last = entry_id(entry)
            self._ordinal = None if self._ordinal is None else self._ordinal + 1
            verdict = self._read(entry, fields)
            if verdict is None:
                continue
            if not self._remembered.add(verdict.tag.id):
                self._repeats += 1
            elif self._wanted(verdict):
                yield verdict
                if self.wishes.until():
                    return True
        return False

    def _check(self) -> Steps[None]:
        """Compares our place with the stream, before reading on."""
        if self._last == BEGINNING and self._ordinal == 0:  # nothing was read, so nothing can be missing
            return
        state = yield from self._stream()
        if self._last is None:  # now
            self._last = self._began = state.last
            self._ordinal = state.added
        elif state.last < self._last or self._overtaken(state):
            yield from self._begin_again(state)
        else:
            self._count(state, self._last)
        self._unsure = False

    def _overtaken(self, state: StreamState) -> bool:
        """Whether this is another stream under the same name, whose ids have passed our place already."""
        return self._ordinal is not None and state.added is not None and state.added < self._ordinal

    def _begin_again(self, state: StreamState) -> Steps[None]:
        """From where we began, if that entry is still there: what lies before it was never ours; else from the start.

        A failover or a crash cuts the end off a stream; FLUSHALL begins a new one, whose ids are lower if the
        clock was set back.
        """
        there = self._began != BEGINNING and (
            yield from self._ask("xrevrange", self.key, str(self._began), str(self._began), count=1)
        )
        where = f"after {self._began}, where it began" if there else "from the start of what is there"
        text = f"{self.key} was read up to {self._last} and now ends at {state.last}: reading again {where}"
        self._say(NoticeKind.RESET, text, entry=str(self._last))
        self._last, self._ordinal = (self._began, None) if there else (BEGINNING, state.before_first)
        self._began = self._last

    def _count(self, state: StreamState, last: EntryId) -> None:
        """Says what was trimmed before we came to it, and learns our ordinal where the stream shows it."""
        known = self._ordinal
        if last == state.last:
            self._ordinal = state.added
        elif state.first is None:  # all that came after us
            self._last, self._ordinal = state.last, state.added
        elif state.first > last:
            self._ordinal = state.before_first
        if known is not None and self._ordinal is not None:
            if self._ordinal > known:
                self._tell_trimmed(self._ordinal - known)
        elif last != BEGINNING and state.may_lack(last):
            self._tell_trimmed(None, certain=state.first is None)
