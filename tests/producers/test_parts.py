"""Drawn parts: the same for the same seed, varied enough, and no walkover for a mean picture."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from producers.parts import DEFECTS, SIZE, draw_dataset, draw_part


def test_the_same_seed_draws_the_same_part() -> None:
    one, other = (draw_part(np.random.default_rng(5), "stain") for _ in range(2))
    assert all((left == right).all() for left, right in zip(one, other, strict=True))


def test_a_good_part_has_an_empty_mask() -> None:
    picture, mask = draw_part(np.random.default_rng(0))
    assert (picture.shape, picture.dtype.name, mask.shape) == ((SIZE, SIZE, 3), "uint8", (SIZE, SIZE))
    assert not mask.any()


@pytest.mark.parametrize("kind", sorted(DEFECTS))
@pytest.mark.parametrize("seed", range(8))
def test_a_defect_is_a_small_and_visible_spot(kind: str, seed: int) -> None:
    picture, mask = draw_part(np.random.default_rng(seed), kind)
    grey = picture.astype(float).mean(axis=2)
    spot = mask > 0
    around = cv2.dilate(mask, np.ones((21, 21))) > 0
    assert abs(grey[spot].mean() - grey[around & ~spot].mean()) + grey[spot].std() > 8
    assert set(np.unique(mask)) == {0, 255}
    assert mask.mean() / 255 < 0.06  # a small share of the part


@pytest.mark.parametrize("seed", range(3))
def test_a_mean_picture_tells_good_from_bad_no_better_than_four_times_in_five(tmp_path: Path, seed: int) -> None:
    pytest.importorskip("sklearn")
    from model.dataset import test_pictures
    from worker.demo.summary import baseline_auroc

    draw_dataset(tmp_path, seed=seed)
    baseline = baseline_auroc(tmp_path, test_pictures(tmp_path))
    assert baseline is not None
    assert baseline < 0.8


def test_a_data_set_has_the_layout_and_the_counts_that_were_asked_for(tmp_path: Path) -> None:
    draw_dataset(tmp_path, train=3, good=2, bad=5)
    found = {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*.png")}
    assert len([name for name in found if name.startswith("train/good/")]) == 3
    assert len([name for name in found if name.startswith("test/good/")]) == 2
    bad = {name for name in found if name.startswith("test/") and "/good/" not in name}
    assert len(bad) == 5
    masks = {name.replace("test/", "ground_truth/").replace(".png", "_mask.png") for name in bad}
    assert masks <= found
