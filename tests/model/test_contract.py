"""Which pictures a bundle may judge: their format, and how they look."""

from collections.abc import Callable
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from pydantic import ValidationError

from model.contract import LEAST_RATIO, Appearance, InputContract
from model.errors import ContractError, DataError
from model.images import Image
from producers.parts import draw_part
from tests.model.small import is_one_sentence

sizes = st.tuples(st.integers(1, 60), st.integers(1, 60))


def picture(height: int, width: int, channels: int | None = 3, dtype: str = "uint8") -> NDArray[Any]:
    return np.zeros((height, width) if channels is None else (height, width, channels), dtype)


def test_pictures_of_one_size_allow_that_size_alone() -> None:
    contract = InputContract.of([picture(40, 60)] * 3)
    assert (contract.height, contract.width, contract.channels, contract.dtype) == ((40, 40), (60, 60), 3, "uint8")


def test_pictures_of_many_sizes_allow_a_tenth_beyond_the_extremes() -> None:
    contract = InputContract.of([picture(100, 60), picture(200, 60)])
    contract.check(picture(90, 60))
    contract.check(picture(220, 60))
    for wrong in (picture(89, 60), picture(222, 60), picture(150, 61)):
        with pytest.raises(ContractError):
            contract.check(wrong)


def test_a_size_can_be_refused_before_there_are_pixels() -> None:
    contract = InputContract.of([picture(40, 60)])
    contract.check_size(40, 60)
    for wrong in ((60, 40), (40, 32_768), (32_768, 60)):
        with pytest.raises(ContractError):
            contract.check_size(*wrong)


@settings(deadline=None, max_examples=50)
@given(shapes=st.lists(sizes, min_size=1, max_size=5))
def test_a_contract_takes_every_picture_that_made_it(shapes: list[tuple[int, int]]) -> None:
    images: list[Image] = [picture(*shape) for shape in shapes]
    contract = InputContract.of(images)
    for image in images:
        contract.check(image)


def test_grey_without_and_with_a_channel_axis_are_one_kind() -> None:
    InputContract.of([picture(4, 4, None), picture(4, 4, 1)]).check(picture(4, 4, None))


@pytest.mark.parametrize(
    ("other", "named"),
    [
        (picture(40, 60, None), "1 channel(s) of uint8"),
        (picture(40, 60, 3, "uint16"), "3 channel(s) of uint16"),
        (picture(40, 60, 4), "4 channel(s) of uint8"),
    ],
    ids=["grey", "16 bit", "alpha"],
)
def test_good_pictures_of_mixed_kinds_are_refused_and_each_kind_is_named(other: Image, named: str) -> None:
    with pytest.raises(ContractError) as caught:
        InputContract.of([picture(40, 60), other])
    assert named in str(caught.value)
    assert "3 channel(s) of uint8" in str(caught.value)
    assert is_one_sentence(caught.value)


@pytest.mark.parametrize(
    ("wrong", "named"),
    [
        (picture(40, 60, None), "1 channel(s)"),
        (picture(40, 60, 4), "4 channel(s)"),
        (picture(40, 60, 3, "uint16"), "uint16"),
        (picture(39, 60), "39 pixels high"),
        (picture(40, 61), "61 pixels wide"),
        (picture(60, 40), "60 pixels high"),
    ],
    ids=["grey", "alpha", "16 bit", "low", "wide", "turned"],
)
def test_a_picture_that_breaks_the_contract_is_refused_with_what_is_wrong(wrong: Image, named: str) -> None:
    contract = InputContract.of([picture(40, 60)])
    with pytest.raises(ContractError) as caught:
        contract.check(wrong)
    assert named in str(caught.value)
    assert is_one_sentence(caught.value)
    assert isinstance(caught.value, DataError)


def chequers(low: int, high: int, *, cell: int = 8) -> NDArray[np.uint8]:
    place = np.indices((256, 256)) // cell
    return np.where(place.sum(axis=0) % 2, high, low).astype(np.uint8)


def test_brightness_is_the_mean_and_contrast_the_deviation_of_grey_levels() -> None:
    look = Appearance.of(chequers(51, 153))
    assert look.brightness == pytest.approx(0.4)
    assert look.contrast == pytest.approx(0.2)


def test_sharpness_falls_with_focus_and_is_none_on_an_even_plane() -> None:
    sharp = chequers(51, 153)
    blurred = [sharp, *(np.asarray(cv2.GaussianBlur(sharp, (0, 0), sigma), np.uint8) for sigma in (1, 3))]
    found = [Appearance.of(plane).sharpness for plane in blurred]
    assert found[0] > 2 * found[1] > 4 * found[2] > 0
    assert tuple(Appearance.of(np.full((300, 200), 51, np.uint8))) == pytest.approx((0.2, 0, 0), abs=1e-6)


@pytest.mark.parametrize("seed", range(3))
def test_grey_colour_and_16_bit_look_alike(seed: int) -> None:
    grey = np.random.default_rng(seed).integers(0, 255, (300, 280)).astype(np.uint8)
    expected = pytest.approx(tuple(Appearance.of(grey)), abs=3e-3)  # 8-bit rounding of the smaller picture
    assert tuple(Appearance.of(np.repeat(grey[:, :, None], 3, axis=2))) == expected
    assert tuple(Appearance.of(grey.astype(np.uint16) * 257)) == expected


def test_a_figure_may_lie_as_far_beyond_the_extremes_as_they_lie_apart() -> None:
    contract = InputContract.of([np.full((9, 9), level, np.uint8) for level in (60, 90)])
    assert contract.brightness == pytest.approx((40 / 255, 135 / 255))


def test_pictures_that_are_all_alike_still_allow_a_tenth() -> None:
    contract = InputContract.of([chequers(51, 153)] * 3)
    assert contract.brightness == pytest.approx((0.4 / LEAST_RATIO, 0.4 * LEAST_RATIO))
    contract.check(chequers(49, 147))
    with pytest.raises(ContractError, match="brightness is"):
        contract.check(chequers(45, 135))


BROKEN: dict[str, tuple[Callable[[NDArray[np.uint8]], NDArray[Any]], str]] = {
    "lamp off": (lambda part: part // 20, "brightness"),
    "lamp half": (lambda part: part // 2, "brightness"),
    "overexposed": (lambda part: np.clip(part * 3.0, 0, 255).astype(np.uint8), "brightness"),
    "even plate": (lambda part: np.full_like(part, int(part.mean())), "contrast"),
    "out of focus": (lambda part: cv2.GaussianBlur(part, (0, 0), 3).astype(np.uint8), "sharpness"),
    "snow": (lambda part: np.clip(part + np.random.default_rng(0).normal(0, 9, part.shape), 0, 255), "sharpness"),
}


@pytest.mark.parametrize("fault", BROKEN)
def test_a_picture_that_looks_unlike_any_good_one_is_refused_by_what_is_wrong(fault: str) -> None:
    good = [draw_part(np.random.default_rng(seed))[0] for seed in range(24)]
    contract = InputContract.of(good[:16])
    change, named = BROKEN[fault]
    for part in good[16:]:
        contract.check(part)
        contract.check_format(change(part).astype(np.uint8))
        with pytest.raises(ContractError, match=f"picture's {named}") as caught:
            contract.check(change(part).astype(np.uint8))
        assert is_one_sentence(caught.value)


def test_defects_are_the_network_s_business_and_no_fault_of_appearance() -> None:
    contract = InputContract.of([draw_part(np.random.default_rng(seed))[0] for seed in range(24)])
    for seed, defect in enumerate(("dent", "missing_groove", "scratch", "stain") * 3):
        assert contract.appearance_fault(draw_part(np.random.default_rng([1, seed]), defect)[0]) is None


def test_a_contract_without_these_figures_takes_any_appearance() -> None:
    contract = InputContract(height=(8, 8), width=(8, 8), channels=1, dtype="uint8")
    contract.check(np.zeros((8, 8), np.uint8))


@pytest.mark.parametrize(
    "bounds", [(0.5, 0.4), (float("nan"), 1.0), (-1.0, 1.0)], ids=["upside down", "nan", "below 0"]
)
def test_bounds_that_are_none_are_refused(bounds: tuple[float, float]) -> None:
    with pytest.raises(ValidationError):
        InputContract(height=(8, 8), width=(8, 8), channels=1, dtype="uint8", sharpness=bounds)
