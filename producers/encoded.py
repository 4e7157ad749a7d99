"""How large a JPEG or PNG says it is, read from its first bytes, before a decoder allocates anything.

Two small parsers of our own: OpenCV tells a picture's size only by decoding it, and an imaging library beside it in the
base install would cost more than these lines. PNG: RFC 2083, section 4.1.1. JPEG: ITU-T T.81, section B.2.
"""

import struct

from producers.errors import BadFrame

MAX_SEGMENTS = 4096  # a camera writes about ten
_PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_NO_FRAME_HEADER = {0xC4, 0xC8, 0xCC}  # DHT, JPG, DAC lie among the start-of-frame markers C0..CF
# Without a length, and none belongs before the size: a decoder that steps over one reads on where we would not.
_STANDALONE = {0x00, 0x01, *range(0xD0, 0xDA)}


def encoded_shape(payload: bytes | memoryview, encoding: str) -> tuple[int, int]:
    """`(height, width)` in pixels as the file claims.

    Args:
        payload: the whole file.
        encoding: `jpeg` or `png`.

    Raises:
        BadFrame: the payload is not such a file, or ends too early to tell.
    """
    try:
        return _png_shape(payload) if encoding == "png" else _jpeg_shape(payload)
    except struct.error as error:
        raise BadFrame(f"{encoding} payload is cut off") from error


def _png_shape(payload: bytes | memoryview) -> tuple[int, int]:
    if payload[:8] != _PNG_SIGNATURE or payload[12:16] != b"IHDR":
        raise BadFrame("payload is not a PNG file")
    width, height = struct.unpack_from(">II", payload, 16)
    return height, width


def _jpeg_shape(payload: bytes | memoryview) -> tuple[int, int]:
    if payload[:2] != b"\xff\xd8":
        raise BadFrame("payload is not a JPEG file")
    at = 2
    for _ in range(MAX_SEGMENTS):
        fill, marker = struct.unpack_from(">BB", payload, at)
        if fill != 0xFF or marker in _STANDALONE:
            raise BadFrame("payload is not a JPEG file")
        if marker == 0xFF:  # a fill byte
            at += 1
        elif 0xC0 <= marker <= 0xCF and marker not in _NO_FRAME_HEADER:
            height, width = struct.unpack_from(">HH", payload, at + 5)
            return height, width
        else:
            (length,) = struct.unpack_from(">H", payload, at + 2)
            at += 2 + length
    raise BadFrame(f"payload has no size in its first {MAX_SEGMENTS} segments")
