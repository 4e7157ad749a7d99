"""What a recording's verdicts say of its frames: enough to choose frames by. No verdict is judged here."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from producers.errors import RecordingError
from producers.recording.folder import Recording
from producers.recording.message import Topic, Wanted


@dataclass(frozen=True)
class Said:
    """A recorded verdict.

    Attributes:
        decision: `pass` or `fail`.
        reason: its word.
    """

    decision: str
    reason: str


def verdicts_of(recording: Recording) -> Iterator[tuple[tuple[str, ...], dict[str, Any]]]:
    """Every verdict in a recording, with the ids by which its frame may be known.

    Raises:
        RecordingError: one can't be read.
    """
    for message in recording.messages(Wanted(topics=[Topic.VERDICT])):
        try:
            verdict = json.loads(bytes(message.data))
            yield ids_of(verdict), verdict
        except (ValueError, KeyError, AttributeError) as error:
            raise RecordingError(f"a recorded verdict can't be read: {error!r}") from error


def ids_of(verdict: dict[str, Any]) -> tuple[str, ...]:
    """The ids by which a verdict's frame may be known.

    Raises:
        KeyError: it has none.
    """
    own, original = str(verdict["id"]), verdict.get("original")
    return (own, str(original)) if original else (own,)


def said_of(recording: Recording) -> dict[str, Said]:
    """What was said of each frame, by its id; of two verdicts the first stands.

    Raises:
        RecordingError: the recording holds no verdicts.
    """
    found: dict[str, Said] = {}
    for frames, verdict in verdicts_of(recording):
        for frame in frames:
            found.setdefault(frame, Said(str(verdict.get("decision")), str(verdict.get("reason"))))
    if not found:
        raise RecordingError(
            "the recording holds no verdicts: record them too (sightline record --redis URL --line NAME)"
        )
    return found
