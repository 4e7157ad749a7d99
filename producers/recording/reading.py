"""What is in a recording, message by message, also in one whose end is missing or damaged. No message is guessed.

A whole file is read by its index: only the chunks that are asked for. One that was cut off is read from its start, up
to where it ends.
"""

import struct
from collections.abc import Callable, Iterator
from io import BytesIO
from pathlib import Path
from typing import BinaryIO, cast

from mcap.data_stream import ReadDataStream
from mcap.exceptions import McapError
from mcap.opcode import Opcode
from mcap.reader import SeekingReader
from mcap.records import Channel, Chunk, ChunkIndex
from mcap.summary import Summary

from producers.checksum import crc32
from producers.errors import RecordingError
from producers.recording.message import ALL, EVERYTHING, RecordedMessage, Topic, Wanted
from producers.recording.unpacking import unpacked

MAGIC = b"\x89MCAP0\r\n"
HEAD = struct.Struct("<BQ")  # a record's opcode, and the length of what follows
MESSAGE = struct.Struct("<HIQQ")  # channel, sequence, log time, publish time; then the data
CHUNK = struct.Struct("<QQQII")  # first and last time, size, checksum, length of the compression's name
LENGTH = struct.Struct("<Q")
FOOTER_BYTES = HEAD.size + 20
LARGEST_CHUNK_BYTES = 2 << 30
DAMAGED = (McapError, RecordingError, struct.error, ValueError, KeyError, OverflowError, MemoryError)

Tell = Callable[[str], None]


def read_messages(path: Path, wanted: Wanted = ALL, *, tell: Tell = lambda text: None) -> Iterator[RecordedMessage]:
    """The messages of a file, in the order in which they were recorded.

    Args:
        path: of the file.
        wanted: what is asked for.
        tell: told of everything that can't be read, a sentence each; what can be read is handed out all the same.

    Raises:
        RecordingError: it can't be opened, or is no MCAP file.
    """
    try:
        with path.open("rb") as stream:
            if stream.read(len(MAGIC)) != MAGIC:
                raise RecordingError(f"{path} is no recording: it is not an MCAP file")
            summary = read_summary(stream)
            if summary is not None:
                yield from _Indexed(path, stream, summary).messages(wanted, tell)
            else:
                yield from _Cut(path, stream).messages(wanted, tell)
    except OSError as error:
        raise RecordingError(f"{path} can't be read: {error.strerror}") from error


def read_summary(stream: BinaryIO) -> Summary | None:
    """The index at the end of a file; None if the file was cut off before it was written."""
    try:
        stream.seek(0)
        _refuse_chunks(stream)
        summary = SeekingReader(stream).get_summary()
    except (*DAMAGED, OSError):
        return None
    return summary if summary is not None and (summary.chunk_indexes or not _has_messages(summary)) else None


def _refuse_chunks(stream: BinaryIO) -> None:
    """A chunk has no place in an index, and the library would unpack it, however large it says that it is.

    Raises:
        RecordingError: there is one.
    """
    stream.seek(-FOOTER_BYTES - len(MAGIC), 2)
    end = stream.tell()
    (at,) = LENGTH.unpack(stream.read(FOOTER_BYTES)[HEAD.size : HEAD.size + LENGTH.size])
    while 0 < at < end:
        stream.seek(at)
        opcode, length = HEAD.unpack(stream.read(HEAD.size))
        if opcode == Opcode.CHUNK:
            raise RecordingError("there is a chunk in the index")
        at += HEAD.size + length
    stream.seek(0)


def _has_messages(summary: Summary) -> bool:
    return summary.statistics is None or summary.statistics.message_count > 0


class _Channels:
    """Which camera and topic each channel of a file stands for; channels of others are not ours to read."""

    def __init__(self, path: Path, stream: BinaryIO) -> None:
        self.path, self._stream = path, stream
        self._known: dict[int, tuple[str, Topic] | None] = {}

    def learn(self, channel: Channel) -> None:
        """Notes a channel."""
        camera, _, topic = channel.topic.partition("/")
        self._known[channel.id] = (camera, Topic(topic)) if topic in EVERYTHING else None

    def wanted(self, wanted: Wanted) -> set[int]:
        """The channels of which something is wanted."""
        return {number for number, known in self._known.items() if known is not None and wanted.channel(*known)}

    def body(self, length: int) -> Chunk:
        """The chunk that begins here. Its own lengths are believed only within the record's.

        Raises:
            ValueError: it is longer than any that we write.
        """
        if length > LARGEST_CHUNK_BYTES:
            raise ValueError(f"it says that it has {length} bytes")
        data = memoryview(self._stream.read(length))  # pictures are copied once, when they are handed out
        first_ns, last_ns, size, checksum, named = CHUNK.unpack_from(data)
        at = CHUNK.size + named
        (stored,) = LENGTH.unpack_from(data, at)
        return Chunk(
            compression=str(data[CHUNK.size : at], "ascii"),
            data=cast(bytes, data[at + LENGTH.size : at + LENGTH.size + stored]),  # whoever reads it takes a view, too
            message_start_time=first_ns,
            message_end_time=last_ns,
            uncompressed_crc=checksum,
            uncompressed_size=size,
        )

    def unpack(self, chunk: Chunk, wanted: Wanted) -> Iterator[RecordedMessage]:
        """The messages in a chunk, once its checksum has been found to be right.

        Raises:
            ValueError: it is not.
        """
        data = _open(chunk)
        at = 0
        while at < len(data):
            opcode, length = HEAD.unpack_from(data, at)
            at += HEAD.size
            if opcode == Opcode.CHANNEL:
                self.learn(Channel.read(ReadDataStream(BytesIO(data[at : at + length]))))
            elif opcode == Opcode.MESSAGE:
                number, seq, time_ns, _ = MESSAGE.unpack_from(data, at)
                known = self._known.get(number)
                if known is not None and wanted.channel(*known) and wanted.span(time_ns, time_ns):
                    yield RecordedMessage(*known, time_ns, seq, data[at + MESSAGE.size : at + length])
            at += length


def _open(chunk: Chunk) -> memoryview:
    """What a chunk holds, its compression undone.

    Raises:
        ValueError: its size or its checksum is wrong.
    """
    data = memoryview(chunk.data)
    if chunk.compression:
        try:
            data = memoryview(unpacked(chunk.compression, chunk.data, size=chunk.uncompressed_size))
        except Exception as error:  # each compression's library has errors of its own
            raise ValueError(f"a chunk can't be unpacked ({error})") from error
    if len(data) != chunk.uncompressed_size:
        raise ValueError(f"a chunk has not the {chunk.uncompressed_size} bytes that it claims")
    if chunk.uncompressed_crc and crc32(data) != chunk.uncompressed_crc:
        raise ValueError("a chunk does not have the checksum that stands beside it")
    return data


class _Indexed(_Channels):
    """A whole file, by its index."""

    def __init__(self, path: Path, stream: BinaryIO, summary: Summary) -> None:
        super().__init__(path, stream)
        self._chunks = sorted(summary.chunk_indexes, key=lambda index: index.chunk_start_offset)
        for channel in summary.channels.values():
            self.learn(channel)

    def messages(self, wanted: Wanted, tell: Tell) -> Iterator[RecordedMessage]:
        """Those that are wanted; other chunks are stepped over."""
        channels = self.wanted(wanted)
        for index in self._chunks:
            held = index.message_index_offsets
            if wanted.span(index.message_start_time, index.message_end_time) and (not held or channels & held.keys()):
                yield from self._read(index, wanted, tell)

    def _read(self, index: ChunkIndex, wanted: Wanted, tell: Tell) -> Iterator[RecordedMessage]:
        try:
            self._stream.seek(index.chunk_start_offset + HEAD.size)
            yield from self.unpack(self.body(index.chunk_length - HEAD.size), wanted)
        except DAMAGED as error:
            tell(f"{self.path}: the chunk at byte {index.chunk_start_offset} is left out: {error}")


class _Cut(_Channels):
    """A file without an index, from its start up to where it can be read."""

    def messages(self, wanted: Wanted, tell: Tell) -> Iterator[RecordedMessage]:
        """Those that are wanted."""
        self._stream.seek(0, 2)
        end, at = self._stream.tell(), len(MAGIC)
        while at < end:
            self._stream.seek(at)
            head = self._stream.read(HEAD.size)
            opcode, length = HEAD.unpack(head) if len(head) == HEAD.size else (0, 0)
            if not opcode or at + HEAD.size + length > end or length > LARGEST_CHUNK_BYTES:
                break  # zeros, or a record whose end is missing: what a power cut leaves
            try:
                yield from self._record(opcode, length, wanted)
            except DAMAGED as error:
                tell(f"{self.path}: the chunk at byte {at} is left out: {error}")
            at += HEAD.size + length
        tell(f"{self.path} was cut off: it can be read up to byte {at} of {end}")

    def _record(self, opcode: int, length: int, wanted: Wanted) -> Iterator[RecordedMessage]:
        if opcode == Opcode.CHUNK:
            yield from self.unpack(self.body(length), wanted)
        elif opcode == Opcode.CHANNEL:
            self.learn(Channel.read(ReadDataStream(self._stream)))
