"""The frozen trunk and where its weights come from."""

import contextlib
import os
from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from model.backbone import BACKBONES, Backbone, build_backbone
from model.errors import DataError
from tests.model.small import is_one_sentence


class Touch:
    """Pickled code: whoever unpickles it creates a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.system, (f"touch {self.path}",)


@cache
def state() -> dict[str, torch.Tensor]:
    return dict(build_backbone("resnet18", seed=5).state_dict())


def store(tensors: dict[str, torch.Tensor], path: Path) -> None:
    if path.suffix == ".pth":
        torch.save(tensors, path)
    else:
        save_file(tensors, path)


def refusal(weights: Path | str, name: str = "resnet18") -> str:
    with pytest.raises(DataError) as caught:
        build_backbone(name, weights=str(weights))
    assert is_one_sentence(caught.value)
    assert str(weights) in str(caught.value)
    return str(caught.value)


def test_each_level_has_its_stride_and_comes_finest_first() -> None:
    two, three = build_backbone("resnet18", levels=(3, 2))(torch.zeros(2, 3, 64, 96))
    assert two.shape == (2, 128, 8, 12)
    assert three.shape == (2, 256, 4, 6)


def test_what_lies_behind_the_last_level_is_never_built() -> None:
    names = {key.split(".")[0] for key in build_backbone("resnet18").state_dict()}
    assert names == {"conv1", "bn1", "layer1", "layer2", "layer3"}
    assert "layer3.0.conv1.weight" not in build_backbone("resnet18", levels=(2,)).state_dict()


@pytest.mark.parametrize(
    "ask", [lambda b: b.train(), lambda b: b.train(True), lambda b: torch.nn.Sequential(b).train()]
)
def test_a_backbone_never_enters_training_mode(ask: Callable[[Backbone], object]) -> None:
    backbone = build_backbone("resnet18")
    ask(backbone)
    assert not any(module.training for module in backbone.modules())
    assert not any(parameter.requires_grad for parameter in backbone.parameters())


def test_its_batch_statistics_stay_as_they_are_whatever_it_sees() -> None:
    backbone = build_backbone("resnet18")
    before = {key: value.clone() for key, value in backbone.state_dict().items()}
    backbone.train()(torch.randn(4, 3, 32, 32))
    for key, value in backbone.state_dict().items():
        assert torch.equal(value, before[key]), key


def test_random_weights_follow_their_seed() -> None:
    one, same, other = (build_backbone("resnet18", seed=seed).conv1.weight for seed in (1, 1, 2))
    assert torch.equal(one, same)
    assert not torch.equal(one, other)


def test_building_leaves_the_global_generator_alone() -> None:
    torch.manual_seed(0)
    expected = torch.rand(1)
    torch.manual_seed(0)
    build_backbone("resnet18", seed=9)
    assert torch.equal(torch.rand(1), expected)


def test_an_unknown_backbone_is_refused_with_the_known_ones() -> None:
    with pytest.raises(DataError) as caught:
        build_backbone("resnet19")
    assert is_one_sentence(caught.value)
    assert all(name in str(caught.value) for name in BACKBONES)


@pytest.mark.parametrize("levels", [(), (2, 9), (0,)])
def test_levels_that_do_not_exist_are_refused(levels: tuple[int, ...]) -> None:
    with pytest.raises(DataError):
        build_backbone("resnet18", levels=levels)


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_weights_come_back_from_a_file_exactly(tmp_path: Path, suffix: str) -> None:
    path, tensors = tmp_path / f"trunk{suffix}", state()
    store(tensors, path)
    for key, value in build_backbone("resnet18", weights=str(path)).state_dict().items():
        assert torch.equal(value, tensors[key]), key


def test_weights_of_a_whole_network_fit_although_more_than_is_needed(tmp_path: Path) -> None:
    path = tmp_path / "whole.pth"
    torch.save({**state(), "layer4.0.conv1.weight": torch.zeros(1), "fc.weight": torch.zeros(1)}, path)
    assert torch.equal(build_backbone("resnet18", weights=str(path)).conv1.weight, state()["conv1.weight"])


def test_a_missing_weights_file_is_named(tmp_path: Path) -> None:
    refusal(tmp_path / "nowhere.pth")
    refusal(tmp_path)


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
@pytest.mark.parametrize(
    "content", [b"", b"hello, I am not a weights file", b"PK\x03\x04"], ids=["empty", "text", "zip"]
)
def test_a_file_that_holds_no_weights_is_named(tmp_path: Path, suffix: str, content: bytes) -> None:
    path = tmp_path / f"weights{suffix}"
    path.write_bytes(content)
    refusal(path)


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_a_truncated_weights_file_is_named(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"weights{suffix}"
    store(state(), path)
    path.write_bytes(path.read_bytes()[:100_000])
    refusal(path)


def test_weights_of_another_architecture_are_refused_with_a_tensor_that_is_missing(tmp_path: Path) -> None:
    path = tmp_path / "resnet18.pth"
    torch.save(state(), path)
    assert "layer1.0.conv3.weight" in refusal(path, "resnet50")


def test_weights_of_another_shape_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "odd.pth"
    torch.save({**state(), "conv1.weight": torch.zeros(64, 1, 7, 7)}, path)
    assert "conv1.weight" in refusal(path)


@pytest.mark.parametrize("content", [[1, 2], torch.zeros(3), "text", {1: 2}, {"state_dict": {}}], ids=str)
def test_a_file_without_a_state_dict_is_refused(tmp_path: Path, content: object) -> None:
    path = tmp_path / "other.pth"
    torch.save(content, path)
    refusal(path)


def test_a_state_dict_that_holds_no_tensors_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "numbers.pth"
    torch.save(dict.fromkeys(state(), 3), path)
    refusal(path)


def test_code_in_a_pickle_is_not_run_and_the_refusal_does_not_teach_how_to_run_it(tmp_path: Path) -> None:
    path, touched = tmp_path / "evil.pth", tmp_path / "touched"
    torch.save({**state(), "conv1.weight": Touch(touched)}, path)
    text = refusal(path)
    assert not touched.exists()
    assert "to `False`" not in text


def test_imagenet_weights_without_a_network_say_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    for variable in ("https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(variable, "http://127.0.0.1:9")
    with pytest.raises(DataError) as caught:
        build_backbone("resnet18", weights="imagenet")
    assert "--weights FILE" in str(caught.value)
    assert is_one_sentence(caught.value)


def test_a_damaged_download_of_imagenet_weights_is_a_data_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    cached = tmp_path / "hub" / "checkpoints" / "resnet18-f37072fd.pth"
    cached.parent.mkdir(parents=True)
    cached.write_bytes(b"half a download")
    with pytest.raises(DataError):
        build_backbone("resnet18", weights="imagenet")


def test_code_in_a_cached_download_of_imagenet_weights_is_not_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    cached, touched = tmp_path / "hub" / "checkpoints" / "resnet18-f37072fd.pth", tmp_path / "touched"
    cached.parent.mkdir(parents=True)
    torch.save({**state(), "conv1.weight": Touch(touched)}, cached)
    with contextlib.suppress(Exception):
        build_backbone("resnet18", weights="imagenet")
    assert not touched.exists()


def test_real_imagenet_weights_with_folded_batch_norm_fit(weights_file: Path) -> None:
    backbone = build_backbone("resnet18", weights=str(weights_file))
    stored = torch.load(weights_file, weights_only=True)
    assert torch.equal(backbone.conv1.weight, stored["conv1.weight"])
    maps = backbone(torch.randn(1, 3, 64, 64, generator=torch.Generator().manual_seed(0)))
    assert all(torch.isfinite(level).all() and level.std() > 0.1 for level in maps)
