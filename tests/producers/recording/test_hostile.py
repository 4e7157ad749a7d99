"""Recordings that somebody made to do harm cost no memory and no time: they are damaged like any other."""

from pathlib import Path

import lz4.frame
import pytest
import zstandard
from mcap.reader import SeekingReader

from producers.errors import RecordingError
from producers.recording.protobuf import fields
from producers.recording.reading import FOOTER_BYTES, MAGIC, read_messages, read_summary
from producers.recording.unpacking import LARGEST_UNPACKED_BYTES, unpacked
from tests.producers.recording.frames import frame, record

LARGE = bytes(1 << 20)
PACKED = {"lz4": lz4.frame.compress(LARGE), "zstd": zstandard.ZstdCompressor().compress(LARGE)}


@pytest.mark.parametrize("compression", PACKED)
def test_a_chunk_is_unpacked_no_further_than_it_claims(compression: str) -> None:
    """What claims less than it is, or more than any chunk has, is refused."""
    data = PACKED[compression]
    assert unpacked(compression, data, size=len(LARGE)) == LARGE
    for size in (1000, len(LARGE) - 1, len(LARGE) + 1, LARGEST_UNPACKED_BYTES + 1):
        with pytest.raises(ValueError, match="bytes"):
            unpacked(compression, data, size=size)


def test_a_compression_that_nobody_knows_is_none() -> None:
    """It is damage like any other."""
    with pytest.raises(ValueError, match="no such compression"):
        unpacked("rle", b"", size=0)


def test_a_chunk_in_the_index_is_not_unpacked(tmp_path: Path) -> None:
    """The file is read like one without an index, chunk by chunk."""
    path = tmp_path / "a.mcap"
    record(path, *(frame(seq) for seq in range(8)), chunk_bytes=4000)
    with path.open("rb") as stream:
        summary = SeekingReader(stream).get_summary()
    assert summary is not None
    index, data = summary.chunk_indexes[0], path.read_bytes()
    chunk = data[index.chunk_start_offset : index.chunk_start_offset + index.chunk_length]
    end = len(data) - FOOTER_BYTES - len(MAGIC)
    path.write_bytes(data[:end] + chunk + data[end:])
    with path.open("rb") as stream:
        assert read_summary(stream) is None
    assert [message.seq for message in read_messages(path)][:8] == list(range(8))


def test_a_number_of_more_than_64_bits_is_none() -> None:
    """Each further byte would take longer to add than the one before."""
    with pytest.raises(RecordingError):
        fields(memoryview(b"\x08" + b"\x80" * 20 + b"\x01"))
