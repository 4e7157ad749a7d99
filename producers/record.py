"""One session of a camera on disk: which of its frames were given out, and which are finished.

A file holds the same small record twice, in two slots that are written in turn, each with a counter and a checksum: a
write that is torn harms one slot, and the other still says what was true before it.
"""

import struct
import uuid
import zlib
from dataclasses import dataclass, replace
from pathlib import Path

from producers.errors import JournalDamaged

SLOT_BYTES = 4096  # each slot in a block of its own
SUFFIX = ".journal"
_MAGIC = b"SLJ1"
_BODY = struct.Struct("<4sQ32s16sQQQ?")  # magic, turn, camera, session, lowest, next seq, captured_ns, simulated
_CHECKSUM = struct.Struct("<I")
_RECORD_BYTES = _BODY.size + _CHECKSUM.size


@dataclass(frozen=True)
class Record:
    """What a journal knows of a session.

    Attributes:
        camera: `[a-z0-9_-]{1,32}`.
        session: UUID.
        lowest: every seq below it is finished: its verdict is stored.
        next_seq: the first seq that was not given out.
        captured_ns: when the newest frame was captured; UTC since the epoch.
        simulated: whether its frames are anything but a live camera's.
    """

    camera: str
    session: str
    lowest: int
    next_seq: int
    captured_ns: int
    simulated: bool

    @property
    def unfinished(self) -> range:
        """The seqs that may lack a verdict."""
        return range(self.lowest, self.next_seq)

    def to_bytes(self, turn: int) -> bytes:
        """The record as the `turn`-th that is written."""
        session = bytes.fromhex(self.session.replace("-", ""))
        body = _BODY.pack(
            _MAGIC,
            turn,
            self.camera.encode(),
            session,
            self.lowest,
            self.next_seq,
            self.captured_ns,
            self.simulated,
        )
        return body + _CHECKSUM.pack(zlib.crc32(body))

    @classmethod
    def from_bytes(cls, data: bytes) -> tuple[int, "Record"] | None:
        """Turn and record; None if they are not whole."""
        body, checksum = data[: _BODY.size], data[_BODY.size : _RECORD_BYTES]
        if len(checksum) < _CHECKSUM.size or checksum != _CHECKSUM.pack(zlib.crc32(body)):
            return None
        magic, turn, camera, session, lowest, next_seq, captured_ns, simulated = _BODY.unpack(body)
        if magic != _MAGIC or lowest > next_seq:
            return None
        name = camera.rstrip(b"\0").decode(errors="replace")
        return turn, cls(name, str(uuid.UUID(bytes=session)), lowest, next_seq, captured_ns, simulated)


def read_record(path: Path) -> Record:
    """What an earlier session left.

    With one slot torn the other may be one frame behind, so one more counts as given out: better a `lost` for a frame
    that never was than a frame without a verdict.

    Raises:
        JournalDamaged: neither slot can be read, or it is another session's.
    """
    data = path.read_bytes()
    slots = [Record.from_bytes(data[start : start + _RECORD_BYTES]) for start in (0, SLOT_BYTES)]
    whole = [slot for slot in slots if slot is not None]
    if not whole:
        raise JournalDamaged(f"{path} can't be read: neither of its records is whole")
    _, record = max(whole, key=lambda slot: slot[0])
    if path.name != _name(record):
        raise JournalDamaged(f"{path} holds the record of another session, {record.camera}/{record.session}")
    return record if len(whole) == len(slots) else replace(record, next_seq=record.next_seq + 1)


class SessionFile:
    """The file of the session that runs. One thread at a time.

    Attributes:
        path: where it lies.
        record: what is known; on disk, too, unless a write failed since.
    """

    def __init__(self, folder: Path, record: Record) -> None:
        self.path, self.record = folder / _name(record), record
        self._turn = 1
        new = self.path.with_suffix(".new")
        new.write_bytes(b"".join(record.to_bytes(turn).ljust(SLOT_BYTES, b"\0") for turn in range(2)))
        new.replace(self.path)  # under its name there is never half a file
        self._file = self.path.open("r+b", buffering=0)

    def write(self, record: Record) -> None:
        """Writes over the older of the two slots. It is the kernel's when this returns: SIGKILL can't undo it.

        Raises:
            OSError: it could not be written.
        """
        self.record = record
        turn = self._turn + 1
        data = record.to_bytes(turn)
        self._file.seek((turn % 2) * SLOT_BYTES)
        if self._file.write(data) != len(data):
            raise OSError(f"{self.path} was written in part")
        self._turn = turn  # only now: after a failure the same slot is tried again, and the other stays whole

    def close(self) -> None:
        """Closes the file, and deletes it if nothing of the session is unfinished."""
        self._file.close()
        if not self.record.unfinished:
            self.path.unlink()


def _name(record: Record) -> str:
    return f"{record.camera}.{record.session}{SUFFIX}"
