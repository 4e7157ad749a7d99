"""How an engine computes: runtime, device and precision; and which of them a bundle has been shown to bear.

A precision is chosen by itself only if, on the pictures that set the threshold, it changed no verdict.
"""

import importlib.util
from collections.abc import Mapping, Sequence
from typing import Literal, NamedTuple, get_args

import torch
from pydantic import BaseModel, ConfigDict, NonNegativeFloat, NonNegativeInt

from model import onednn
from model.calibration import Calibration
from model.errors import DataError

Runtime = Literal["torch", "openvino"]
Device = Literal["cpu", "cuda"]
Precision = Literal["float32", "bfloat16", "float16"]
EngineName = Literal["auto", "torch", "openvino"]

HAIR = 0.02
"""Severity. A score nearer to the threshold than this is on it: which side it falls is left to rounding."""


class Mode(NamedTuple):
    """One way to compute the same function. Written `torch-cpu-bfloat16`."""

    runtime: Runtime
    device: Device
    precision: Precision

    def __str__(self) -> str:
        return "-".join(self)


EXACT = {device: Mode("torch", device, "float32") for device in get_args(Device)}
"""What every bundle is calibrated with, by the device's type."""


class ModeRecord(BaseModel):
    """What a mode did on the pictures that set a bundle's threshold.

    Attributes:
        calibration: its own threshold.
        largest_difference: between its scores and those of float32, at most.
        changed_verdicts: pictures judged otherwise than by float32, those within `HAIR` of the threshold not counted.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    calibration: Calibration
    largest_difference: NonNegativeFloat
    changed_verdicts: NonNegativeInt

    @classmethod
    def of(
        cls, exact: Sequence[float], scores: Sequence[float], calibration: Calibration, own: Calibration
    ) -> "ModeRecord":
        """Compares scores of the same pictures.

        Args:
            exact: by float32.
            scores: by the mode.
            calibration: from `exact`.
            own: from `scores`.
        """
        changed = [
            calibration.passes(before) != own.passes(after) and abs(calibration.severity(before) - 1) > HAIR
            for before, after in zip(exact, scores, strict=True)
        ]
        differences = [abs(before - after) for before, after in zip(exact, scores, strict=True)]
        return cls(calibration=own, largest_difference=max(differences, default=0.0), changed_verdicts=sum(changed))


class Choice(NamedTuple):
    """A mode and, for people, why it was chosen."""

    mode: Mode
    why: str


def modes_here(device: str) -> list[Mode]:
    """What this machine can compute with, the lower precision first; torch in float32 is always among them.

    Args:
        device: `cpu`, `cuda` or `cuda:1`.
    """
    if device.startswith("cuda"):
        return [Mode("torch", "cuda", "float16"), EXACT["cuda"]]
    precisions: tuple[Precision, ...] = ("bfloat16", "float32") if onednn.has_bfloat16() else ("float32",)
    found = [Mode("torch", "cpu", precision) for precision in precisions]
    if importlib.util.find_spec("openvino") is None:
        return found
    others = [Mode("openvino", "cpu", precision) for precision in precisions]
    return [mode for pair in zip(found, others, strict=True) for mode in pair]


def choose_mode(records: Mapping[str, ModeRecord], device: str, engine: str = "auto") -> Choice:
    """The fastest mode of this machine that changed no verdict of the bundle.

    Args:
        records: of the bundle, by mode.
        device: `cpu`, `cuda` or `cuda:1`.
        engine: `auto`, or the runtime it has to be.

    Raises:
        DataError: that runtime is not here, or the bundle was never measured with it.
    """
    if engine not in get_args(EngineName):
        raise DataError(f"unknown engine {engine!r}: choose one of {', '.join(get_args(EngineName))}")
    here = [mode for mode in modes_here(device) if engine in ("auto", mode.runtime)]
    if not here:
        raise DataError(f"engine {engine} can't run on {device} here: pip install 'sightline[{engine}]' for the CPU")
    passed_over: list[str] = []
    for mode in here:
        record = records.get(str(mode))
        if mode in EXACT.values() or (record is not None and record.changed_verdicts == 0):
            return Choice(mode, "; ".join([f"{mode} is the fastest here that is admitted", *passed_over]))
        why = "was not measured" if record is None else f"changed {record.changed_verdicts} verdict(s)"
        passed_over.append(f"{mode} {why} when the threshold was set")
    raise DataError(f"engine {engine}: {'; '.join(passed_over)}: run sightline calibrate on this machine, or use auto")


def choose_device(device: str) -> str:
    """`auto` is the first CUDA device where there is one, else the CPU.

    Raises:
        DataError: this machine has no such device.
    """
    if device == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    known = ["cpu", "cuda", *(f"cuda:{index}" for index in range(torch.cuda.device_count()))]
    if device not in known or (device == "cuda" and not torch.cuda.is_available()):
        raise DataError(f"there is no device {device!r} here: choose auto, cpu or cuda")
    return device


def gpu_memory_bytes() -> dict[str, int]:
    """Bytes that this process has allocated, by CUDA device; empty where it uses none. Any thread."""
    if not torch.cuda.is_initialized():  # type: ignore[no-untyped-call]  # asking for more would set one up
        return {}
    used = {f"cuda:{index}": torch.cuda.memory_allocated(index) for index in range(torch.cuda.device_count())}
    return {device: size for device, size in used.items() if size}


def dtype_of(precision: Precision) -> torch.dtype:
    """As torch names it."""
    return {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}[precision]
