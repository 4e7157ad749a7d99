"""Verdicts beside the frames of a recording: a thread follows the line and hands each to the recorder."""

import json
import threading
from types import TracebackType

import structlog

from producers.recording.message import Topic
from producers.recording.recorder import Note, Recorder
from worker.reader import ResultReader
from worker.verdict import Verdict

log = structlog.get_logger("recording")


def note_of(verdict: Verdict) -> Note:
    """A verdict as a recording has it: the JSON of `sightline subscribe --json`, without its map."""
    tag, text = verdict.tag, json.dumps(verdict.to_json()).encode()
    return Note(tag.camera, Topic.VERDICT, text, verdict.inspected_ns, tag.seq)


class VerdictTap:
    """Follows a line's verdicts from now on. A context manager, whose end waits for what comes within a moment.

    Attributes:
        verdicts: recorded so far.
        failed: no more of them are recorded.

    Args:
        url: of Redis.
        line: name of the line.
        recorder: gets them.
        linger_s: how long to go on at the end: the last frames are not judged yet.

    Raises:
        ResultsUnavailable: Redis is not there at the start. Later it is waited for.
    """

    def __init__(self, url: str, line: str, recorder: Recorder, *, linger_s: float) -> None:
        self.verdicts, self.failed = 0, False
        self._reader = ResultReader(url, line)
        self._recorder, self._linger_s = recorder, linger_s
        self._begun, self._over = threading.Event(), threading.Event()
        self._reader.reach()
        self._thread = threading.Thread(target=self._run, name="verdicts", daemon=True)

    def __enter__(self) -> "VerdictTap":
        self._thread.start()
        self._begun.wait()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._thread.join(self._linger_s if kind is None else 0)  # it ends sooner if it can't follow any more
        self._over.set()
        self._thread.join()
        self._reader.close()

    def _until(self) -> bool:
        self._begun.set()  # the reader asks once it stands at `now`
        return self._over.is_set()

    def _run(self) -> None:
        try:
            for verdict in self._reader.follow(start="now", until=self._until):
                self._recorder.offer(note_of(verdict))
                self.verdicts += 1
        except Exception as error:  # frames are recorded all the same
            self.failed = True
            log.error("verdicts are no longer recorded", error=str(error) or repr(error))
        finally:
            self._begun.set()
