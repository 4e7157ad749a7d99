"""What is recorded is read back byte for byte, by us and by others."""

import io
import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from mcap.reader import make_reader

from producers.frame import decode
from producers.recording.message import Topic, Wanted
from producers.recording.reading import read_messages
from producers.recording.recorder import Recorder
from producers.recording.settings import RecordingSettings
from tests.producers.recording.frames import START_NS, STEP_NS, frame, header_of, jpeg, read, record, tag


@pytest.mark.parametrize("compression", ["none", "lz4", "zstd"])
def test_headers_and_payloads_come_back_as_they_were(tmp_path: Path, compression: str) -> None:
    """Every header field and every byte, raw and JPEG, whatever a chunk is compressed with."""
    frames = [frame(0), jpeg(1), frame(2, part_id="A-1042", recipe="part", trigger=7, budget_ms=80.5)]
    record(tmp_path / "a.mcap", *frames, compression=compression)
    assert read(tmp_path / "a.mcap") == [(header_of(one), bytes(one.payload)) for one in frames]


def test_sixteen_bit_frames_come_back(tmp_path: Path) -> None:
    """Grey pictures of 16 bits are recorded as they are."""
    from producers.frame import make_frame

    pixels = np.arange(16 * 8, dtype=np.uint16).reshape(16, 8) * 500
    one = make_frame(tag(0), pixels, color="mono")
    record(tmp_path / "a.mcap", one)
    ((_, payload),) = read(tmp_path / "a.mcap")
    assert payload == pixels.tobytes()


def test_the_mcap_library_alone_reads_a_recording(tmp_path: Path) -> None:
    """Its index, its checksums and its times are what that library expects."""
    record(tmp_path / "a.mcap", *(frame(seq) for seq in range(30)), chunk_bytes=4000)
    with (tmp_path / "a.mcap").open("rb") as stream:
        reader = make_reader(stream, validate_crcs=True)
        summary = reader.get_summary()
        assert summary is not None
        assert summary.statistics is not None
        assert (summary.statistics.message_count, summary.statistics.chunk_count) == (30, len(summary.chunk_indexes))
        assert summary.statistics.chunk_count > 5
        found = list(reader.iter_messages(topics="cam1/frame"))
    assert [message.log_time for _, _, message in found] == [START_NS + seq * STEP_NS for seq in range(30)]
    assert {(schema.name, schema.encoding) for schema, _, _ in found if schema} == {("foxglove.RawImage", "protobuf")}


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("encoding", ["raw", "jpeg"])
def test_a_picture_read_with_the_schema_in_the_file_is_the_published_one(tmp_path: Path, encoding: str) -> None:
    """Google's protobuf library builds the message from the schema in the file, as Foxglove does."""
    from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

    one = frame(3) if encoding == "raw" else jpeg(3)
    record(tmp_path / "a.mcap", one)
    with (tmp_path / "a.mcap").open("rb") as stream:
        ((schema, _, message),) = make_reader(io.BytesIO(stream.read())).iter_messages()
    assert schema is not None
    pool = descriptor_pool.DescriptorPool()
    for file in descriptor_pb2.FileDescriptorSet.FromString(schema.data).file:
        pool.Add(file)
    image = message_factory.GetMessageClass(pool.FindMessageTypeByName(schema.name))()
    image.ParseFromString(message.data)
    assert image.timestamp.seconds * 1_000_000_000 + image.timestamp.nanos == one.tag.captured_ns
    assert json.loads(image.sightline_header) == header_of(one)
    assert image.frame_id == "cam1"
    published = decode(one.header, one.payload)
    if encoding == "raw":
        assert (image.width, image.height, image.encoding, image.step) == (16, 16, "bgr8", 48)
        shown = np.frombuffer(image.data, np.uint8).reshape(image.height, image.width, 3)
    else:
        assert image.format == "jpeg"
        shown = np.asarray(cv2.imdecode(np.frombuffer(image.data, np.uint8), cv2.IMREAD_COLOR), np.uint8)
    assert np.array_equal(shown[:, :, ::-1], published)


def test_a_frame_without_pixels_is_recorded_with_its_reason(tmp_path: Path) -> None:
    """A capture that could not be read leaves no hole: its tag says why there is no picture."""
    with Recorder(RecordingSettings(out=tmp_path / "a.mcap")) as recorder:
        recorder.published((tag(5), "bad_frame"))
    (message,) = read_messages(tmp_path / "a.mcap")
    assert message.topic is Topic.GONE
    found = json.loads(bytes(message.data))
    assert (found["reason"], found["frame"]["seq"]) == ("bad_frame", 5)


def test_only_what_is_asked_for_is_read(tmp_path: Path) -> None:
    """By camera and by time, also within a chunk."""
    frames = [frame(seq, camera=camera) for seq in range(10) for camera in ("cam1", "cam2")]
    record(tmp_path / "a.mcap", *frames)
    since, until = START_NS + 3 * STEP_NS, START_NS + 6 * STEP_NS
    found = read(tmp_path / "a.mcap", Wanted(cameras=["cam2"], since_ns=since, until_ns=until))
    assert [(header["camera"], header["seq"]) for header, _ in found] == [("cam2", 3), ("cam2", 4), ("cam2", 5)]
