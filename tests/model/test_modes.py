"""Which way to compute is chosen, and what a bundle records of each."""

from pathlib import Path

import numpy as np
import pytest

from model import modes as here
from model.bundle import read_bundle
from model.calibration import Calibration
from model.engine import Engine
from model.errors import DataError
from model.gate import measure_modes
from model.modes import EXACT, HAIR, Mode, ModeRecord, choose_mode, modes_here
from model.scoring import Scoring
from tests.model.small import (
    ARCHITECTURE,
    CALIBRATION,
    PREPROCESSING,
    is_one_sentence,
    plates,
    small_network,
    write_small,
)

HALF, OTHER, FULL = Mode("torch", "cpu", "bfloat16"), Mode("openvino", "cpu", "float32"), EXACT["cpu"]


def record(changed: int = 0, threshold: float = 0.5) -> ModeRecord:
    calibration = CALIBRATION.model_copy(update={"threshold": threshold})
    return ModeRecord(calibration=calibration, largest_difference=0.01, changed_verdicts=changed)


@pytest.fixture
def three_modes(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine with bfloat16 units and OpenVINO, whatever this one has."""
    monkeypatch.setattr(here, "modes_here", lambda device: [HALF, OTHER, FULL])


@pytest.mark.usefixtures("three_modes")
def test_the_first_mode_that_changed_no_verdict_is_chosen() -> None:
    assert choose_mode({str(HALF): record(), str(OTHER): record()}, "cpu").mode == HALF
    chosen = choose_mode({str(HALF): record(changed=1), str(OTHER): record()}, "cpu")
    assert chosen.mode == OTHER
    assert "torch-cpu-bfloat16 changed 1 verdict(s)" in chosen.why


@pytest.mark.usefixtures("three_modes")
def test_what_was_never_measured_is_never_chosen() -> None:
    chosen = choose_mode({}, "cpu")
    assert chosen.mode == FULL
    assert "was not measured" in chosen.why


@pytest.mark.usefixtures("three_modes")
def test_a_runtime_that_was_asked_for_and_is_not_admitted_is_one_sentence() -> None:
    for records in ({}, {str(OTHER): record(changed=2)}):
        with pytest.raises(DataError, match="sightline calibrate") as raised:
            choose_mode(records, "cpu", "openvino")
        assert is_one_sentence(raised.value)
    with pytest.raises(DataError, match="choose one of auto, torch, openvino"):
        choose_mode({}, "cpu", "tensorrt")


def test_float32_by_torch_is_everywhere() -> None:
    assert FULL in modes_here("cpu")
    assert EXACT["cuda"] in modes_here("cuda:1")


def calibration(threshold: float) -> Calibration:
    return CALIBRATION.model_copy(update={"threshold": threshold, "median": 0.0})


@pytest.mark.parametrize(
    ("before", "after", "changed"),
    [
        ([0.2, 0.9], [0.3, 0.95], 0),
        ([0.2, 0.9], [0.2, 1.1], 1),  # passed, and fails now
        ([0.2, 1.2], [0.2, 0.9], 1),  # failed, and passes now
        ([0.2, 1 - HAIR / 2], [0.2, 1.01], 0),  # on the threshold: rounding decides
    ],
)
def test_a_verdict_that_changes_beyond_a_hair_counts(before: list[float], after: list[float], changed: int) -> None:
    found = ModeRecord.of(before, after, calibration(1.0), calibration(1.0))
    assert found.changed_verdicts == changed
    assert found.largest_difference == pytest.approx(np.abs(np.subtract(before, after)).max())


def test_each_mode_of_this_machine_is_measured_on_the_held_out_pictures() -> None:
    images, network = plates(6), small_network()
    exact = [found.score for found in Engine(network, PREPROCESSING, device="cpu").inspect(images)]
    ends = CALIBRATION.model_copy(update={"images": 6, "false_reject_rate": 1 / 7})
    records = measure_modes(network, PREPROCESSING, Scoring(), images, exact, ends, "cpu")
    expected = [mode for mode in modes_here("cpu") if mode != FULL]
    assert set(records) <= {str(mode) for mode in expected}
    for mode in expected:
        scores = sorted(Engine(network, PREPROCESSING, device="cpu", mode=mode).inspect([i])[0].score for i in images)
        assert records[str(mode)].calibration.threshold == pytest.approx(scores[-1], abs=1e-3)


@pytest.mark.usefixtures("three_modes")
def test_a_bundle_judges_with_the_threshold_of_its_mode(tmp_path: Path) -> None:
    bundle = write_small(tmp_path / "plate", modes={str(HALF): record(threshold=0.75)})
    chosen = read_bundle(tmp_path / "plate").on("cpu")
    assert (chosen.mode, chosen.manifest.calibration.threshold) == (HALF, 0.75)
    assert chosen.label == bundle.label
    write_small(tmp_path / "plain")
    plain = read_bundle(tmp_path / "plain").on("cpu")
    assert (plain.mode, plain.manifest.calibration.threshold) == (FULL, CALIBRATION.threshold)


def test_a_head_that_does_not_fold_is_said_so(tmp_path: Path) -> None:
    architecture = ARCHITECTURE.model_copy(update={"adaptor": "mlp"})
    bundle = write_small(tmp_path / "mlp", architecture.build(weights="random"), architecture=architecture)
    assert "unfused" in bundle.choice("cpu").why
    assert "unfused" not in write_small(tmp_path / "plain").choice("cpu").why
