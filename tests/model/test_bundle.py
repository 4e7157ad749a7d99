"""A bundle on disk: whole or not at all, and never trusted unread."""

import hashlib
import json
import pickletools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from pydantic import ValidationError
from safetensors.torch import load, save

from model.bundle import MANIFEST, WEIGHTS, Manifest, read_bundle, refuse_foreign, write_bundle
from model.engine import Engine
from model.errors import BundleError
from tests.model.small import (
    ARCHITECTURE,
    CALIBRATION,
    CONTRACT,
    PREPROCESSING,
    contents,
    edited_copy,
    is_one_sentence,
    plates,
    small_network,
    write_small,
)

Change = Callable[[dict[str, Any]], object]


def refusal(path: Path) -> str:
    with pytest.raises(BundleError) as caught:
        read_bundle(path)
    assert str(path) in str(caught.value)
    assert is_one_sentence(caught.value)
    return str(caught.value)


def test_a_bundle_that_is_read_back_scores_exactly_like_the_network_that_was_written(tmp_path: Path) -> None:
    network, images = small_network(3), plates(3)
    written = write_small(tmp_path / "plate", network)
    before = Engine(network, PREPROCESSING, device="cpu").inspect(images)
    read = read_bundle(tmp_path / "plate")
    after = Engine.of(read, device="cpu").inspect(images)
    assert [inspection.score for inspection in before] == [inspection.score for inspection in after]
    assert read.manifest == written.manifest
    assert read.digest == written.digest


def test_the_manifest_comes_back_field_by_field(small_bundle: Path) -> None:
    manifest = read_bundle(small_bundle).manifest
    assert (manifest.format, manifest.name) == (1, "plate")
    assert manifest.architecture == ARCHITECTURE
    assert manifest.preprocessing == PREPROCESSING
    assert manifest.contract == CONTRACT
    assert manifest.calibration == CALIBRATION


def test_a_network_that_is_read_is_in_evaluation_mode(small_bundle: Path) -> None:
    assert not any(module.training for module in read_bundle(small_bundle).network.modules())


def test_a_bundle_is_two_files_and_neither_is_a_pickle(small_bundle: Path) -> None:
    assert sorted(path.name for path in small_bundle.iterdir()) == [MANIFEST, WEIGHTS]
    assert load((small_bundle / WEIGHTS).read_bytes())
    for path in small_bundle.iterdir():
        content = path.read_bytes()
        assert not content.startswith((b"PK", b"\x80"))
        with pytest.raises(ValueError, match=r"opcode|pickle|expected|exhausted|unknown"):
            list(pickletools.genops(content))


def test_the_label_names_the_recipe_and_twelve_digits_of_the_manifest_s_digest(small_bundle: Path) -> None:
    bundle = read_bundle(small_bundle)
    digest = hashlib.sha256((small_bundle / MANIFEST).read_bytes()).hexdigest()
    assert bundle.digest == digest
    assert bundle.label == f"plate@{digest[:12]}"


@pytest.mark.parametrize("where", [0, 0.001, 0.5, 1.0])
def test_one_flipped_byte_in_the_weights_is_found_by_their_digest(
    small_bundle: Path, tmp_path: Path, where: float
) -> None:
    damaged = edited_copy(small_bundle, tmp_path / "damaged", lambda manifest: None)
    content = bytearray((damaged / WEIGHTS).read_bytes())
    content[int(where * (len(content) - 1))] ^= 1
    (damaged / WEIGHTS).unlink()
    (damaged / WEIGHTS).write_bytes(bytes(content))
    text = refusal(damaged)
    assert "sha256" in text
    assert hashlib.sha256(bytes(content)).hexdigest()[:12] in text


def test_truncated_weights_are_found_by_their_digest(small_bundle: Path, tmp_path: Path) -> None:
    damaged = edited_copy(small_bundle, tmp_path / "damaged", lambda manifest: None)
    content = (damaged / WEIGHTS).read_bytes()
    (damaged / WEIGHTS).unlink()
    (damaged / WEIGHTS).write_bytes(content[:-1])
    assert "sha256" in refusal(damaged)


EDITS: dict[str, tuple[Change, str]] = {
    "unknown key": (lambda m: m.update(surprise=1), "surprise"),
    "unknown nested key": (lambda m: m["preprocessing"].update(blur=1), "preprocessing.blur"),
    "format 2": (lambda m: m.update(format=2), "format"),
    "no name": (lambda m: m.pop("name"), "name"),
    "NaN threshold": (lambda m: m["calibration"].update(threshold=float("nan")), "calibration.threshold"),
    "threshold at the median": (lambda m: m["calibration"].update(threshold=-0.5), "median"),
    "no calibration": (lambda m: m.pop("calibration"), "calibration"),
    "wrong digest": (lambda m: m.update(weights_sha256="0" * 64), "sha256"),
    "other width": (lambda m: m["architecture"].update(hidden=17), "architecture"),
    "other levels": (lambda m: m["architecture"].update(levels=[2]), "architecture"),
    "other backbone": (lambda m: m["architecture"].update(backbone="resnet50"), "architecture"),
    "unknown backbone": (lambda m: m["architecture"].update(backbone="resnet19"), "architecture.backbone"),
    "no levels": (lambda m: m["architecture"].update(levels=[]), "levels"),
    "level 9": (lambda m: m["architecture"].update(levels=[2, 9]), "levels"),
    "negative width": (lambda m: m["architecture"].update(hidden=-1), "hidden"),
    "even patch": (lambda m: m["architecture"].update(patch_size=2), "patch_size"),
    "no patch": (lambda m: m["architecture"].update(patch_size=0), "patch_size"),
    "no resize": (lambda m: m["preprocessing"].update(resize=[0, 0]), "resize"),
    "crop beyond the picture": (lambda m: m["preprocessing"].update(crop=[64, 64]), "crop"),
    "zero std": (lambda m: m["preprocessing"].update(std=[0, 1, 1]), "std"),
    "size range upside down": (lambda m: m["contract"].update(height=[50, 40]), "height"),
    "impossible channels": (lambda m: m["contract"].update(channels=7), "channels"),
    "impossible dtype": (lambda m: m["contract"].update(dtype="float99"), "dtype"),
}


@pytest.mark.parametrize("edit", EDITS)
def test_an_edited_manifest_is_refused_and_what_is_wrong_is_named(
    small_bundle: Path, tmp_path: Path, edit: str
) -> None:
    change, named = EDITS[edit]
    assert named in refusal(edited_copy(small_bundle, tmp_path / "edited", change))


@pytest.mark.parametrize(
    "text",
    [b"", b"{", b"\xff\xfe\x00", b"null", b"[]", b'"text"', b"[" * 100_000],
    ids=["empty", "cut off", "binary", "null", "list", "string", "deep"],
)
def test_a_manifest_that_is_no_json_object_is_refused(small_bundle: Path, tmp_path: Path, text: bytes) -> None:
    broken = edited_copy(small_bundle, tmp_path / "broken", lambda manifest: None)
    (broken / MANIFEST).write_bytes(text)
    assert ": :" not in refusal(broken)


def test_weights_with_a_tensor_too_many_are_refused_although_their_digest_is_right(
    small_bundle: Path, tmp_path: Path
) -> None:
    tensors = {**load((small_bundle / WEIGHTS).read_bytes()), "extra": torch.zeros(1)}
    content = save(tensors)
    digest = hashlib.sha256(content).hexdigest()
    odd = edited_copy(small_bundle, tmp_path / "odd", lambda manifest: manifest.update(weights_sha256=digest))
    (odd / WEIGHTS).unlink()
    (odd / WEIGHTS).write_bytes(content)
    refusal(odd)


def test_weights_that_are_no_safetensors_are_refused_although_their_digest_is_right(
    small_bundle: Path, tmp_path: Path
) -> None:
    content = b"\x80\x04K\x01."  # a pickle of 1
    digest = hashlib.sha256(content).hexdigest()
    odd = edited_copy(small_bundle, tmp_path / "odd", lambda manifest: manifest.update(weights_sha256=digest))
    (odd / WEIGHTS).unlink()
    (odd / WEIGHTS).write_bytes(content)
    refusal(odd)


@pytest.mark.parametrize("missing", [MANIFEST, WEIGHTS])
def test_a_missing_file_is_named(small_bundle: Path, tmp_path: Path, missing: str) -> None:
    partial = edited_copy(small_bundle, tmp_path / "partial", lambda manifest: None)
    (partial / missing).unlink()
    assert missing in refusal(partial)


def test_a_path_without_a_bundle_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for name in ("nowhere", "file"):
        refusal(tmp_path / name)


def test_a_new_bundle_replaces_an_old_one_and_leaves_nothing_beside_it(tmp_path: Path) -> None:
    out = tmp_path / "recipes" / "plate"
    old = write_small(out, small_network(1))
    new = write_small(out, small_network(2))
    assert read_bundle(out).digest == new.digest != old.digest
    assert [path.name for path in out.parent.iterdir()] == ["plate"]


@pytest.mark.parametrize("old", [True, False])
def test_a_manifest_that_fails_validation_leaves_everything_as_it_was(tmp_path: Path, old: bool) -> None:
    if old:
        write_small(tmp_path / "plate")
    before = contents(tmp_path)
    with pytest.raises((BundleError, ValidationError)):
        write_small(tmp_path / "plate", calibration={"threshold": 1})
    with pytest.raises((BundleError, ValidationError)):
        write_small(tmp_path / "plate", surprise=1)
    assert contents(tmp_path) == before
    assert sorted(path.name for path in tmp_path.iterdir()) == (["plate"] if old else [])


def test_an_empty_folder_becomes_a_bundle(tmp_path: Path) -> None:
    (tmp_path / "plate").mkdir()
    write_small(tmp_path / "plate")
    read_bundle(tmp_path / "plate")


def refused_and_untouched(out: Path) -> None:
    before = contents(out.parent)
    for attempt in (lambda: refuse_foreign(out), lambda: write_small(out)):
        with pytest.raises(BundleError) as caught:
            attempt()
        assert str(out) in str(caught.value)
        assert is_one_sentence(caught.value)
    assert contents(out.parent) == before


def test_somebody_s_folder_is_refused_and_untouched(tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "wedding.jpg").write_bytes(b"precious")
    refused_and_untouched(tmp_path / "photos")


def test_somebody_s_file_is_refused_and_untouched(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_bytes(b"precious")
    refused_and_untouched(tmp_path / "thesis.tex")


def test_somebody_s_folder_with_another_program_s_manifest_is_refused_and_untouched(tmp_path: Path) -> None:
    """Web apps and browser extensions have a `manifest.json`, too."""
    (tmp_path / "app").mkdir()
    (tmp_path / "app" / MANIFEST).write_text(json.dumps({"name": "My shop", "start_url": "/"}))
    (tmp_path / "app" / "orders.db").write_bytes(b"precious")
    refused_and_untouched(tmp_path / "app")


def test_a_place_that_cannot_be_written_is_a_bundle_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(BundleError) as caught:
        write_small(tmp_path / "file" / "plate")
    assert is_one_sentence(caught.value)


def test_the_manifest_s_schema_takes_what_was_written(small_bundle: Path) -> None:
    text = (small_bundle / MANIFEST).read_text()
    assert json.loads(Manifest.model_validate_json(text).model_dump_json()) == json.loads(text)


def test_the_same_network_and_manifest_make_the_same_bytes(tmp_path: Path) -> None:
    network = small_network()
    fields: dict[str, Any] = {
        "name": "plate",
        "architecture": ARCHITECTURE,
        "preprocessing": PREPROCESSING,
        "contract": CONTRACT,
        "calibration": CALIBRATION,
        "provenance": {},
    }
    one = write_bundle(tmp_path / "one", network, **fields)
    two = write_bundle(tmp_path / "two", network, **fields)
    assert one.digest == two.digest
    assert contents(tmp_path / "one") == contents(tmp_path / "two")
