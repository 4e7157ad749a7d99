"""`producers.frame`: a frame's header and payload, onto the wire and back to pixels."""

import json
import string
import time
import zlib
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from producers.errors import BadFrame
from producers.frame import MAX_HEADER_BYTES, Color, Frame, FrameHeader, FrameId, FrameTag, Image, decode, make_frame

SESSION = "0f8fad5b-d9cb-469f-a165-70867728950e"
FUZZ = settings(max_examples=200, deadline=None)
RANDOM = np.random.default_rng(7)
RGB = RANDOM.integers(0, 256, (6, 8, 3), dtype=np.uint8)


def a_tag(**changes: Any) -> FrameTag:
    fields = {"camera": "cam1", "session": SESSION, "seq": 3, "captured_ns": 5, "simulated": True, **changes}
    return FrameTag.model_validate(fields)


def a_frame(image: Image = RGB, color: Color = "rgb", **changes: Any) -> Frame:
    return make_frame(a_tag(**changes), image, color=color)


def described(**changes: Any) -> FrameHeader:
    """A valid header with some fields changed, checksum as given or of nothing."""
    return FrameHeader.model_validate({**a_frame().header.model_dump(), **changes})


def compressed(image: Image, suffix: str, *, shape: tuple[int, int, int], **changes: Any) -> tuple[FrameHeader, bytes]:
    done, data = cv2.imencode(suffix, image)
    assert done
    payload = data.tobytes()
    encoding = {".png": "png", ".jpg": "jpeg"}[suffix]
    fields = {"encoding": encoding, "shape": shape, "color": "bgr" if shape[2] == 3 else "mono", **changes}
    return described(crc32=zlib.crc32(payload), **fields), payload


LONGEST: dict[str, Any] = {
    "camera": "c" * 32,
    "seq": 2**53,
    "captured_ns": 2**63 - 1,
    "budget_ms": 86_399_999.99999999,
    "recipe": "r" * 64,
    "trigger": 2**53,
    "part_id": "\x01" * 256,  # six bytes each in JSON
    "view": "\x01" * 64,
    "original": "\x01" * 128,
}


def test_the_longest_header_without_meta_fits() -> None:
    far = (-1.2345678901234567e-05,) * 3
    frame = make_frame(a_tag(**LONGEST), RGB, color="rgb", transform=(far, far))
    assert len(frame.stamped(now=1e9, attempt=255).to_bytes()) <= MAX_HEADER_BYTES


def test_meta_that_makes_the_header_too_large_is_refused() -> None:
    with pytest.raises(BadFrame, match="shorten meta"):
        make_frame(a_tag(**LONGEST), RGB, color="rgb", meta={"note": "\x01" * 1000})


# -- headers ---------------------------------------------------------------------------------------------------------

texts = st.text(max_size=60)
ids = st.text(alphabet=string.ascii_lowercase + string.digits + "_-", min_size=1, max_size=32)
headers = st.builds(
    described,
    camera=ids,
    seq=st.integers(0, 2**53),
    captured_ns=st.integers(0, 2**63 - 1),
    budget_ms=st.none() | st.floats(0.001, 86_400_000),
    recipe=st.none() | st.from_regex(r"\A[A-Za-z0-9][A-Za-z0-9._-]{0,63}\Z"),
    part_id=st.none() | texts,
    trigger=st.none() | st.integers(0, 2**53),
    view=st.none() | texts,
    simulated=st.booleans(),
    attempt=st.integers(1, 255),
    age_us=st.integers(0, 2**53),
    crc32=st.integers(0, 2**32 - 1),
    transform=st.none() | st.just(((1.0, 0.0, 2.5), (0.0, 1.0, -3.0))),
    meta=st.dictionaries(st.text(max_size=5), st.text(max_size=5), max_size=5),
)


@FUZZ
@given(header=headers)
def test_a_header_comes_back_from_the_wire_as_it_went(header: FrameHeader) -> None:
    data = header.to_bytes()
    assert len(data) <= MAX_HEADER_BYTES
    assert FrameHeader.from_bytes(data) == header
    assert json.loads(data)["camera"] == header.camera


@FUZZ
@given(data=st.binary(max_size=300))
def test_random_bytes_are_a_bad_frame(data: bytes) -> None:
    with pytest.raises(BadFrame):
        FrameHeader.from_bytes(data)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=10),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


@FUZZ
@given(key=st.sampled_from(sorted(FrameHeader.model_fields)), value=json_values)
def test_a_header_with_one_field_replaced_is_read_or_is_a_bad_frame(key: str, value: object) -> None:
    content = {**json.loads(a_frame().header.to_bytes()), key: value}
    try:
        assert isinstance(FrameHeader.from_bytes(json.dumps(content).encode()), FrameHeader)
    except BadFrame as error:
        said = str(error)
    else:
        said = "it was read"
    assert "\n" not in said


@FUZZ
@given(data=st.data())
def test_a_header_with_bytes_damaged_is_read_or_is_a_bad_frame(data: st.DataObject) -> None:
    damaged = bytearray(a_frame(part_id="A-1042").header.to_bytes())
    for _ in range(data.draw(st.integers(1, 6))):
        at = data.draw(st.integers(0, len(damaged) - 1))
        damaged[at : at + data.draw(st.integers(0, 3))] = data.draw(st.binary(max_size=3))
    try:
        assert isinstance(FrameHeader.from_bytes(bytes(damaged)), FrameHeader)
    except BadFrame as error:
        said = str(error)
    else:
        said = "it was read"
    assert said


@pytest.mark.parametrize(
    "key", ["camera", "session", "seq", "captured_ns", "simulated", "age_us", "encoding", "shape", "dtype", "crc32"]
)
def test_a_header_without_a_mandatory_key_is_a_bad_frame_that_names_it(key: str) -> None:
    content = json.loads(a_frame().header.to_bytes())
    del content[key]
    with pytest.raises(BadFrame, match=key):
        FrameHeader.from_bytes(json.dumps(content).encode())


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("camera", "Cam 1"),
        ("camera", "c" * 33),
        ("camera", "cam1\n"),
        ("session", "not-a-uuid"),
        ("seq", -1),
        ("seq", 2**53 + 1),
        ("seq", True),
        ("seq", 1.0),
        ("budget_ms", 0),
        ("budget_ms", float("nan")),
        ("budget_ms", float("inf")),
        ("recipe", "../../etc"),
        ("shape", [0, 4, 3]),
        ("shape", [4, 4, 2]),
        ("shape", [4, 4]),
        ("shape", [32_769, 4, 3]),
        ("dtype", "float32"),
        ("color", "cmyk"),
        ("encoding", "gif"),
        ("crc32", 2**32),
        ("attempt", 0),
        ("transform", [[1, 0, float("nan")], [0, 1, 0]]),
        ("meta", {"a": "x" * 1100}),
        ("meta", {"a": 1}),
        ("colour", "rgb"),
    ],
)
def test_a_header_with_a_value_out_of_range_is_a_bad_frame(key: str, value: object) -> None:
    content = {**json.loads(a_frame().header.to_bytes()), key: value}
    with pytest.raises(BadFrame, match=key):
        FrameHeader.from_bytes(json.dumps(content).encode())


@pytest.mark.parametrize(
    "changes",
    [{"shape": [6, 8, 1]}, {"color": "mono"}, {"color": "bayer_rggb"}, {"dtype": "uint16"}],
    ids=["rgb with one channel", "mono with three", "a mosaic with three", "16-bit colour"],
)
def test_a_header_that_contradicts_itself_is_a_bad_frame(changes: dict[str, object]) -> None:
    content = {**json.loads(a_frame().header.to_bytes()), **changes}
    with pytest.raises(BadFrame):
        FrameHeader.from_bytes(json.dumps(content).encode())


def test_a_header_above_4_kib_is_a_bad_frame_before_it_is_parsed() -> None:
    data = a_frame().header.to_bytes()
    with pytest.raises(BadFrame, match="4096"):
        FrameHeader.from_bytes(data + b" " * (MAX_HEADER_BYTES + 1 - len(data)))
    assert FrameHeader.from_bytes(data + b" " * (MAX_HEADER_BYTES - len(data))) == a_frame().header


@pytest.mark.parametrize("value", ["no", "off", 0, "0"])
def test_simulated_is_a_boolean_and_nothing_that_looks_like_one(value: object) -> None:
    """A word that is taken for false would let a folder of pictures open a real gate."""
    content = {**json.loads(a_frame().header.to_bytes()), "simulated": value}
    with pytest.raises(BadFrame, match="simulated"):
        FrameHeader.from_bytes(json.dumps(content).encode())


def test_a_tag_is_what_outlives_the_pixels() -> None:
    header = a_frame(part_id="A-1042", budget_ms=20.0).header
    assert header.tag() == a_tag(part_id="A-1042", budget_ms=20.0)
    assert str(header.tag().id) == f"cam1/{SESSION}/3"
    assert header.id == FrameId("cam1", SESSION, 3)


def test_a_header_is_stamped_with_its_age_when_it_is_sent() -> None:
    frame = a_frame()
    header = frame.stamped(now=frame.captured_mono + 0.25, attempt=2)
    assert header.age_us == pytest.approx(250_000, abs=1)
    assert header.sent_mono_us == int((frame.captured_mono + 0.25) * 1e6)
    assert header.attempt == 2
    assert frame.stamped(now=frame.captured_mono - 1, attempt=1).age_us == 0
    assert frame.header.attempt == 1


# -- pixels ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("image", "color", "expected"),
    [
        (RGB, "rgb", RGB),
        (RGB, "bgr", RGB[:, :, ::-1]),
        (RGB[:, :, 0], "mono", RGB[:, :, 0]),
        (RGB[:, :, :1], "mono", RGB[:, :, 0]),
        (RGB[::2, ::-1], "rgb", RGB[::2, ::-1]),
        (RGB[:, :, 0].astype("<u2") * 200, "mono", RGB[:, :, 0].astype(np.uint16) * 200),
        (RGB[:, :, 0].astype(">u2") * 200, "mono", RGB[:, :, 0].astype(np.uint16) * 200),
    ],
    ids=["rgb", "bgr", "grey", "grey with an axis", "not contiguous", "16 bits", "16 bits, big-endian"],
)
def test_raw_pixels_come_back_as_rgb_or_grey(image: Image, color: Color, expected: Image) -> None:
    frame = a_frame(image, color)
    assert np.array_equal(decode(frame.header, frame.payload), expected)
    assert len(frame.payload) == frame.header.raw_bytes


@pytest.mark.parametrize("color", ["bayer_rggb", "bayer_bggr", "bayer_grbg", "bayer_gbrg"])
def test_a_bayer_mosaic_of_one_colour_comes_back_as_that_colour(color: Color) -> None:
    values = {"r": 200, "g": 120, "b": 40}
    tile = np.array([values[letter] for letter in color.removeprefix("bayer_")], np.uint8).reshape(2, 2)
    frame = a_frame(np.tile(tile, (8, 8)), color)
    image = decode(frame.header, frame.payload)
    assert image.shape == (16, 16, 3)
    assert np.array_equal(image[4:-4, 4:-4], np.broadcast_to([200, 120, 40], (8, 8, 3)))


def test_the_publisher_s_copy_does_not_follow_the_callers_array() -> None:
    image = RGB.copy()
    frame = a_frame(image)
    image[:] = 0
    assert np.array_equal(decode(frame.header, frame.payload), RGB)


@pytest.mark.parametrize(
    "image",
    [RGB, RGB[:, ::2], RGB[:, :, 0], RGB.astype(">u2")[:, :, 0]],
    ids=["colour", "strided", "grey", "big-endian"],
)
def test_pixels_that_are_handed_over_are_the_same_on_the_wire_as_copied_ones(image: Image) -> None:
    color: Color = "mono" if image.ndim == 2 else "rgb"
    copied, handed_over = (make_frame(a_tag(), image.copy(), color=color, copy=copy) for copy in (True, False))
    assert bytes(handed_over.payload) == copied.payload
    assert handed_over.header == copied.header


def test_an_array_that_was_handed_over_is_not_copied_and_cannot_be_written_to_by_mistake() -> None:
    image = RGB.copy()
    frame = make_frame(a_tag(), image, color="rgb", copy=False)
    assert np.shares_memory(np.frombuffer(frame.payload, np.uint8), image)
    with pytest.raises(ValueError, match="read-only"):
        image[0, 0] = 7


def test_a_png_comes_back_exactly_and_as_rgb() -> None:
    header, payload = compressed(RGB[:, :, ::-1], ".png", shape=(6, 8, 3))
    assert np.array_equal(decode(header, payload), RGB)


def test_a_16_bit_png_keeps_its_depth() -> None:
    image = RGB[:, :, 0].astype(np.uint16) * 200
    header, payload = compressed(image, ".png", shape=(6, 8, 1), dtype="uint16")
    assert np.array_equal(decode(header, payload), image)


def test_a_jpeg_comes_back_as_rgb() -> None:
    header, payload = compressed(np.full((16, 16, 3), (20, 60, 200), np.uint8), ".jpg", shape=(16, 16, 3))
    assert np.abs(decode(header, payload).astype(int) - (200, 60, 20)).max() <= 4


@pytest.mark.parametrize("payload", [b"", b"x", a_frame().payload[:-1], a_frame().payload + b"x"])
def test_a_raw_payload_of_the_wrong_size_is_a_bad_frame(payload: bytes) -> None:
    with pytest.raises(BadFrame, match="bytes"):
        decode(described(crc32=zlib.crc32(payload)), payload)


def test_a_payload_with_another_checksum_is_a_bad_frame() -> None:
    frame = a_frame()
    with pytest.raises(BadFrame, match="checksum"):
        decode(frame.header, b"\x01" + frame.payload[1:])


@pytest.mark.parametrize(
    "changes",
    [
        {"shape": (7, 8, 3)},
        {"shape": (6, 8, 1), "color": "mono", "dtype": "uint16"},
        {"shape": (6, 8, 1), "color": "mono"},
    ],
    ids=["height", "depth", "channels"],
)
def test_a_png_that_is_not_what_the_header_says_is_a_bad_frame(changes: dict[str, Any]) -> None:
    with pytest.raises((BadFrame, ValidationError)):
        decode(*compressed(RGB, ".png", **{"shape": (6, 8, 3), **changes}))


@pytest.mark.parametrize("suffix", [".png", ".jpg"])
@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_a_damaged_picture_is_pixels_of_the_named_shape_or_a_bad_frame(suffix: str, data: st.DataObject) -> None:
    header, payload = compressed(RGB, suffix, shape=(6, 8, 3))
    damaged = bytearray(payload[: data.draw(st.integers(0, len(payload)))])
    for _ in range(data.draw(st.integers(0, 4)) if damaged else 0):
        damaged[data.draw(st.integers(0, len(damaged) - 1))] = data.draw(st.integers(0, 255))
    try:
        image = decode(header.model_copy(update={"crc32": zlib.crc32(damaged)}), bytes(damaged))
    except BadFrame:
        return
    assert image.shape == (6, 8, 3)


@pytest.mark.parametrize(
    "image",
    [
        np.zeros((0, 4, 3), np.uint8),
        np.zeros((4, 4, 2), np.uint8),
        np.zeros((4, 4, 3, 1), np.uint8),
        np.zeros(4, np.uint8),
        np.zeros((4, 4, 3), np.float32),
        np.zeros((4, 4, 3), object),
        np.zeros((1, 32_769), np.uint8),
    ],
    ids=["empty", "two channels", "four axes", "one axis", "float", "objects", "too wide"],
)
@pytest.mark.parametrize("copy", [True, False], ids=["copied", "handed over"])
def test_pixels_that_no_header_can_describe_are_refused_and_stay_the_callers(image: Any, copy: bool) -> None:
    with pytest.raises(BadFrame):
        make_frame(a_tag(), image, color="rgb", copy=copy)
    assert image.flags.writeable


@pytest.mark.parametrize(
    ("image", "color"),
    [(RGB.astype(np.uint16), "rgb"), (RGB[:, :, 0], "bgr"), (RGB, "mono"), (RGB, "bayer_rggb")],
    ids=["16-bit colour", "grey as bgr", "colour as mono", "colour as a mosaic"],
)
def test_pixels_that_no_worker_would_take_are_refused_where_they_are_captured(image: Image, color: Color) -> None:
    with pytest.raises(BadFrame):
        a_frame(image, color)


def test_meta_that_does_not_fit_a_header_is_refused_where_it_is_captured() -> None:
    """A control character takes six bytes in JSON: 1 KiB of them is a header that no worker reads."""
    with pytest.raises(BadFrame):
        make_frame(a_tag(), RGB, color="rgb", meta={"note": "\x01" * 1000})


def test_a_tag_that_is_out_of_range_says_so() -> None:
    with pytest.raises(ValidationError, match="part_id"):
        a_tag(part_id="x" * 257)


def test_a_frame_is_captured_when_it_is_made() -> None:
    before = time.monotonic()
    assert before <= a_frame().captured_mono <= time.monotonic()
