"""Pretraining on drawn surfaces, and the weights that came of it."""

import hashlib
import platform
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from model.backbone import OWN_WEIGHTS, build_backbone, choose_weights, describe_weights
from model.errors import DataError
from model.pretrain.making import make_weights
from model.pretrain.marks import Kind, draw_marks
from model.pretrain.places import DIRECTIONS, TEXTURES, UNKNOWN, Surfaces
from model.pretrain.repeat import first_steps
from model.pretrain.textures import Codes
from model.pretrain.training import Pretraining, PretrainSettings
from tests.model.small import is_one_sentence

QUICK = PretrainSettings(pictures=12, size=48, batch=4, warm_up=2, warm_up_size=32)
OWN = OWN_WEIGHTS / "resnet18.safetensors"
CARD = OWN.with_suffix(".md").read_text(encoding="utf-8")


def quiet(what: str, done: int, total: int) -> None:
    """Nobody watches."""


def chance(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_textures_have_no_mean_and_unit_deviation() -> None:
    pieces = Codes.drawn(40, seed=0).render(torch.arange(40), torch.zeros(40), 64, chance())
    assert pieces.mean((1, 2)).abs().max() < 1e-4
    assert (pieces.std((1, 2)) - 1).abs().max() < 0.01


def test_a_texture_turned_by_a_right_angle_varies_the_other_way() -> None:
    codes = Codes.drawn(1, seed=0)
    codes = replace(codes, turn=torch.zeros(1, 2), aligned=torch.full((1, 2), 30.0), broad=torch.zeros(1))
    across, down = codes.render(torch.zeros(2, dtype=torch.long), torch.tensor([0, torch.pi / 2]), 64, chance())
    assert across.diff(dim=1).std() > 3 * across.diff(dim=0).std()
    assert down.diff(dim=0).std() > 3 * down.diff(dim=1).std()


@pytest.mark.parametrize("kind", [kind for kind in Kind if kind not in (Kind.NONE, Kind.BOUNDARY)])
def test_a_mark_covers_something_but_never_most_of_the_picture(kind: Kind) -> None:
    cover = draw_marks(torch.full((30,), int(kind)), 96, chance()).cover
    assert cover.amax((1, 2)).median() > 0.5
    assert cover.mean((1, 2)).max() < 0.5


def test_where_there_is_no_mark_nothing_is_covered() -> None:
    assert draw_marks(torch.zeros(3, dtype=torch.long), 96, chance()).cover.max() == 0


def test_places_are_named_within_their_ranges_and_marks_are_the_exception() -> None:
    places = Surfaces(seed=0, device="cpu").draw(32, 96, chance())
    assert places.pixels.shape == (32, 3, 96, 96)
    assert places.fine.shape == places.direction.shape == (32, 12, 12)
    assert places.coarse.shape == places.texture.shape == (32, 6, 6)
    assert 0 <= places.pixels.min() <= places.pixels.max() <= 1
    for names, count in ((places.texture, TEXTURES), (places.direction, DIRECTIONS)):
        assert ((names == UNKNOWN) | ((names >= 0) & (names < count))).all()
    assert set(places.fine.flatten().tolist()) == set(map(int, Kind))
    assert 0.05 < (places.fine != Kind.NONE).float().mean() < 0.5


def test_the_same_seed_draws_the_same_pictures() -> None:
    one, same, other = (Surfaces(seed=0, device="cpu").draw(2, 48, chance(seed)).pixels for seed in (1, 1, 2))
    assert torch.equal(one, same)
    assert not torch.equal(one, other)


def test_it_learns() -> None:
    settings = replace(QUICK, pictures=8 * 120, batch=8, warm_up=5)
    training = Pretraining(settings, device="cpu", half=False)
    while training.taken < settings.steps:
        training.step()
    fine = training.losses["fine"]
    assert sum(fine[-10:]) < 0.75 * sum(fine[:10])


def test_an_interrupted_pretraining_goes_on_to_the_very_same_weights() -> None:
    whole, first, second = (Pretraining(QUICK, device="cpu", half=False) for _ in range(3))
    for _ in range(3):
        whole.step()
    first.step()
    assert second.take_up(first.state())
    second.step()
    second.step()
    assert second.digest() == whole.digest()


def test_a_state_of_another_pretraining_is_not_taken_up() -> None:
    other = Pretraining(replace(QUICK, seed=1), device="cpu", half=False)
    assert not Pretraining(QUICK, device="cpu", half=False).take_up(other.state())


def test_a_pretrained_file_is_what_a_backbone_takes_and_its_card_says_how_it_was_made(tmp_path: Path) -> None:
    out = tmp_path / "deep" / "own.safetensors"
    card = make_weights(out, QUICK, device="cpu", progress=quiet)
    build_backbone("resnet18", weights=str(out))
    assert hashlib.sha256(out.read_bytes()).hexdigest() in card
    assert "--pictures 12" in card
    assert sorted(path.name for path in out.parent.iterdir()) == ["own.md", "own.png", "own.safetensors"]


def test_own_photographs_are_the_surface_of_half_of_the_pictures() -> None:
    photograph = torch.linspace(0, 1, 64).expand(64, 64)
    places = Surfaces(seed=0, device="cpu", photographs=[photograph]).draw(40, 48, chance())
    unnamed = (places.texture == UNKNOWN).all(2).all(1)
    assert 10 < unnamed.sum() < 30
    assert set(places.fine[unnamed].flatten().tolist()) <= set(map(int, Kind)) - {int(Kind.BOUNDARY)}


def test_own_photographs_teach_too_and_the_card_says_so(tmp_path: Path) -> None:
    images = [np.random.default_rng(seed).integers(0, 255, (30, 50), np.uint8) for seed in range(2)]
    card = make_weights(tmp_path / "own.safetensors", QUICK, images=images, device="cpu", progress=quiet)
    assert "2 pictures of one's own" in card


def test_another_suffix_is_refused_before_anything_is_drawn(tmp_path: Path) -> None:
    with pytest.raises(DataError) as caught:
        make_weights(tmp_path / "own.pth", QUICK, progress=quiet)
    assert is_one_sentence(caught.value)


def test_the_shipped_weights_are_those_of_their_card_and_small() -> None:
    content = OWN.read_bytes()
    assert len(content) <= 6_000_000
    assert hashlib.sha256(content).hexdigest() in CARD
    assert all(torch.isfinite(tensor).all() for tensor in load_file(OWN).values())


@pytest.mark.skipif(platform.machine() != "x86_64", reason="the card's digest is of an x86-64 processor")
def test_the_shipped_recipe_repeats_its_first_steps_to_the_bit() -> None:
    version = torch.__version__.split("+")[0]
    if f"PyTorch {version}" not in CARD:
        pytest.skip(f"the card's digest is of another PyTorch than {version}")
    found = re.search(r"sightline pretrain FILE (.*)`", CARD)
    assert found is not None
    flags = found[1].removeprefix("--").split(" --")
    given = {name.replace("-", "_"): value for name, value in (flag.split() for flag in flags)}
    whole = {name: float(value) if "." in value or "e" in value else int(value) for name, value in given.items()}
    assert first_steps(PretrainSettings(**whole)) in CARD  # type: ignore[arg-type]


def test_auto_takes_our_own_weights_where_no_others_are_cached(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    assert choose_weights("resnet18", "auto") == "own"
    cached = tmp_path / "hub" / "checkpoints" / "resnet18-f37072fd.pth"
    cached.parent.mkdir(parents=True)
    cached.touch()
    assert choose_weights("resnet18", "auto") == "imagenet"


def test_auto_says_so_where_there_are_no_weights_for_a_backbone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    with pytest.raises(DataError) as caught:
        choose_weights("resnet50", "auto")
    assert is_one_sentence(caught.value)
    assert "resnet50" in str(caught.value)


@pytest.mark.parametrize(
    ("weights", "word"), [("own", "drawn"), ("imagenet", "lawyer"), ("random", "try"), ("a.pth", "a.pth")]
)
def test_it_is_said_in_one_line_which_weights_were_taken(weights: str, word: str) -> None:
    line = describe_weights(weights)
    assert word in line
    assert "\n" not in line
