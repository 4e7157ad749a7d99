"""`producers.shaping`: what is done to a picture before the wire, and that the header says where its pixels were."""

import time
from typing import Any

import cv2
import numpy as np
import pytest
from pydantic import ValidationError

from producers.errors import BadFrame
from producers.frame import Color, Frame, Image, decode
from producers.shaping import Shaping
from producers.transform import sensor_box, sensor_point
from tests.producers.conftest import Dial, Publish
from tests.producers.test_frame import a_tag

ROWS, COLUMNS = np.mgrid[0:24, 0:36]
PLACES = (COLUMNS + 100 * ROWS).astype(np.uint16)  # every pixel says where it was: a function that is linear
SHAPINGS: list[dict[str, Any]] = [
    {"roi": (5, 3, 20, 12)},
    {"rotate": 90},
    {"rotate": 180},
    {"rotate": 270},
    {"scale": 0.5},
    {"roi": (4, 2, 20, 12), "scale": 0.25, "rotate": 90},
    {"roi": (2, 4, 30, 18), "scale": 0.5, "rotate": 270},
]
PATTERNS: list[Color] = ["bayer_rggb", "bayer_bggr", "bayer_grbg", "bayer_gbrg"]


def shaped(image: Image, color: Color, shaping: Shaping, **more: Any) -> Frame:
    known = {"meta": None, "copy": True, "transform": None, "captured": None, **more}
    return shaping.frame(a_tag(), image, color=color, **known)


def pixels(frame: Frame) -> Image:
    return decode(frame.header, frame.payload)


def mosaic(pattern: str, colour: tuple[int, int, int], shape: tuple[int, int]) -> Image:
    """What a sensor with this pattern sees of one colour, RGB."""
    values = dict(zip("rgb", colour, strict=True))
    cell = np.array([values[letter] for letter in pattern.removeprefix("bayer_")], np.uint8).reshape(2, 2)
    return np.tile(cell, (shape[0] // 2 + 1, shape[1] // 2 + 1))[: shape[0], : shape[1]]


def test_a_frame_is_as_old_as_its_picture_however_long_shaping_takes(
    publish: Publish, dial: Dial, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The budget begins when `publish` is called, not when the picture has been encoded."""
    began: list[float] = []
    encode = cv2.imencode

    def noted(*options: Any) -> Any:
        began.append(time.monotonic())
        return encode(*options)

    monkeypatch.setattr(cv2, "imencode", noted)
    publisher, worker = publish(shaping={"encoding": "png"}, budget_ms=60_000), dial()
    worker.hello(credit=1)
    publisher.publish(np.zeros((60, 80, 3), np.uint8))
    header, _ = worker.frame()
    assert (header.sent_mono_us - header.age_us) / 1e6 <= began[0] + 2e-6  # both are cut to whole microseconds


@pytest.mark.parametrize("fields", SHAPINGS, ids=str)
def test_the_transform_leads_every_pixel_back_to_where_it_was(fields: dict[str, Any]) -> None:
    frame = shaped(PLACES, "mono", Shaping.model_validate(fields))
    assert frame.header.transform is not None
    image = pixels(frame)
    for row in range(image.shape[0]):
        for column in range(image.shape[1]):
            x, y = sensor_point(frame.header.transform, column, row)
            assert abs(float(image[row, column]) - (x + 100 * y)) <= 0.5  # an average is rounded to a whole number


@pytest.mark.parametrize("fields", SHAPINGS, ids=str)
def test_a_defect_s_box_is_found_on_the_sensor_as_it_was(fields: dict[str, Any]) -> None:
    sensor = np.zeros((24, 36), np.uint8)
    sensor[6:10, 8:16] = 255
    frame = shaped(sensor, "mono", Shaping.model_validate(fields))
    found = cv2.boundingRect((pixels(frame) > 200).astype(np.uint8))
    assert sensor_box(frame.header.transform, found) == (8, 6, 8, 4)  # type: ignore[arg-type]


def test_the_region_is_cut_first_then_made_smaller_then_turned() -> None:
    frame = shaped(PLACES, "mono", Shaping(roi=(4, 2, 20, 12), scale=0.5, rotate=90))
    assert frame.header.shape == (10, 6, 1)
    assert frame.header.transform == ((0.0, 2.0, 4.5), (-2.0, 0.0, 12.5))


def test_what_the_camera_cut_itself_counts_too() -> None:
    """A camera whose own region begins at (100, 200)."""
    frame = shaped(PLACES, "mono", Shaping(roi=(5, 3, 4, 4)), transform=((1, 0, 100), (0, 1, 200)))
    assert frame.header.transform == ((1, 0, 105), (0, 1, 203))
    untouched = shaped(PLACES, "mono", Shaping(), transform=((1, 0, 100), (0, 1, 200)))
    assert untouched.header.transform == ((1, 0, 100), (0, 1, 200))


def test_without_any_wish_a_picture_travels_as_it_is() -> None:
    frame = shaped(PLACES, "mono", Shaping())
    assert frame.header.transform is None
    assert np.array_equal(pixels(frame), PLACES)


@pytest.mark.parametrize("pattern", PATTERNS)
@pytest.mark.parametrize("shape", [(12, 16), (11, 15)], ids=["even", "odd"])
@pytest.mark.parametrize(
    "fields",
    [{"roi": (3, 2, 8, 8)}, {"roi": (2, 3, 7, 8)}, {"rotate": 90}, {"rotate": 180}, {"rotate": 270}, {"scale": 0.5}],
    ids=str,
)
def test_a_mosaic_keeps_its_colours_however_it_is_cut_and_turned(
    pattern: Color, shape: tuple[int, int], fields: dict[str, Any]
) -> None:
    frame = shaped(mosaic(pattern, (200, 120, 40), shape), pattern, Shaping.model_validate(fields))
    assert (pixels(frame)[1:-1, 1:-1] == (200, 120, 40)).all()


def test_a_mosaic_becomes_a_picture_before_jpeg_takes_its_detail() -> None:
    image = mosaic("bayer_grbg", (200, 120, 40), (16, 16))
    frame = shaped(image, "bayer_grbg", Shaping(roi=(1, 0, 12, 12), encoding="jpeg"))
    assert frame.header.color == "rgb"
    assert np.abs(pixels(frame)[1:-1, 1:-1].astype(int) - (200, 120, 40)).max() <= 3


@pytest.mark.parametrize("color", ["bgr", "rgb"])
@pytest.mark.parametrize("encoding", ["png", "jpeg"])
def test_an_encoded_picture_has_its_colours_in_order(color: Color, encoding: str) -> None:
    image = np.zeros((16, 16, 3), np.uint8)
    image[:] = (200, 120, 40) if color == "rgb" else (40, 120, 200)
    frame = shaped(image, color, Shaping.model_validate({"encoding": encoding}))
    assert frame.header.encoding == encoding
    assert np.abs(pixels(frame).astype(int) - (200, 120, 40)).max() <= (2 if encoding == "jpeg" else 0)


def test_png_keeps_16_bits() -> None:
    frame = shaped(PLACES, "mono", Shaping(encoding="png", rotate=180))
    assert np.array_equal(pixels(frame), PLACES[::-1, ::-1])


@pytest.mark.parametrize(
    ("image", "color", "shaping", "why"),
    [
        (PLACES, "mono", Shaping(roi=(30, 0, 7, 5)), "does not lie within 36 x 24"),
        (PLACES, "mono", Shaping(encoding="jpeg"), "JPEG has 8 bits"),
        (PLACES, "bayer_rggb", Shaping(scale=0.5), "16 bits can only be sent as it is"),
        (np.zeros((4, 4), np.float32), "mono", Shaping(rotate=90), "dtype"),
        (np.zeros((0, 4), np.uint8), "mono", Shaping(rotate=90, encoding="png"), "shape"),
        (np.zeros((4, 4, 2), np.uint8), "mono", Shaping(encoding="png"), "shape"),
    ],
)
def test_a_picture_that_can_t_be_shaped_so_is_a_bad_frame(
    image: Image, color: Color, shaping: Shaping, why: str
) -> None:
    with pytest.raises(BadFrame, match=why):
        shaped(image, color, shaping)


@pytest.mark.parametrize(
    "fields", [{"roi": (0, 0, 0, 4)}, {"roi": (-1, 0, 4, 4)}, {"rotate": 45}, {"scale": 0}, {"scale": 2}], ids=str
)
def test_a_wish_that_makes_no_sense_is_refused(fields: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Shaping.model_validate(fields)


def test_a_publisher_shapes_and_the_frame_counts_its_age_from_the_capture(publish: Publish, dial: Dial) -> None:
    publisher, worker = publish(shaping=Shaping(roi=(4, 2, 8, 6), encoding="png")), dial()
    worker.hello(credit=1)
    publisher.publish(PLACES, color="mono", captured=time.monotonic() - 2.5)
    header, payload = worker.frame()
    assert (header.shape, header.encoding, header.transform) == ((6, 8, 1), "png", ((1, 0, 4), (0, 1, 2)))
    assert header.age_us >= 2_500_000
    assert 2.4e9 < time.time_ns() - header.captured_ns < 60e9
    assert np.array_equal(decode(header, payload), PLACES[2:8, 4:12])
