"""`producers.transform`: pixel centres and boxes go where cropping, turning and resizing say they came from."""

import pytest

from producers.transform import IDENTITY, after_crop, after_resize, after_turn, chain, sensor_box, sensor_point

TURNS = (0, 90, 180, 270)


def test_a_cropped_pixel_lies_where_the_crop_began() -> None:
    assert sensor_point(after_crop(7, 3), 0, 0) == (7, 3)
    assert sensor_box(after_crop(7, 3), (1, 2, 4, 5)) == (8, 5, 4, 5)


@pytest.mark.parametrize(
    ("turn", "origin"), [(0, (0, 0)), (90, (0, 3)), (180, (5, 3)), (270, (5, 0))], ids=[str(turn) for turn in TURNS]
)
def test_the_first_pixel_of_a_turned_picture_was_that_corner(turn: int, origin: tuple[int, int]) -> None:
    """Of a picture of 6 columns and 4 rows that is turned clockwise."""
    assert sensor_point(after_turn(turn, width=6, height=4), 0, 0) == origin  # type: ignore[arg-type]


def test_a_pixel_of_a_halved_picture_lies_between_the_four_it_is_made_of() -> None:
    halved = after_resize(before=(8, 4), after=(4, 2))
    assert sensor_point(halved, 0, 0) == (0.5, 0.5)
    assert sensor_box(halved, (0, 0, 4, 2)) == (0, 0, 8, 4)
    assert sensor_box(halved, (1, 1, 2, 1)) == (2, 2, 4, 2)


def test_a_ratio_that_is_no_whole_number_keeps_the_edges_on_each_other() -> None:
    resized = after_resize(before=(10, 7), after=(3, 2))
    assert sensor_box(resized, (0, 0, 3, 2)) == pytest.approx((0, 0, 10, 7))


@pytest.mark.parametrize("turn", TURNS)
def test_a_box_keeps_its_area_when_it_is_turned(turn: int) -> None:
    x, y, width, height = sensor_box(after_turn(turn, width=6, height=4), (0, 1, 2, 1))  # type: ignore[arg-type]
    assert sorted((width, height)) == [1, 2]
    assert 0 <= x <= 6 - width
    assert 0 <= y <= 4 - height


def test_steps_are_chained_from_the_last_back_to_the_first() -> None:
    """Cropped at (10, 20) to 6 x 4, then turned by 90 degrees: the first pixel was the crop's lower left one."""
    steps = chain(after_turn(90, width=6, height=4), after_crop(10, 20))
    assert sensor_point(steps, 0, 0) == (10, 23)
    assert chain(IDENTITY, steps) == steps == chain(steps, IDENTITY)


def test_without_a_transform_a_box_is_where_it_is() -> None:
    assert sensor_box(None, (1, 2, 3, 4)) == (1, 2, 3, 4)
