"""What `sightline bench` prints, and that its literal network is the network."""

import json

import torch

from model.bench import Literal
from model.modes import modes_here
from tests.model.small import small_network
from tests.model.test_cli import complaint, sightline

SMALL = ("--size", 64, "--rounds", 1, "--batch", 2, "--device", "cpu")


def test_the_literal_network_is_the_network() -> None:
    network, images = small_network(), torch.randn(2, 3, 40, 56)
    with torch.inference_mode():
        torch.testing.assert_close(Literal(network)(images), network(images), atol=1e-5, rtol=1e-4)


def test_the_figures_are_of_one_run_and_fit_together() -> None:
    result = sightline("bench", "model", *SMALL, "--json")
    assert result.exit_code == 0, result.stderr
    found = json.loads(result.stdout)
    mode = str(modes_here("cpu")[0])
    speed = {(case["name"], case["batch"]): case["images_per_s"] for case in found["cases"]}
    assert set(speed) == {
        (name, batch)
        for name in ("literal", "literal, channels_last", "engine, float32", f"engine, {mode}")
        for batch in (1, 2)
    }
    assert abs(found["ratio"] - speed[f"engine, {mode}", 2] / speed["literal", 2]) < 1e-6
    operations = found["operations"]
    assert 0 < operations["engine"] < operations["literal"]
    assert (
        abs(found["roof_share"] - operations["engine"] * speed[f"engine, {mode}", 2] / max(found["roof"].values()))
        < 1e-6
    )
    assert {"copy in", "preprocess", "backbone", "head", "copy out", "smoothing"} == set(found["stages"])


def test_people_see_a_table() -> None:
    result = sightline("bench", "model", *SMALL, "--precision", "float32")
    assert result.exit_code == 0, result.stderr
    assert "times the literal network" in result.stdout


def test_what_this_machine_does_not_have_is_one_sentence() -> None:
    assert "float16" in complaint(sightline("bench", "model", *SMALL, "--precision", "float16"), 6)
