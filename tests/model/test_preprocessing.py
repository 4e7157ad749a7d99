"""From a camera's picture to the network's input."""

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray
from pydantic import ValidationError

from model.preprocessing import IMAGENET_MEAN, IMAGENET_STD, Preprocessing
from tests.model.small import PREPROCESSING

PAPER = Preprocessing(resize=(256, 256), crop=(224, 224))

sizes = st.tuples(st.integers(1, 60), st.integers(1, 60))
greys = sizes.flatmap(lambda size: arrays(np.uint8, size))


def picture(height: int, width: int, channels: int | None = 3, dtype: str = "uint8") -> NDArray[Any]:
    return np.zeros((height, width) if channels is None else (height, width, channels), dtype)


@settings(deadline=None, max_examples=40)
@given(grey=greys)
def test_a_grey_picture_is_seen_like_the_same_grey_in_colour(grey: NDArray[np.uint8]) -> None:
    torch.testing.assert_close(PREPROCESSING(grey), PREPROCESSING(np.repeat(grey[:, :, None], 3, axis=2)))


@settings(deadline=None, max_examples=40)
@given(grey=greys)
def test_sixteen_bits_are_seen_like_the_same_picture_in_eight(grey: NDArray[np.uint8]) -> None:
    wide = grey.astype(np.uint16) * 257
    torch.testing.assert_close(PREPROCESSING(wide), PREPROCESSING(grey), atol=1e-5, rtol=1e-5)


@settings(deadline=None, max_examples=40)
@given(size=sizes, colour=st.tuples(*[st.integers(0, 255)] * 3))
def test_an_even_colour_stays_itself_and_is_normalised_as_rgb(
    size: tuple[int, int], colour: tuple[int, int, int]
) -> None:
    image = np.empty((*size, 3), np.uint8)
    image[:] = colour
    seen = PREPROCESSING(image)
    for plane, value, mean, std in zip(seen, colour, IMAGENET_MEAN, IMAGENET_STD, strict=True):
        torch.testing.assert_close(plane, torch.full((32, 32), (value / 255 - mean) / std), atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("shape", [(1, 1), (1, 3000), (3000, 1), (2, 5000)])
def test_the_input_is_finite_and_of_one_size_for_pictures_of_any_shape(shape: tuple[int, int]) -> None:
    for channels in (None, 1, 3):
        seen = PREPROCESSING(picture(*shape, channels))
        assert (seen.shape, seen.dtype) == ((3, 32, 32), torch.float32)
        assert torch.isfinite(seen).all()


def test_a_crop_sees_exactly_the_pixels_inside_its_box() -> None:
    image = np.random.default_rng(0).integers(0, 256, (256, 256, 3)).astype(np.uint8)
    x, y, width, height = (int(v) for v in PAPER.box(256, 256))
    assert (x, y, width, height) == (16, 16, 224, 224)
    painted = np.full_like(image, 255)
    painted[y : y + height, x : x + width] = image[y : y + height, x : x + width]
    torch.testing.assert_close(PAPER(painted), PAPER(image), atol=0, rtol=0)


@settings(deadline=None)
@given(height=st.integers(1, 9000), width=st.integers(1, 9000))
def test_the_box_is_the_middle_of_the_frame(height: int, width: int) -> None:
    x, y, w, h = PAPER.box(height, width)
    assert (w, h) == pytest.approx((width * 0.875, height * 0.875))
    assert (x + w / 2, y + h / 2) == pytest.approx((width / 2, height / 2))
    assert Preprocessing().box(height, width) == pytest.approx((0, 0, width, height))


def test_a_mirrored_view_of_an_array_is_read_and_left_as_it_was() -> None:
    image = np.random.default_rng(0).integers(0, 256, (20, 30, 3)).astype(np.uint8)
    before, view = image.copy(), image[:, ::-1]
    torch.testing.assert_close(PREPROCESSING(view), PREPROCESSING(view.copy()))
    np.testing.assert_array_equal(image, before)


def test_a_fine_stripe_pattern_is_averaged_not_aliased() -> None:
    stripes = np.zeros((512, 512), np.uint8)
    stripes[:, ::2] = 255
    seen = PREPROCESSING(stripes)
    assert float(seen[0].std()) < 0.1


def test_a_crop_larger_than_the_resized_picture_is_refused() -> None:
    with pytest.raises(ValidationError):
        Preprocessing(resize=(96, 96), crop=(128, 128))


def test_an_unknown_preprocessing_key_is_an_error() -> None:
    with pytest.raises(ValidationError):
        Preprocessing.model_validate({"rezise": (32, 32)})
