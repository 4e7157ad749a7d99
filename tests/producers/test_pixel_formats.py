"""`producers.pixel_formats`: bytes of a camera's buffer become a picture, or are refused by name."""

import numpy as np
import pytest

from producers.errors import BadFrame, SettingsError
from producers.pixel_formats import pixel_format


@pytest.mark.parametrize(
    ("name", "color", "bits"),
    [
        ("Mono8", "mono", 8),
        ("Mono12", "mono", 12),
        ("BayerRG8", "bayer_rggb", 8),
        ("BayerBG8", "bayer_bggr", 8),
        ("BayerGR16", "bayer_grbg", 16),
        ("BayerGB10", "bayer_gbrg", 10),
        ("RGB8", "rgb", 8),
        ("BGR8Packed", "bgr", 8),
    ],
)
def test_a_format_is_known_by_its_name(name: str, color: str, bits: int) -> None:
    found = pixel_format(name)
    assert (found.color, found.bits) == (color, bits)


@pytest.mark.parametrize("name", ["Mono12p", "Mono10Packed", "YUV422_8", "BGRA8Packed", "Coord3D_C16", ""])
def test_a_format_that_no_frame_can_hold_is_refused_by_name(name: str) -> None:
    with pytest.raises(SettingsError, match=f"pixel_format {name} is none"):
        pixel_format(name)


def test_pixels_lie_as_the_camera_sent_them() -> None:
    mono = pixel_format("Mono8").image(bytes(range(6)), height=2, width=3)
    assert mono.tolist() == [[0, 1, 2], [3, 4, 5]]
    rgb = pixel_format("RGB8").image(bytes(range(6)), height=1, width=2)
    assert rgb.tolist() == [[[0, 1, 2], [3, 4, 5]]]


@pytest.mark.parametrize(("name", "brightest"), [("Mono10", 1023), ("Mono12", 4095), ("Mono16", 65_535)])
def test_more_than_8_bits_fill_the_whole_range(name: str, brightest: int) -> None:
    data = np.array([0, brightest], "<u2").tobytes()
    image = pixel_format(name).image(data, height=1, width=2)
    assert image.dtype == np.uint16
    assert image[0, 0] == 0
    assert image[0, 1] >= 65_535 - 63


@pytest.mark.parametrize("size", [0, 5, 7, 12])
def test_a_buffer_of_another_size_is_no_picture(size: int) -> None:
    with pytest.raises(BadFrame, match="3 x 2 pixels take 6"):
        pixel_format("Mono8").image(bytes(size), height=2, width=3)
