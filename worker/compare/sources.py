"""Where verdicts of the past are: in a recording, in a file of JSON lines, in a line's Redis."""

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from producers.errors import RecordingError
from producers.recording.folder import Recording
from producers.recording.judged import ids_of, verdicts_of
from worker.compare.opinion import Opinion
from worker.errors import ResultError
from worker.reader import ResultReader

Opinions = dict[str, Opinion]
"""By the id of the recorded frame."""


def of_recording(recording: Recording) -> Opinions:
    """The verdicts that lie in a recording; of two the first stands.

    Raises:
        RecordingError: there are none, or one can't be read.
    """
    found = _collect(verdict for _, verdict in verdicts_of(recording))
    if not found:
        raise RecordingError("the recording holds no verdicts: record them too, or name a bundle with --base")
    return found


def of_file(path: Path) -> Opinions:
    """Those in a file, as `sightline subscribe --json` prints them.

    Raises:
        ResultError: it holds none, or something else.
    """
    found = _collect(_lines(path))
    if not found:
        raise ResultError(f"{path} holds no verdict: expected the lines of sightline subscribe --json")
    return found


def of_line(url: str, line: str) -> Opinions:
    """Those of a line, from its oldest to where it ends now.

    Raises:
        ResultsUnavailable: Redis is not there.
        ResultError: the line has none.
    """
    reader = ResultReader(url, line, patience_s=0.0)
    reader.reach()
    count, before = 0, -1

    def over() -> bool:  # asked after each verdict, and when half a second has brought none
        nonlocal before
        done, before = before == count, count
        return done

    def verdicts() -> Iterator[dict[str, Any]]:
        nonlocal count
        for verdict in reader.follow(start="0", until=over):
            count += 1
            yield verdict.to_json()

    found = _collect(verdicts())
    reader.close()
    if not found:
        raise ResultError(f"line {line} has no verdict")
    return found


def _collect(verdicts: Iterable[dict[str, Any]]) -> Opinions:
    found: Opinions = {}
    for verdict in verdicts:
        try:
            opinion = Opinion.of(verdict)
            for frame in ids_of(verdict):
                found.setdefault(frame, opinion)
        except (KeyError, ValueError, TypeError) as error:
            raise ResultError(f"a verdict can't be read: {error!r}") from error
    return found


def _lines(path: Path) -> Iterator[dict[str, Any]]:
    try:
        with path.open(encoding="utf-8") as lines:
            for number, line in enumerate(lines, start=1):
                found = json.loads(line)
                if not isinstance(found, dict):
                    raise ResultError(f"{path}, line {number}: a JSON object is expected")
                if "notice" not in found:
                    yield found
    except OSError as error:
        raise ResultError(f"{path} can't be read: {error.strerror}") from error
    except ValueError as error:
        raise ResultError(f"{path} is not JSON lines: {error}") from error
