"""Golden images: a bundle that misjudges a picture whose outcome is known is not used."""

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch")

from model.bundle import Bundle
from model.engine import Engine
from model.errors import BundleError
from model.golden import check_golden, golden_images
from tests.model.small import CALIBRATION, contents, plates, save_picture, small_network, write_small


def bundle_at(path: Path, *, passes: bool) -> tuple[Bundle, Engine]:
    """A bundle that passes every plate, or none."""
    threshold = 1000.0 if passes else -1000.0
    median = threshold - 1
    bundle = write_small(
        path, calibration=CALIBRATION.model_copy(update={"threshold": threshold, "median": median, "low": median})
    )
    return bundle, Engine.of(bundle, device="cpu")


def golden(path: Path, name: str) -> None:
    save_picture(path / "golden" / name, plates(1)[0])


def test_golden_images_that_are_judged_rightly_are_counted(tmp_path: Path) -> None:
    path = tmp_path / "bundle"
    made = bundle_at(path, passes=True)
    assert check_golden(path, *made) == 0
    for name in ("good/a.png", "good/b.png"):
        golden(path, name)
    save_picture(path / "golden" / "bad" / "small.png", np.zeros((9, 9, 3), np.uint8))  # breaks the contract: it fails
    assert check_golden(path, *made) == 3


@pytest.mark.parametrize(
    ("passes", "name", "word"),
    [
        (True, "bad/scratch.png", "passes"),
        (True, "scratch/one.png", "passes"),
        (False, "good/clean.png", "fails"),
    ],
)
def test_one_that_is_misjudged_is_named_and_so_is_the_fault(passes: bool, name: str, word: str, tmp_path: Path) -> None:
    path = tmp_path / "bundle"
    made = bundle_at(path, passes=passes)
    golden(path, name)
    with pytest.raises(BundleError, match=f"golden/{name}.*{word}.*severity"):
        check_golden(path, *made)


def test_a_good_one_that_breaks_the_input_contract_is_misjudged(tmp_path: Path) -> None:
    path = tmp_path / "bundle"
    made = bundle_at(path, passes=True)
    save_picture(path / "golden" / "good" / "small.png", np.zeros((9, 9, 3), np.uint8))
    with pytest.raises(BundleError, match=r"golden/good/small\.png.*pixels"):
        check_golden(path, *made)


def test_one_that_cannot_be_read_proves_nothing(tmp_path: Path) -> None:
    path = tmp_path / "bundle"
    made = bundle_at(path, passes=False)
    golden(path, "bad/cut.png")
    whole = (path / "golden" / "bad" / "cut.png").read_bytes()
    (path / "golden" / "bad" / "cut.png").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(BundleError, match=r"cut\.png"):
        check_golden(path, *made)


def test_a_folder_for_them_without_a_picture_is_refused(tmp_path: Path) -> None:
    write_small(tmp_path / "bundle")
    (tmp_path / "bundle" / "golden" / "good").mkdir(parents=True)
    with pytest.raises(BundleError, match="holds no pictures"):
        golden_images(tmp_path / "bundle")


def test_a_bundle_that_is_made_anew_in_its_place_keeps_its_golden_images(tmp_path: Path) -> None:
    path = tmp_path / "bundle"
    write_small(path)
    golden(path, "good/a.png")
    kept = contents(path / "golden")
    write_small(path, small_network(seed=1))
    assert contents(path / "golden") == kept
