"""A frame as a message that Foxglove and the MCAP tools show as a picture; its exact header stands beside the pixels.

Raw pixels are a `foxglove.RawImage`, a JPEG or PNG file is a `foxglove.CompressedImage`, both in protobuf. The payload
is there once, byte for byte. Our header is one field more, which others step over.
"""

from functools import cache

from producers.errors import RecordingError
from producers.frame import FrameHeader, Payload
from producers.recording.protobuf import blob, blob_head, fields, fixed32, number

HEADER = 1000  # the field of our header, in both messages
RAW, COMPRESSED = "foxglove.RawImage", "foxglove.CompressedImage"
_DATA = {RAW: 6, COMPRESSED: 2}
_DOUBLE_BYTE = "mono16"  # also for 16-bit Bayer patterns, for which Foxglove has no name
_STRING, _BYTES, _FIXED32, _INT32, _INT64, _MESSAGE = 9, 12, 7, 5, 3, 11  # of descriptor.proto
_OPTIONAL = 1


def schema_of(header: FrameHeader) -> str:
    """Which of the two messages a frame becomes."""
    return RAW if header.encoding == "raw" else COMPRESSED


def to_message(header: FrameHeader, text: bytes, payload: Payload) -> bytes:
    """A frame as such a message.

    Args:
        header: of the frame.
        text: the same header, as it travelled.
        payload: of the frame.
    """
    seconds, nanos = divmod(header.captured_ns, 1_000_000_000)
    parts = [blob(HEADER, text), blob(1, number(1, seconds) + number(2, nanos))]
    kind = schema_of(header)
    if kind == RAW:
        height, width, channels = header.shape
        step = width * channels * (2 if header.dtype == "uint16" else 1)
        parts += [fixed32(2, width), fixed32(3, height), blob(4, _encoding(header)), fixed32(5, step)]
        parts += [blob(7, header.camera)]
    else:
        parts += [blob(3, header.encoding), blob(4, header.camera)]
    return b"".join([*parts, blob_head(_DATA[kind], len(payload)), payload])


def from_message(message: memoryview, kind: str) -> tuple[bytes, bytes]:
    """The header as it travelled, and the payload.

    Raises:
        RecordingError: it is none of our messages.
    """
    found = fields(message)
    text, payload = found.get(HEADER), found.get(_DATA[kind], b"")
    if text is None or isinstance(text, int) or isinstance(payload, int):
        raise RecordingError("an image has no Sightline header: it was not recorded here")
    return bytes(text), bytes(payload)


def _encoding(header: FrameHeader) -> str:
    return _DOUBLE_BYTE if header.dtype == "uint16" else f"{header.color}8"


@cache
def descriptor(kind: str) -> bytes:
    """The description of a message and of all it needs: a `FileDescriptorSet`, as MCAP asks for with protobuf."""
    members = {
        RAW: [
            ("width", 2, _FIXED32),
            ("height", 3, _FIXED32),
            ("encoding", 4, _STRING),
            ("step", 5, _FIXED32),
            ("data", 6, _BYTES),
            ("frame_id", 7, _STRING),
        ],
        COMPRESSED: [("data", 2, _BYTES), ("format", 3, _STRING), ("frame_id", 4, _STRING)],
    }[kind]
    name = kind.removeprefix("foxglove.")
    stamp = _field("timestamp", 1, _MESSAGE, ".google.protobuf.Timestamp")
    image = [stamp, *(_field(*member) for member in members), _field("sightline_header", HEADER, _STRING)]
    time = [_field("seconds", 1, _INT64), _field("nanos", 2, _INT32)]
    stamp_file = "google/protobuf/timestamp.proto"
    files = [
        _file(stamp_file, "google.protobuf", "Timestamp", time),
        _file(f"foxglove/{name}.proto", "foxglove", name, image, needs=stamp_file),
    ]
    return b"".join(blob(1, one) for one in files)


def _file(path: str, package: str, message: str, members: list[bytes], *, needs: str = "") -> bytes:
    body = blob(1, message) + b"".join(blob(2, member) for member in members)
    return blob(1, path) + blob(2, package) + (blob(3, needs) if needs else b"") + blob(4, body) + blob(12, "proto3")


def _field(name: str, at: int, kind: int, message: str = "") -> bytes:
    typed = blob(6, message) if message else b""
    return blob(1, name) + number(3, at) + number(4, _OPTIONAL) + number(5, kind) + typed
