"""Protobuf's wire format, as far as an image and its description need it. Pure.

https://protobuf.dev/programming-guides/encoding: a message is a row of fields, each a key (number and wire type) and a
value. A library for this would be larger than what it is needed for.
"""

import struct

from producers.errors import RecordingError
from producers.frame import Payload

VARINT, FIXED64, LENGTH, FIXED32 = 0, 1, 2, 5


def varint(value: int) -> bytes:
    """A number of seven bits a byte, the lowest first."""
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def number(field: int, value: int) -> bytes:
    """A field of type `int32`, `int64`, `uint64`, `bool` or an enum."""
    return varint(field << 3 | VARINT) + varint(value)


def fixed32(field: int, value: int) -> bytes:
    """A field of type `fixed32`."""
    return varint(field << 3 | FIXED32) + struct.pack("<I", value)


def blob(field: int, value: bytes | str) -> bytes:
    """A field of type `string`, `bytes` or a message."""
    data = value.encode() if isinstance(value, str) else value
    return blob_head(field, len(data)) + data


def blob_head(field: int, length: int) -> bytes:
    """What stands before the bytes of such a field."""
    return varint(field << 3 | LENGTH) + varint(length)


def fields(message: memoryview) -> dict[int, int | Payload]:
    """The fields of a message by number; strings, bytes and messages as views of it.

    Raises:
        RecordingError: it is no such message.
    """
    found: dict[int, int | Payload] = {}
    at, end = 0, len(message)
    try:
        while at < end:
            key, at = _read_varint(message, at)
            kind, value = key & 7, 0
            if kind == VARINT:
                found[key >> 3], at = _read_varint(message, at)
                continue
            if kind == LENGTH:
                value, at = _read_varint(message, at)
            size = {FIXED64: 8, LENGTH: value, FIXED32: 4}[kind]
            if at + size > end:
                raise RecordingError("an image message ends too early")
            found[key >> 3] = message[at : at + size]
            at += size
    except (IndexError, KeyError) as error:
        raise RecordingError("an image message can't be read") from error
    return found


def _read_varint(message: memoryview, at: int) -> tuple[int, int]:
    """The number, and where the next thing begins."""
    value = shift = 0
    while True:
        byte = message[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
        shift += 7
        if shift > 63:  # a number has 64 bits: more would take longer and longer to add
            raise RecordingError("an image message can't be read")
