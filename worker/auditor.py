"""Reads a line's stream and bitmaps for `sightline audit`. It reads once, to where the stream ends when it begins."""

from typing import Any

from producers.frame import FrameId
from worker.audit import Audit, SessionTally
from worker.errors import ResultError, ResultsUnavailable
from worker.line import SEEN_WINDOW, LineKeys, Server
from worker.stream import BEGINNING, Entry, EntryId, StreamState, entries_of, entry_id
from worker.verdict import Verdict

PAGE = 500  # entries a read: about a megabyte with their maps
TIMEOUT_S = 30.0
EXAMPLES = 5


class Auditor:
    """Audits one line. One thread.

    Args:
        url: of Redis.
        line: name of the line.
    """

    def __init__(self, url: str, line: str) -> None:
        self.keys = LineKeys(line)
        self._server = Server(url, timeout_s=TIMEOUT_S)
        self._tallies: dict[tuple[str, str], SessionTally] = {}
        self._entries = 0
        self._unreadable = 0
        self._examples: list[str] = []

    def audit(self, *, since_s: float | None, window_s: float) -> Audit:
        """Reads all there is, and sums up.

        Args:
            since_s: only what was stored within so many seconds; None: all.
            window_s: a frame captured before so many seconds must have its verdict.

        Raises:
            ResultsUnavailable: Redis is not there.
        """
        seconds, micros = self._server.ask(lambda client: client.time())
        now_ms = seconds * 1000 + micros // 1000
        self._read_all(BEGINNING if since_s is None else EntryId(max(0, now_ms - int(since_s * 1000)), 0))
        sessions = [
            tally.report(camera, session, bits=self._bits, due_ms=now_ms - int(window_s * 1000))
            for (camera, session), tally in sorted(self._tallies.items(), key=lambda item: item[0][0])
        ]
        return Audit(sessions, self._entries, self._unreadable, self._examples)

    def close(self) -> None:
        """Closes the connection."""
        self._server.close()

    def _read_all(self, after: EntryId) -> None:
        end = self._end()
        while after < end:
            entries = self._page(after)
            for entry, fields in entries:
                after = entry_id(entry or b"0")
                if after > end:
                    return
                self._add(after, fields)
            if not entries:
                return

    def _page(self, after: EntryId) -> list[Entry]:
        return entries_of(self._server.ask(lambda client: client.xread({self.keys.results: str(after)}, count=PAGE)))

    def _end(self) -> EntryId:
        try:
            info: Any = self._server.ask(lambda client: client.xinfo_stream(self.keys.results))
        except ResultsUnavailable as error:
            if "no such key" not in str(error):
                raise
            return BEGINNING
        return StreamState.of(info).last

    def _add(self, entry: EntryId, fields: dict[bytes, bytes]) -> None:
        self._entries += 1
        try:
            verdict = Verdict.from_entry(str(entry), fields)
        except ResultError as error:
            self._unreadable += 1
            self._examples += [str(error)] if len(self._examples) < EXAMPLES else []
            return
        tag = verdict.tag
        self._tallies.setdefault((tag.camera, tag.session), SessionTally()).add(verdict, entry.ms)

    def _bits(self, frame: FrameId) -> bytes | None:
        """The bitmap that holds a frame's bit; Redis says the same of one that is empty and one that is not there."""
        held: Any = self._server.ask(lambda client: client.getrange(self.keys.seen(frame), 0, SEEN_WINDOW // 8 - 1))
        return held or None
