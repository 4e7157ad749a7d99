"""The checksum is zlib's, whichever library computes it."""

import zlib

from hypothesis import given
from hypothesis import strategies as st

from producers.checksum import crc32


@given(st.binary(max_size=5000))
def test_it_is_the_number_that_zlib_gives(payload: bytes) -> None:
    assert crc32(payload) == zlib.crc32(payload)


def test_views_of_memory_are_summed_like_the_bytes_in_them() -> None:
    payload = bytes(range(256)) * 800
    assert crc32(memoryview(payload)[1:]) == zlib.crc32(payload[1:])
