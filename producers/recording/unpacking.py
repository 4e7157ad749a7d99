"""Undoing a chunk's compression, within the size that it claims and a bound for any: a small file fills no memory."""

LARGEST_UNPACKED_BYTES = 1 << 30


def unpacked(compression: str, data: bytes, *, size: int) -> bytes:
    """What was packed.

    Args:
        compression: `lz4` or `zstd`.
        data: packed.
        size: in bytes, that it must have.

    Raises:
        ValueError: it has another, is too large, or was packed in another way; the libraries have errors of their own.
    """
    if size > LARGEST_UNPACKED_BYTES:
        raise ValueError(f"it says that it has {size} bytes unpacked")
    if compression == "lz4":
        import lz4.frame

        found = bytes(lz4.frame.LZ4FrameDecompressor().decompress(data, max_length=size + 1))
    elif compression == "zstd":
        import zstandard

        found = zstandard.ZstdDecompressor().stream_reader(data).read(size + 1)
    else:
        raise ValueError(f"no such compression: {compression[:20]!r}")
    if len(found) != size:
        raise ValueError(f"it has not the {size} bytes that it claims")
    return found
