"""Reading as one of a group: what to take next, to finish, to take over. No I/O: `worker.reading`."""

from typing import Any

from worker.errors import ResultsUnavailable
from worker.notice import NoticeKind
from worker.reading import BLOCK_MS, CHECK_S, Reading, Steps, Wishes
from worker.stream import BEGINNING, Entry, EntryId, entries_of, entry_id, start_id

# What Redis says of a group that is gone, or goes while we wait for it (Redis before 7.2).
GONE = ("NOGROUP", "UNBLOCKED", "no longer exists", "no such key")


class Membership(Reading):
    """Takes one entry at a time: whatever is fetched beyond the next is out of everybody else's reach.

    What this consumer was given and did not finish comes first: when it begins, because it may have died, and after
    every failure of Redis, because an answer may be lost. An entry that was handed out here and only its
    acknowledgement is lost is acknowledged again, and not handed out again.

    Args:
        key: of the stream.
        group: name of the group.
        consumer: name of this reader within it.
        start: where a new group begins.
        abandoned_after_s: an entry that its consumer has not finished for so long is taken over.
        wishes: of whoever reads.

    Raises:
        SettingsError: `start` is no place.
    """

    def __init__(
        self, key: str, group: str, consumer: str, *, start: str, abandoned_after_s: float, wishes: Wishes
    ) -> None:
        super().__init__(key, wishes)
        self.group, self.consumer = group, consumer
        self._start = "$" if start == "now" else str(start_id(start))
        self._idle_ms = int(abandoned_after_s * 1000)
        self._joined = False
        self._unfinished = True  # whether there may be entries that we were given and did not finish
        self._suspect = True  # whether somebody may have handled those, and died before saying so
        self._scan = "0-0"  # where looking for abandoned entries goes on
        self._scanned = wishes.clock()
        self._told: EntryId | None = None  # the group's place when trimming was last spoken of

    def _begin(self) -> Steps[None]:
        yield from self._join()

    def _turn(self) -> Steps[bool]:
        try:
            if self._unsure:
                yield from self._join()
            if self._unfinished:
                yield from self._finish()
            elif not (yield from self._take_next()) or self.wishes.clock() - self._scanned >= CHECK_S:
                yield from self._take_over()
        except ResultsUnavailable as error:
            if not any(word in str(error) for word in GONE):
                raise
            self._answered()
            text = (
                f"group {self.group} of {self.key} is gone: made anew from the start, verdicts may come a second time"
            )
            self._say(NoticeKind.GROUP_GONE, text)
            self._start, self._joined, self._unsure = "0", False, True
        self._tell_repeats()
        return False

    def _join(self) -> Steps[None]:
        """Makes the group where it isn't there yet (a reader beside this one may be first), looks for losses."""
        if not self._joined:
            try:
                yield from self._ask("xgroup_create", self.key, self.group, id=self._start, mkstream=True)
            except ResultsUnavailable as error:
                if "BUSYGROUP" not in str(error):
                    raise
                self._answered()
        self._joined, self._unfinished, self._unsure = True, True, False
        yield from self._check()

    def _finish(self) -> Steps[None]:
        """Hands out one entry that we were given before and did not finish."""
        entries = yield from self._read_group("0")
        yield from self._hand_out(entries, again=self._suspect)
        if not entries:
            self._unfinished = self._suspect = False

    def _take_next(self) -> Steps[bool]:
        """Hands out one new entry. Returns whether there was one."""
        if self._due():
            yield from self._check()
        entries = yield from self._read_group(">")
        yield from self._hand_out(entries, again=False)
        return bool(entries)

    def _take_over(self) -> Steps[None]:
        """Hands out one entry whose consumer seems dead."""
        self._scanned = self.wishes.clock()
        doubted, self._suspect = self._suspect, True  # if the answer is lost we have it all the same
        answer = yield from self._ask(
            "xautoclaim", self.key, self.group, self.consumer, self._idle_ms, start_id=self._scan, count=1
        )
        self._suspect = doubted
        self._scan = answer[0].decode() if isinstance(answer[0], bytes) else str(answer[0])
        if len(answer) > 2 and answer[2]:
            self._tell_trimmed(len(answer[2]))
        known = [(entry, fields) for entry, fields in answer[1] if entry is not None]
        # Redis 6.2 hands over an entry that is trimmed without its id: among our own it has one
        self._unfinished = self._unfinished or len(known) < len(answer[1])
        yield from self._hand_out(known, again=True)

    def _read_group(self, after: str) -> Steps[list[Entry]]:
        answer = yield from self._ask(
            "xreadgroup", self.group, self.consumer, {self.key: after}, count=1, block=BLOCK_MS
        )
        return entries_of(answer)

    def _hand_out(self, entries: list[Entry], *, again: bool) -> Steps[None]:
        """Hands entries out and acknowledges each once the next is asked for."""
        for entry, fields in entries:
            assert entry is not None  # noqa: S101 - sorted out before
            if fields:
                yield from self._hand_out_one(entry, fields, again=again)
            else:
                self._tell_trimmed(1)
            yield from self._ask("xack", self.key, self.group, entry)

    def _hand_out_one(self, entry: bytes, fields: dict[bytes, bytes], *, again: bool) -> Steps[None]:
        verdict = self._read(entry, fields)
        if verdict is None:
            return
        if verdict.tag.id in self._remembered:
            self._repeats += 1
            return
        if self._wanted(verdict):
            yield verdict.model_copy(update={"redelivered": True}) if again else verdict
        self._remembered.add(verdict.tag.id)

    def _check(self) -> Steps[None]:
        """Says what was trimmed before the group came to it; whichever reader looks first says so, or several."""
        state = yield from self._stream()
        groups: list[dict[str, Any]] = yield from self._ask("xinfo_groups", self.key)
        mine = next((group for group in groups if group["name"] == self.group.encode()), None)
        if mine is None:
            self._joined = False
            raise ResultsUnavailable(f"NOGROUP {self.group}")
        place = entry_id(mine["last-delivered-id"])
        read, before = mine.get("entries-read"), state.before_first
        gone = before - read if read is not None and before is not None else None
        if place in (BEGINNING, self._told) or not state.may_lack(place) or gone == 0:
            return
        self._told = place
        self._tell_trimmed(gone, certain=gone is not None or state.first is None)
