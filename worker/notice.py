"""What a reader has to say besides verdicts: that it waits, that something is gone, that something was left out."""

from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any

import structlog

log = structlog.get_logger("reader")


class NoticeKind(StrEnum):
    """What happened. The words are stable: programs that read `sightline subscribe --json` hold them."""

    UNREADABLE = "unreadable"
    """An entry can't be read as a verdict: it was skipped."""
    REPEATED = "repeated"
    """Frames whose verdict this reader has handed out already came again: they were left out."""
    AWAY = "away"
    """Redis does not answer: the reader waits."""
    BACK = "back"
    """Redis answers again."""
    RESET = "reset"
    """The stream is not the one that was read so far, or has lost its end: reading begins again."""
    GROUP_GONE = "group_gone"
    """The consumer group is gone: it was made anew, from the start of the stream."""
    TRIMMED = "trimmed"
    """Verdicts are gone from the stream that this reader never handed out."""


@dataclass(frozen=True)
class Notice:
    """One thing that a reader says.

    Attributes:
        kind: what happened.
        text: one sentence for a person.
        count: of entries it is about; None: can't be told, or does not apply.
        entry: id of the entry it is about; empty: of none.
    """

    kind: NoticeKind
    text: str
    count: int | None = None
    entry: str = ""

    def to_json(self) -> dict[str, Any]:
        """For machines: one object under a key that no verdict has."""
        return {"notice": {**asdict(self), "kind": self.kind.value}}


def log_notice(notice: Notice) -> None:
    """Says a notice in the log: what a reader does unless it is told otherwise."""
    say = log.info if notice.kind is NoticeKind.BACK else log.warning
    say(notice.text, notice=notice.kind.value, count=notice.count, entry=notice.entry)
