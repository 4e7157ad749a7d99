"""The one engine: pictures in, anomaly maps and scores out."""

import gc
import math
import weakref
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch

from model.bundle import read_bundle
from model.engine import Engine, Inspection, infer
from model.errors import DataError, ModelError
from model.images import Image
from model.modes import choose_device
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


def test_the_engine_computes_the_network_s_own_function(engine: Engine) -> None:
    images, network = plates(3), small_network()
    with torch.inference_mode():
        plain = network(torch.stack([PREPROCESSING(image) for image in images])).numpy()
    spread = plain.max() - plain.min()
    for found, grid in zip(engine.inspect(images), plain, strict=True):
        np.testing.assert_allclose(found.grid, grid, atol=1e-4 * spread)


def test_engines_of_one_backbone_share_one_trunk_and_a_mixed_batch() -> None:
    one, two, three = small_network(), small_network(), small_network()
    for weight in two.head.parameters():
        weight.data.mul_(1.5)
    engines = [Engine(network, PREPROCESSING, device="cpu") for network in (one, two, three)]
    assert len({engine.trunk for engine in engines}) == 1
    images = plates(6)
    mixed = infer([(engines[index % 3], image) for index, image in enumerate(images)])
    for index, (found, image) in enumerate(zip(mixed, images, strict=True)):
        assert_alike(found, engines[index % 3].inspect([image])[0])


@pytest.mark.parametrize(("count", "parts"), [(3, [3]), (4, [2, 2]), (7, [3, 3, 1]), (8, [3, 3, 2])])
def test_a_batch_goes_through_in_parts_no_larger_than_its_engines_take_at_once(count: int, parts: list[int]) -> None:
    engines = [Engine(small_network(seed=3), PREPROCESSING, device="cpu") for _ in range(2)]
    engines[1].at_once = 3  # in a mixed batch the smallest counts
    trunk, sizes = engines[0].trunk, []
    run = trunk.run

    def counted(pixels: torch.Tensor) -> Sequence[torch.Tensor]:
        sizes.append(len(pixels))
        return run(pixels)

    trunk.run = counted
    images = plates(count)
    found = infer([(engines[index % 2], image) for index, image in enumerate(images)])
    assert sizes == parts
    for inspection, image in zip(found, images, strict=True):
        assert_alike(inspection, engines[0].inspect([image])[0])


def test_other_weights_are_another_trunk_and_never_in_one_batch(engine: Engine) -> None:
    other = Engine(small_network(seed=1), PREPROCESSING, device="cpu")
    with pytest.raises(ValueError, match="one trunk"):
        infer([(engine, plates(1)[0]), (other, plates(1)[0])])


def test_a_trunk_is_gone_with_its_last_engine() -> None:
    one = Engine(small_network(seed=2), PREPROCESSING, device="cpu")
    trunk = weakref.ref(one.trunk)
    del one
    gc.collect()
    assert trunk() is None


def test_an_engine_keeps_nothing_of_its_network_and_changes_nothing_in_it() -> None:
    network = small_network().train()
    before = {key: value.clone() for key, value in network.state_dict().items()}
    engine, images = Engine(network, PREPROCESSING, device="cpu"), plates(2)
    found = engine.inspect(images)
    assert all(torch.equal(value, before[key]) for key, value in network.state_dict().items())
    for tensor in network.state_dict().values():
        tensor.zero_()
    assert_alike(found[0], engine.inspect(images)[0])


def test_a_backbone_that_is_not_finite_is_refused() -> None:
    network = small_network()
    network.extractor.backbone.conv1.weight.data[0, 0, 0, 0] = math.nan
    with pytest.raises(DataError, match="not finite"):
        Engine(network, PREPROCESSING, device="cpu")


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
