"""A bundle against labelled pictures."""

import math
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter
from sklearn.metrics import roc_auc_score
from torch.nn import functional as F

from model import dataset
from model.bundle import Bundle, read_bundle
from model.contract import InputContract
from model.engine import Engine
from model.errors import DataError
from model.evaluation import Evaluation, evaluate
from model.metrics import auroc
from model.preprocessing import Preprocessing
from tests.model.small import is_one_sentence, plates, save_picture, write_small


@pytest.fixture(scope="module")
def bundle(small_bundle: Path) -> Bundle:
    return read_bundle(small_bundle)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Four good and four scratched pictures with masks."""
    for index, image in enumerate(plates(8)):
        kind = "scratch" if index % 2 else "good"
        if kind == "scratch":
            image[10:14, 5:40] = 255
            mask = np.zeros((40, 48), np.uint8)
            mask[10:14, 5:40] = 255
            save_picture(tmp_path / "ground_truth" / kind / f"{index}_mask.png", mask)
        save_picture(tmp_path / "test" / kind / f"{index}.png", image)
    return tmp_path


def judged(bundle: Bundle, root: Path) -> Evaluation:
    return evaluate(bundle, root, dataset.test_pictures(root), device="cpu")


def engine_scores(bundle: Bundle, paths: Iterable[Path]) -> list[float]:
    engine = Engine.of(bundle, device="cpu")
    return [engine.inspect([dataset.read_image(path)])[0].score for path in paths]


def test_auroc_is_scikit_learn_s_on_known_scores() -> None:
    labels, scores = np.array([False, False, True, True]), np.array([0.1, 0.4, 0.35, 0.8])
    assert auroc(labels, scores) == 0.75 == roc_auc_score(labels, scores)


@pytest.mark.parametrize(
    ("labels", "scores"),
    [
        ([True, True], [0.1, 0.2]),
        ([False], [0.1]),
        ([], []),
        ([True, False], [math.nan, 0]),
        ([True, False], [0, math.inf]),
    ],
)
def test_there_is_no_auroc_without_both_kinds_or_with_scores_that_are_not_finite(
    labels: list[bool], scores: list[float]
) -> None:
    assert auroc(np.array(labels, np.bool_), np.array(scores, np.float64)) is None


def test_every_picture_is_scored_by_the_engine_under_its_name(bundle: Bundle, root: Path) -> None:
    found = judged(bundle, root)
    assert (found.false_reject.trials, found.miss.trials, found.skipped) == (4, 4, ())
    names = [f"test/good/{index}.png" for index in (0, 2, 4, 6)] + [
        f"test/scratch/{index}.png" for index in (1, 3, 5, 7)
    ]
    assert list(found.scores) == names
    assert list(found.scores.values()) == engine_scores(bundle, [root / name for name in names])


def test_the_image_auroc_is_that_of_the_scores(bundle: Bundle, root: Path) -> None:
    found = judged(bundle, root)
    labels = ["scratch" in name for name in found.scores]
    assert found.image_auroc == roc_auc_score(labels, list(found.scores.values()))


def test_the_pixel_auroc_is_that_of_all_smooth_maps_in_the_pictures_own_resolution(bundle: Bundle, root: Path) -> None:
    engine, maps, masks = Engine.of(bundle, device="cpu"), [], []
    for test in dataset.test_pictures(root):
        (found,) = engine.inspect([dataset.read_image(test.path)])
        enlarged = F.interpolate(torch.from_numpy(found.grid)[None, None], size=(32, 32), mode="bilinear")[0, 0]
        smooth = gaussian_filter(enlarged.numpy().astype(np.float64), sigma=4, radius=16, mode="reflect")
        maps.append(cv2.resize(smooth, (48, 40), interpolation=cv2.INTER_LINEAR))
        masks.append(np.zeros((40, 48), bool) if test.mask is None else cv2.imread(str(test.mask), 0) > 127)  # type: ignore[operator]
    expected = roc_auc_score(np.concatenate(masks).ravel(), np.concatenate(maps).ravel())
    assert judged(bundle, root).pixel_auroc == pytest.approx(expected, abs=1e-4)


def test_the_rates_count_what_the_bundle_s_threshold_passes(bundle: Bundle, root: Path) -> None:
    scores = judged(bundle, root).scores
    good = sorted(score for name, score in scores.items() if "good" in name)
    middle = (good[1] + good[2]) / 2
    calibration = bundle.manifest.calibration.model_copy(update={"threshold": middle, "median": middle - 1})
    strict = Bundle(bundle.network, bundle.manifest.model_copy(update={"calibration": calibration}), bundle.digest)
    found = judged(strict, root)
    assert found.false_reject.value == 0.5
    bad = [score for name, score in scores.items() if "scratch" in name]
    assert found.miss.value == pytest.approx(np.mean([score <= middle for score in bad]))


def test_rates_and_auroc_are_absent_where_a_kind_is(bundle: Bundle, root: Path) -> None:
    tests = dataset.test_pictures(root)
    only_good = evaluate(bundle, root, [test for test in tests if not test.defective], device="cpu")
    assert (only_good.image_auroc, only_good.pixel_auroc, only_good.miss.value) == (None, None, None)
    assert only_good.false_reject.value is not None
    only_bad = evaluate(bundle, root, [test for test in tests if test.defective], device="cpu")
    assert (only_bad.image_auroc, only_bad.false_reject.value) == (None, None)
    assert only_bad.miss.value is not None


def test_a_defective_picture_without_a_mask_counts_for_the_picture_alone(bundle: Bundle, root: Path) -> None:
    with_masks = judged(bundle, root)
    tests = [replace(test, mask=None) for test in dataset.test_pictures(root)]
    without = evaluate(bundle, root, tests, device="cpu")
    assert without.scores == with_masks.scores
    assert without.image_auroc == with_masks.image_auroc
    assert without.pixel_auroc is None


def test_an_unreadable_picture_is_skipped_by_name_and_counted_nowhere_else(bundle: Bundle, root: Path) -> None:
    before = judged(bundle, root)
    (root / "test" / "good" / "broken.png").write_bytes(b"")
    (root / "test" / "good" / "folder.png").mkdir()
    after = judged(bundle, root)
    assert [sentence for sentence in after.skipped if is_one_sentence(sentence)] == [*after.skipped]
    assert ["broken.png" in after.skipped[0], "folder.png" in after.skipped[1]] == [True, True]
    assert replace(after, skipped=()) == before


@pytest.mark.parametrize(
    "image",
    [plates(1, height=41)[0], plates(1)[0][:, :, 0], plates(1)[0].astype(np.uint16), plates(1, height=1, width=1)[0]],
    ids=["taller", "grey", "16 bit", "one pixel"],
)
def test_a_picture_that_breaks_the_contract_is_skipped_by_name(
    bundle: Bundle, root: Path, image: dataset.Image
) -> None:
    save_picture(root / "test" / "good" / "odd.png", image)
    found = judged(bundle, root)
    (sentence,) = found.skipped
    assert str(root / "test" / "good" / "odd.png") in sentence
    assert is_one_sentence(sentence)
    assert "test/good/odd.png" not in found.scores
    assert found.false_reject.trials == 4


@pytest.mark.parametrize("mask", ["other size", "unreadable"])
def test_a_mask_that_does_not_fit_is_named_and_its_picture_keeps_its_score(
    bundle: Bundle, root: Path, mask: str
) -> None:
    path, before = root / "ground_truth" / "scratch" / "1_mask.png", judged(bundle, root)
    _ = save_picture(path, np.zeros((20, 24), np.uint8)) if mask == "other size" else path.write_bytes(b"")
    found = judged(bundle, root)
    (sentence,) = found.skipped
    assert str(path) in sentence
    assert is_one_sentence(sentence)
    assert found.scores == before.scores
    kept = [replace(test, mask=None) if test.mask == path else test for test in dataset.test_pictures(root)]
    assert found.pixel_auroc == evaluate(bundle, root, kept, device="cpu").pixel_auroc


def test_when_no_picture_can_be_judged_that_is_an_error_with_a_first_reason(bundle: Bundle, tmp_path: Path) -> None:
    path = save_picture(tmp_path / "test" / "good" / "odd.png", plates(1, height=9)[0])
    with pytest.raises(DataError) as caught:
        judged(bundle, tmp_path)
    assert str(path) in str(caught.value)
    assert is_one_sentence(caught.value)


def test_scores_that_are_not_finite_fail_and_leave_no_auroc(small_bundle: Path, root: Path) -> None:
    broken = read_bundle(small_bundle)
    next(broken.network.head.adaptor.parameters()).data.fill_(math.nan)
    found = judged(broken, root)
    assert (found.image_auroc, found.pixel_auroc) == (None, None)
    assert (found.false_reject.value, found.miss.value) == (1.0, 0.0)


def test_the_json_says_every_figure_and_its_interval(bundle: Bundle, root: Path) -> None:
    found: dict[str, Any] = judged(bundle, root).to_json()
    figures = "image_auroc pixel_auroc pixel_auroc_by_type aupro average_precision f1_max false_reject_rate miss_rate"
    assert set(figures.split()) < found.keys()
    assert all(found[name] is not None for name in figures.split())
    low, high = found["false_reject_interval"]
    assert low <= found["false_reject_rate"] <= high
    assert list(found["pixel_auroc_by_type"]) == ["scratch"]


def test_what_a_crop_never_saw_has_the_map_s_lowest_score(bundle: Bundle, root: Path) -> None:
    """A defect at the rim, outside of the crop, then costs pixel AUROC instead of being left out."""
    cropping = bundle.manifest.model_copy(update={"preprocessing": Preprocessing(resize=(64, 64), crop=(32, 32))})
    tests = [test for test in dataset.test_pictures(root) if test.defective]
    for test in tests:
        rim = np.zeros((40, 48), np.uint8)
        rim[:6] = 255
        save_picture(test.mask or Path(), rim)
    found = evaluate(Bundle(bundle.network, cropping, bundle.digest), root, tests, device="cpu")
    assert found.pixel_auroc is not None
    assert found.pixel_auroc < 0.5


def test_progress_is_told_picture_by_picture(bundle: Bundle, root: Path) -> None:
    told: list[tuple[str, int, int]] = []
    (root / "test" / "good" / "broken.png").write_bytes(b"")
    evaluate(
        bundle,
        root,
        dataset.test_pictures(root),
        device="cpu",
        progress=lambda what, done, total: told.append((what, done, total)),
    )
    assert told == [("pictures", done, 9) for done in range(1, 10)]


def test_a_picture_that_looks_too_different_is_scored_but_never_passes(
    bundle: Bundle, root: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    lenient = bundle.manifest.calibration.model_copy(update={"threshold": 1e9})
    contract = InputContract.of(plates(8))
    picky = write_small(tmp_path_factory.mktemp("picky") / "plate", contract=contract, calibration=lenient)
    before = judged(picky, root)
    assert before.false_reject.failures == 0
    save_picture(root / "test" / "good" / "dark.png", plates(1)[0] // 2)
    after = judged(picky, root)
    assert (after.false_reject.failures, after.false_reject.trials, after.skipped) == (1, 5, ())
    assert np.isfinite(after.scores["test/good/dark.png"])
