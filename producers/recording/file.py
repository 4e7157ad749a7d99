"""One MCAP file being written, chunk by chunk: what a chunk holds is read back, whatever happens afterwards.

MCAP (https://mcap.dev/spec) is an open container of messages with times; Foxglove and others read it.
"""

import os
from pathlib import Path
from typing import Any, BinaryIO, cast

from mcap.writer import CompressionType, Writer

from producers.frame import FrameHeader, Payload
from producers.recording import foxglove
from producers.recording.claim import claim
from producers.recording.message import Topic

JSON_SCHEMA = b'{"type": "object"}'
COMPRESSIONS = {"none": CompressionType.NONE, "lz4": CompressionType.LZ4, "zstd": CompressionType.ZSTD}


class RecordingFile:
    """An MCAP file that is new. One thread; every method may raise `OSError`, and then only `abandon` is left.

    Attributes:
        path: where it lies.
        messages: in it so far.
        unsettled: of them, those that no chunk on the disk holds yet.

    Args:
        path: must not exist.
        chunk_bytes: a chunk is closed when it has so many.
        compression: of chunks: `none`, `lz4` or `zstd`.
    """

    def __init__(self, path: Path, *, chunk_bytes: int, compression: str) -> None:
        self.path, self.messages, self.unsettled = path, 0, 0
        self._out = _Output(path)
        self._whole = 0  # bytes up to the end of the last whole chunk
        self._writer: Any = Writer(
            cast(BinaryIO, self._out), chunk_size=chunk_bytes, compression=COMPRESSIONS[compression]
        )
        self._channels: dict[tuple[str, Topic], int] = {}
        self._schemas: dict[str, int] = {}
        try:
            self._writer.start()
        except OSError:
            self.abandon()
            raise

    @property
    def size_bytes(self) -> int:
        """On the disk so far."""
        return self._out.tell()

    def add_frame(self, header: FrameHeader, text: bytes, payload: Payload) -> None:
        """Adds a frame.

        Args:
            header: of the frame.
            text: the same header, as it travelled.
            payload: of the frame.
        """
        kind = foxglove.schema_of(header)
        topic = Topic.FRAME if kind == foxglove.RAW else Topic.COMPRESSED
        data = foxglove.to_message(header, text, payload)
        self.add(header.camera, topic, data, time_ns=header.captured_ns, seq=header.seq)

    def add(self, camera: str, topic: Topic, data: bytes, *, time_ns: int, seq: int) -> None:
        """Adds a message as it is.

        Args:
            camera: name.
            topic: what it is.
            data: JSON, or a message of `foxglove`.
            time_ns: UTC since the epoch.
            seq: of the frame.
        """
        channel, before = self._channel(camera, topic), self._out.tell()
        self._writer.add_message(channel, log_time=time_ns, data=data, publish_time=time_ns, sequence=seq & 0xFFFFFFFF)
        self.messages += 1
        self.unsettled += 1
        if self._out.tell() > before:  # that was the end of a chunk
            self._whole, self.unsettled = self._out.tell(), 0

    def flush(self) -> None:
        """Closes the chunk; when this returns, all that was added outlives a power cut."""
        self._writer.flush()
        self._whole, self.unsettled = self._out.tell(), 0
        self._out.sync()

    def close(self) -> None:
        """Writes the index and closes the file."""
        self._writer.finish()
        self._out.sync()
        self._out.close()

    def abandon(self) -> int:
        """After an error: cuts off what is not whole, and closes. A file without a whole chunk is removed.

        Returns:
            How many messages of those added are lost.
        """
        try:
            self._out.cut(self._whole)
        finally:
            self._out.close()
            if not self._whole:
                self.path.unlink(missing_ok=True)
        return self.unsettled

    def _channel(self, camera: str, topic: Topic) -> int:
        if (camera, topic) not in self._channels:
            name, encoding, data = _SCHEMAS[topic]
            if name not in self._schemas:
                described = data or foxglove.descriptor(name)
                self._schemas[name] = self._writer.register_schema(name, encoding, described)
            kind = "protobuf" if encoding == "protobuf" else "json"
            self._channels[camera, topic] = self._writer.register_channel(
                f"{camera}/{topic}", kind, self._schemas[name]
            )
        return self._channels[camera, topic]


_SCHEMAS: dict[Topic, tuple[str, str, bytes]] = {
    Topic.FRAME: (foxglove.RAW, "protobuf", b""),
    Topic.COMPRESSED: (foxglove.COMPRESSED, "protobuf", b""),
    Topic.GONE: ("sightline.Gone", "jsonschema", JSON_SCHEMA),
    Topic.VERDICT: ("sightline.Verdict", "jsonschema", JSON_SCHEMA),
}


class _Output:
    """A file that writes all or raises, at once: nothing waits in a buffer that a kill would take along."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("xb", buffering=0)
        claim(self._file)
        self._at = 0

    def write(self, data: Any) -> int:
        view = memoryview(data)
        while view:
            done = self._file.write(view) or 0
            self._at += done
            view = view[done:]
        return len(data)

    def tell(self) -> int:
        return self._at

    def flush(self) -> None:
        """Nothing waits here."""

    def sync(self) -> None:
        getattr(os, "fdatasync", os.fsync)(self._file.fileno())  # Windows and macOS have only the latter

    def cut(self, length: int) -> None:
        self._file.truncate(length)

    def close(self) -> None:
        self._file.close()
