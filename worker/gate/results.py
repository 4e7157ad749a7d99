"""Hands each verdict on as soon as it is stored, from now: what was stored while nobody read opens nothing."""

import threading

import structlog

from worker.errors import ResultsUnavailable
from worker.gate.inbox import Inbox, Reading, ResultsLost
from worker.notice import Notice, NoticeKind, log_notice
from worker.reader import ResultReader

log = structlog.get_logger("gate")

BREAKS = {NoticeKind.AWAY, NoticeKind.RESET, NoticeKind.TRIMMED}
"""After any of these, verdicts may be missing: reading begins again from now."""
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.05, 0.5


class Results:
    """Reads the result stream in a thread of its own.

    An outage, a stream that began anew or was trimmed past its place is said in the inbox, and never made good: what
    would be read again may be of parts that are gone.

    Args:
        url: of Redis.
        line: name of the line.
        cameras: only of these.
        inbox: where verdicts go.
    """

    def __init__(self, url: str, line: str, cameras: frozenset[str], inbox: Inbox) -> None:
        self._url, self._line, self._cameras, self._inbox = url, line, cameras, inbox
        self._stopping = threading.Event()
        self._broken: str | None = None
        self._begun = False
        self.unreadable = 0
        self._thread = threading.Thread(target=self._run, name="results", daemon=True)

    def start(self) -> None:
        """Starts the thread."""
        self._thread.start()

    @property
    def alive(self) -> bool:
        """Whether the thread runs."""
        return self._thread.is_alive()

    def close(self) -> None:
        """Ends the thread; it may wait for Redis for a moment."""
        self._stopping.set()
        self._thread.join()

    def _run(self) -> None:
        pause_s = FIRST_PAUSE_S
        said = ""
        while not self._stopping.is_set():
            self._broken, self._begun = None, False
            why = self._follow()
            if self._stopping.is_set():
                return
            self._inbox.put(ResultsLost(why))
            if why != said:
                log.warning("verdicts may be missing", why=why)
            said = why
            pause_s = FIRST_PAUSE_S if self._begun else min(2 * pause_s, LONGEST_PAUSE_S)
            self._stopping.wait(pause_s)

    def _follow(self) -> str:
        """Hands verdicts on until something breaks. Returns what it was."""
        reader = ResultReader(self._url, self._line, say=self._hear, patience_s=0)
        try:
            for verdict in reader.follow(start="now", until=self._over, cameras=self._cameras):
                if self._broken is not None:
                    break
                self._inbox.put(verdict)
        except ResultsUnavailable as error:
            return str(error)
        finally:
            reader.close()
        return self._broken or "it was told to end"

    def _over(self) -> bool:
        if not self._begun:  # its place is found: whatever is stored from here on will be read
            self._begun = True
            self._inbox.put(Reading())
        return self._stopping.is_set() or self._broken is not None

    def _hear(self, notice: Notice) -> None:
        if notice.kind in BREAKS:
            self._broken = notice.text
        else:
            self.unreadable += notice.kind is NoticeKind.UNREADABLE
            log_notice(notice)
