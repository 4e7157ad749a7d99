"""Whether a recording is whole, what is in it, and how a damaged one is made whole again."""

import json
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from producers.checksum import crc32
from producers.errors import BadFrame, RecordingError
from producers.frame import FrameId
from producers.recording.claim import is_being_written
from producers.recording.file import RecordingFile
from producers.recording.message import ALL, PICTURES, RecordedMessage, Topic
from producers.recording.reading import read_messages, read_summary
from producers.recording.settings import MIB

NAMED = 20  # problems that are listed; all are counted


@dataclass
class FileReport:
    """What was found in a file.

    Attributes:
        file: path.
        bytes: size.
        cameras: frames with pixels, by camera.
        messages: of every kind, by topic.
        first_ns: time of the earliest message; UTC since the epoch.
        last_ns: of the latest.
        whole: it was closed in order: its index is there.
        writing: not yet: somebody writes it just now.
        missing: seqs between the first and the last frame of a session that are neither a frame nor given up.
        damaged: what can't be read, and frames that are not what their header says.
        problems: the first of them, a sentence each.
    """

    file: str
    bytes: int
    cameras: Counter[str] = field(default_factory=Counter)
    messages: Counter[str] = field(default_factory=Counter)
    first_ns: int | None = None
    last_ns: int | None = None
    whole: bool = True
    writing: bool = False
    missing: int = 0
    damaged: int = 0
    problems: list[str] = field(default_factory=list)

    @property
    def sound(self) -> bool:
        """Whether nothing is wrong with the file itself. A frame that was never recorded is no damage."""
        return (self.whole or self.writing) and not self.damaged

    def to_json(self) -> dict[str, Any]:
        """For machines."""
        return {**vars(self), "sound": self.sound}

    def count(self, camera: str, topic: str, messages: int) -> None:
        """Notes so many messages of a kind."""
        self.messages[topic] += messages
        if topic in PICTURES:
            self.cameras[camera] += messages

    def tell(self, sentence: str) -> None:
        """Notes what can't be read."""
        self.damaged += 1
        if len(self.problems) < NAMED:
            self.problems.append(sentence)


def examine(path: Path, *, thoroughly: bool) -> FileReport:
    """Reads a file.

    Args:
        path: of it.
        thoroughly: every picture is held to its header's checksum; else only what is there is counted.

    Raises:
        RecordingError: it can't be opened, or is no MCAP file.
    """
    try:
        report = FileReport(str(path), path.stat().st_size, writing=is_being_written(path))
        with path.open("rb") as stream:
            summary = read_summary(stream)
    except OSError as error:
        raise RecordingError(f"{path} can't be read: {error.strerror}") from error
    report.whole = summary is not None
    report.writing = report.writing and not report.whole
    if summary is not None and summary.statistics is not None and not thoroughly:
        counted = summary.statistics
        for number, count in counted.channel_message_counts.items():
            camera, _, topic = summary.channels[number].topic.partition("/")
            report.count(camera, topic, count)
        if counted.message_count:
            report.first_ns, report.last_ns = counted.message_start_time, counted.message_end_time
        return report
    seqs: dict[tuple[str, str], list[int]] = {}
    cut: list[str] = []
    for message in read_messages(path, ALL, tell=report.tell if report.whole else cut.append):
        report.count(message.camera, message.topic, 1)
        report.first_ns = min(message.time_ns, report.first_ns or message.time_ns)
        report.last_ns = max(message.time_ns, report.last_ns or 0)
        if thoroughly and message.topic is not Topic.VERDICT:
            try:
                found = _checked(message)
                seqs.setdefault((found.camera, found.session), []).append(found.seq)
            except (BadFrame, RecordingError, ValueError, KeyError) as error:
                report.tell(f"{path}: frame {message.camera} seq {message.seq}: {error}")
    for sentence in cut[:-1]:  # the last one says only that it was cut off
        report.tell(sentence)
    report.problems += [] if report.writing else cut[-1:]
    report.missing = sum(max(found) - min(found) + 1 - len(set(found)) for found in seqs.values())
    return report


def _checked(message: RecordedMessage) -> FrameId:
    """Whose frame this is, once its pixels have been found to be what its header says.

    Raises:
        BadFrame: they are not.
        RecordingError: it is no frame.
        ValueError: it can't be read at all; so does KeyError.
    """
    if message.topic not in PICTURES:
        tag = json.loads(bytes(message.data))["frame"]
        return FrameId(tag["camera"], tag["session"], tag["seq"])
    header, _, payload = message.frame()
    if crc32(payload) != header.crc32:
        raise BadFrame("the pixels do not have the checksum that their header names")
    return header.id


def repair(path: Path, *, keep: bool) -> tuple[int, FileReport]:
    """Writes all that can be read of a file into a new one, which takes its place.

    Args:
        path: of the file.
        keep: whether the old one stays, as `NAME.damaged`.

    Returns:
        How many messages were saved, and what the new file is like.

    Raises:
        RecordingError: it is being written, nothing can be read, or the new file can't be written; the old one stays as
            it was.
    """
    new = path.with_suffix(".repairing")
    try:
        if is_being_written(path):
            raise RecordingError(f"{path} is being written just now: what writes it ends it, too")
        new.unlink(missing_ok=True)
        saved = _copy(path, new)
        if keep:
            path.rename(path.with_suffix(".damaged"))
        new.replace(path)
    except OSError as error:
        raise RecordingError(f"{path} can't be repaired, it stays as it is: {error.strerror or error}") from error
    finally:
        new.unlink(missing_ok=True)
    return saved, examine(path, thoroughly=False)


def _copy(path: Path, new: Path) -> int:
    """Writes all that can be read into a new file. Returns how many messages that is.

    Raises:
        RecordingError: nothing can be read.
        OSError: it can't be written.
    """
    file = RecordingFile(new, chunk_bytes=MIB, compression="none")
    try:
        for message in read_messages(path):
            data = bytes(message.data)
            file.add(message.camera, message.topic, data, time_ns=message.time_ns, seq=message.seq)
        if not file.messages:
            raise RecordingError(f"{path} holds no message that can be read")
        file.close()
    except BaseException:
        file.abandon()
        raise
    return file.messages
