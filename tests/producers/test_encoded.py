"""`producers.encoded`: what a JPEG or PNG claims to be, before anything is decoded."""

import time

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from producers.encoded import encoded_shape
from producers.errors import BadFrame

SIZES = [(1, 1), (7, 300), (300, 7), (64, 48)]


def encoded(suffix: str, height: int, width: int) -> bytes:
    picture = np.arange(height * width * 3, dtype=np.uint32).astype(np.uint8).reshape(height, width, 3)
    done, data = cv2.imencode(suffix, picture)
    assert done
    return data.tobytes()


WHOLE = {"png": encoded(".png", 64, 48), "jpeg": encoded(".jpg", 64, 48)}


@pytest.mark.parametrize(("height", "width"), SIZES)
@pytest.mark.parametrize("encoding", ["png", "jpeg"])
def test_a_picture_tells_its_height_and_width(encoding: str, height: int, width: int) -> None:
    assert encoded_shape(encoded("." + encoding[:3].replace("jpe", "jpg"), height, width), encoding) == (height, width)


def test_a_progressive_jpeg_tells_its_size() -> None:
    done, data = cv2.imencode(".jpg", np.zeros((40, 60, 3), np.uint8), [cv2.IMWRITE_JPEG_PROGRESSIVE, 1])
    assert done
    assert encoded_shape(data.tobytes(), "jpeg") == (40, 60)


def test_a_thumbnail_within_a_jpeg_is_not_taken_for_the_picture() -> None:
    thumbnail = encoded(".jpg", 8, 8)
    app1 = b"\xff\xe1" + (len(thumbnail) + 2).to_bytes(2, "big") + thumbnail
    whole = WHOLE["jpeg"]
    assert encoded_shape(whole[:2] + app1 + whole[2:], "jpeg") == (64, 48)


def test_fill_bytes_before_a_jpeg_marker_are_skipped() -> None:
    whole = WHOLE["jpeg"]
    assert encoded_shape(whole[:2] + b"\xff" * 5 + whole[2:], "jpeg") == (64, 48)


@pytest.mark.parametrize("payload", [b"", b"\xff", b"\xff\xd8", b"\x89PNG\r\n\x1a\n", b"GIF89a" * 10])
@pytest.mark.parametrize("encoding", ["png", "jpeg"])
def test_what_is_no_picture_is_a_bad_frame(encoding: str, payload: bytes) -> None:
    with pytest.raises(BadFrame):
        encoded_shape(payload, encoding)


@pytest.mark.parametrize("encoding", ["png", "jpeg"])
def test_a_picture_of_the_other_kind_is_a_bad_frame(encoding: str) -> None:
    with pytest.raises(BadFrame):
        encoded_shape(WHOLE["jpeg" if encoding == "png" else "png"], encoding)


@pytest.mark.parametrize("encoding", ["png", "jpeg"])
def test_a_picture_cut_off_before_its_size_is_a_bad_frame(encoding: str) -> None:
    for end in range(20):
        with pytest.raises(BadFrame):
            encoded_shape(WHOLE[encoding][:end], encoding)


@settings(max_examples=200, deadline=None)
@given(payload=st.binary(max_size=200), start=st.sampled_from([b"", b"\xff\xd8", b"\xff\xd8\xff", WHOLE["png"][:16]]))
def test_random_bytes_yield_a_size_or_a_bad_frame(payload: bytes, start: bytes) -> None:
    for encoding in ("png", "jpeg"):
        try:
            height, width = encoded_shape(start + payload, encoding)
        except BadFrame:
            continue
        assert height >= 0
        assert width >= 0


@settings(max_examples=200, deadline=None)
@given(data=st.data(), encoding=st.sampled_from(["png", "jpeg"]))
def test_a_damaged_picture_yields_a_size_or_a_bad_frame(data: st.DataObject, encoding: str) -> None:
    damaged = bytearray(WHOLE[encoding])
    for _ in range(data.draw(st.integers(1, 8))):
        damaged[data.draw(st.integers(0, min(len(damaged), 700) - 1))] = data.draw(st.integers(0, 255))
    try:
        assert len(encoded_shape(bytes(damaged), encoding)) == 2
    except BadFrame:
        return


@pytest.mark.parametrize("filling", [b"\xff", b"\xff\xc4\x00\x02"], ids=["fill bytes", "empty segments"])
def test_a_payload_without_a_size_is_given_up_at_once_however_large(filling: bytes) -> None:
    """A file torn on erased flash is all 0xFF; searching 8 MiB of it byte by byte would stop the line."""
    payload = b"\xff\xd8" + filling * ((8 << 20) // len(filling))
    started = time.process_time()
    with pytest.raises(BadFrame):
        encoded_shape(payload, "jpeg")
    assert time.process_time() - started < 0.3
