"""What following a stream has in common, whoever does the I/O: asking, waiting, judging what an entry is.

Everything a reader decides is a generator of steps: it yields a command for Redis, a pause, or a verdict, and is sent
the command's answer or thrown `ResultsUnavailable`. `worker.reader` and `worker.async_reader` carry the steps out, and
know nothing else. `worker.following` reads a stream, `worker.membership` as one of a group.
"""

import math
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Generator, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

from worker.errors import ResultError, ResultsUnavailable
from worker.notice import Notice, NoticeKind, log_notice
from worker.remembered import Remembered
from worker.stream import BEGINNING, StreamState
from worker.verdict import Decision, Verdict

T = TypeVar("T")

BLOCK_MS = 500  # a read waits so long for something new
CHECK_S = 1.0  # a reader that is kept busy looks so often whether the stream is still the one it reads
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.05, 0.5
# A person must act before any of these can change; everything else may pass while we wait.
NEVER_PASSES = {"permission", "login", "tls", "results_key", "wrong_type"}


@dataclass(frozen=True)
class Ask:
    """One command for Redis that may be sent twice: the client's method, sync or async, and its arguments."""

    method: str
    args: tuple[Any, ...] = ()
    options: Mapping[str, Any] = field(default_factory=dict)

    def send(self, client: Any) -> Any:
        """Calls the method; from an asyncio client comes something to await."""
        return getattr(client, self.method)(*self.args, **self.options)


@dataclass(frozen=True)
class Pause:
    """Nothing is to be done for so many seconds."""

    seconds: float


Steps = Generator[Ask | Pause | Verdict, Any, T]


@dataclass(frozen=True)
class Wishes:
    """What whoever reads asks for, the same for every way of reading.

    Attributes:
        until: whether to end.
        cameras: only of these; empty: of all.
        decision: only these; None: both.
        say: told of everything that is no verdict.
        patience_s: an outage of Redis that lasts longer is an error.
        clock: monotonic, seconds.
    """

    until: Callable[[], bool] = lambda: False
    cameras: Collection[str] = ()
    decision: Decision | None = None
    say: Callable[[Notice], None] = log_notice
    patience_s: float = math.inf
    clock: Callable[[], float] = time.monotonic


class Reading(ABC):
    """A stream being read, step by step.

    Args:
        key: of the stream.
        wishes: of whoever reads.
    """

    def __init__(self, key: str, wishes: Wishes) -> None:
        self.key, self.wishes = key, wishes
        self._remembered = Remembered()
        self._repeats = 0
        self._unsure = True  # whether the stream, and our place in it, are still what we think
        self._checked = -math.inf
        self._away_since: float | None = None
        self._pause_s = FIRST_PAUSE_S

    def steps(self) -> Steps[None]:
        """Everything to do, in turn.

        Raises:
            ResultsUnavailable: Redis was away for longer than `patience_s`, or refuses what only a person can change.
        """
        begun = False
        while True:
            try:
                if not begun:  # before `until` is asked: whoever is asked may take it that `now` has passed
                    yield from self._begin()
                    begun = True
                if self.wishes.until() or (yield from self._turn()):
                    return
            except ResultsUnavailable as error:
                yield from self._wait(error)
                if not begun and self.wishes.until():
                    return

    @abstractmethod
    def _begin(self) -> Steps[None]:
        """Finds the place to begin at."""

    @abstractmethod
    def _turn(self) -> Steps[bool]:
        """One read and what it brings. Returns whether `until` has been asked, and said yes."""

    # -- asking ------------------------------------------------------------------------------------------------------

    def _ask(self, method: str, *args: Any, **options: Any) -> Steps[Any]:
        """The answer to one command."""
        answer = yield Ask(method, args, options)
        self._answered()
        return answer

    def _stream(self) -> Steps[StreamState]:
        """What the stream is now; one that is not there is empty."""
        self._checked = self.wishes.clock()
        try:
            info = yield from self._ask("xinfo_stream", self.key)
        except ResultsUnavailable as error:
            if "no such key" not in str(error):
                raise
            self._answered()
            return StreamState(last=BEGINNING, added=0)
        return StreamState.of(info)

    def _due(self) -> bool:
        """Whether to look at the stream again before the next read."""
        return self._unsure or self.wishes.clock() - self._checked >= CHECK_S

    def _wait(self, error: ResultsUnavailable) -> Steps[None]:
        """Waits a moment because Redis failed; says so the first time."""
        now = self.wishes.clock()
        self._unsure = True
        began = now if self._away_since is None else self._away_since
        if error.fault.name in NEVER_PASSES or now - began >= self.wishes.patience_s:
            raise error
        if self._away_since is None:
            self._away_since = now
            self._say(NoticeKind.AWAY, f"waiting for Redis: {error}")
        yield Pause(self._pause_s)
        self._pause_s = min(2 * self._pause_s, LONGEST_PAUSE_S)

    def _answered(self) -> None:
        if self._away_since is not None:
            away_s = self.wishes.clock() - self._away_since
            self._say(NoticeKind.BACK, f"Redis answers again, after {away_s:.1f} s")
        self._away_since, self._pause_s = None, FIRST_PAUSE_S

    # -- what came ---------------------------------------------------------------------------------------------------

    def _read(self, entry: bytes, fields: Mapping[bytes, bytes]) -> Verdict | None:
        """The verdict in an entry; None, and a word about it, if there is none."""
        text = entry.decode()
        try:
            return Verdict.from_entry(text, fields)
        except ResultError as error:
            self._say(NoticeKind.UNREADABLE, f"skipped: {error}", count=1, entry=text)
            return None

    def _wanted(self, verdict: Verdict) -> bool:
        wishes = self.wishes
        return (not wishes.cameras or verdict.tag.camera in wishes.cameras) and (
            wishes.decision is None or verdict.decision is wishes.decision
        )

    def _tell_repeats(self) -> None:
        if self._repeats:
            text = f"{self._repeats} verdicts came again for frames that have been handed out: left out"
            self._say(NoticeKind.REPEATED, text, count=self._repeats)
        self._repeats = 0

    def _tell_trimmed(self, count: int | None, *, certain: bool = True) -> None:
        if certain:
            number = "verdicts, how many can't be told," if count is None else f"{count} verdicts"
            text = f"{number} were trimmed from {self.key} before they were read"
        else:
            text = f"verdicts may have been trimmed from {self.key} before they were read: Redis can't tell"
        self._say(NoticeKind.TRIMMED, text, count=count)

    def _say(self, kind: NoticeKind, text: str, *, count: int | None = None, entry: str = "") -> None:
        self.wishes.say(Notice(kind, text, count, entry))
