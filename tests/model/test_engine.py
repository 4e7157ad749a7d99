"""The one engine: pictures in, anomaly maps and scores out."""

import math
from pathlib import Path

import numpy as np
import pytest
import torch

from model.bundle import read_bundle
from model.engine import Engine, Inspection, choose_device
from model.errors import ModelError
from model.images import Image
from model.preprocessing import Preprocessing
from tests.model.small import PREPROCESSING, is_one_sentence, plates, small_network


@pytest.fixture(scope="module")
def engine() -> Engine:
    return Engine(small_network(), PREPROCESSING, device="cpu")


def assert_alike(one: Inspection, other: Inspection) -> None:
    assert one.score == pytest.approx(other.score, abs=1e-4)
    np.testing.assert_allclose(one.grid, other.grid, atol=1e-4)
    assert (one.size, one.box) == (other.size, other.box)


@pytest.mark.parametrize("count", [1, 2, 5])
def test_a_batch_says_what_its_pictures_say_one_by_one(engine: Engine, count: int) -> None:
    images = plates(count)
    for together, image in zip(engine.inspect(images), images, strict=True):
        assert_alike(together, engine.inspect([image])[0])


def test_a_picture_s_place_in_the_batch_does_not_matter(engine: Engine) -> None:
    images = plates(4)
    for forward, backward in zip(engine.inspect(images), reversed(engine.inspect(images[::-1])), strict=True):
        assert_alike(forward, backward)


def test_pictures_of_several_sizes_and_kinds_share_a_batch_and_keep_their_boxes(engine: Engine) -> None:
    images: list[Image] = [plates(1)[0], plates(1, height=7, width=90)[0], np.full((30, 20), 40_000, np.uint16)]
    found = engine.inspect(images)
    assert [inspection.box for inspection in found] == [(0, 0, 48, 40), (0, 0, 90, 7), (0, 0, 20, 30)]
    for inspection, image in zip(found, images, strict=True):
        assert_alike(inspection, engine.inspect([image])[0])


def test_an_inspection_has_a_float32_grid_of_the_finest_level_and_the_network_s_input_size(engine: Engine) -> None:
    (found,) = engine.inspect(plates(1))
    assert (found.grid.shape, found.size) == ((4, 4), (32, 32))
    assert found.grid.dtype == np.float32
    assert found.score == found.grid.max()


def test_a_cropping_engine_reports_the_box_it_has_seen() -> None:
    cropping = Engine(small_network(), Preprocessing(resize=(40, 40), crop=(32, 24)), device="cpu")
    (found,) = cropping.inspect(plates(1, height=80, width=40))
    assert found.size == (32, 24)
    assert found.grid.shape == (4, 3)
    assert found.box == (8, 8, 24, 64)


def test_preparing_then_inferring_is_inspecting(engine: Engine) -> None:
    images = plates(2)
    prepared = [engine.prepare(image) for image in images]
    assert all(one.shape == (3, 32, 32) and one.device.type == "cpu" for one in prepared)
    for one, other in zip(
        engine.infer(prepared, [image.shape for image in images]), engine.inspect(images), strict=True
    ):
        assert_alike(one, other)


def test_shapes_that_do_not_match_the_batch_are_an_error(engine: Engine) -> None:
    with pytest.raises(ValueError, match="zip"):
        engine.infer([engine.prepare(plates(1)[0])], [])


def test_inspecting_changes_nothing_in_the_network(engine: Engine) -> None:
    before = {key: value.clone() for key, value in engine.network.state_dict().items()}
    engine.inspect(plates(3))
    assert all(torch.equal(value, before[key]) for key, value in engine.network.state_dict().items())
    assert not any(module.training for module in engine.network.modules())


def test_an_engine_puts_a_network_in_training_mode_into_evaluation_mode() -> None:
    network = small_network().train()
    assert not Engine(network, PREPROCESSING, device="cpu").network.training


def test_weights_that_are_not_finite_make_a_score_that_never_passes(small_bundle: Path) -> None:
    bundle = read_bundle(small_bundle)
    next(bundle.network.head.adaptor.parameters()).data.fill_(math.nan)
    (found,) = Engine.of(bundle, device="cpu").inspect(plates(1))
    assert math.isnan(found.score)
    assert not bundle.manifest.calibration.passes(found.score)


def test_the_device_is_the_cpu_where_there_is_no_other_and_else_what_was_asked_for() -> None:
    assert choose_device("cpu") == "cpu"
    assert choose_device("auto") == ("cuda" if torch.cuda.is_available() else "cpu")


@pytest.mark.parametrize("device", ["banana", "", "cuda:99"])
def test_a_device_that_is_not_there_is_a_named_error(device: str) -> None:
    with pytest.raises(ModelError) as caught:
        Engine(small_network(), PREPROCESSING, device=device)
    assert is_one_sentence(caught.value)
