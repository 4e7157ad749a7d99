"""A training as it is asked for: every choice of the paper is an argument, checked before anything is read."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, get_args

from pydantic import ValidationError

from model.backbone import choose_weights
from model.bundle import Architecture
from model.errors import DataError
from model.preprocessing import Preprocessing
from model.scoring import Scoring
from model.settings import AdaptorStart, Loss, TrainSettings

TOP_K = 5
"""Cells of our score rule: steadier than the maximum, and no defect lights up fewer through a 3 x 3 neighbourhood."""
PAPER_RESIZE, PAPER_CROP = "256", "224"
PAPER_BACKBONE, PAPER_WEIGHTS = "wide_resnet50_2", "imagenet"


@dataclass(frozen=True)
class Plan:
    """What to train and how.

    Attributes:
        architecture: the network.
        preprocessing: from picture to input.
        settings: the recipe.
        scoring: from map to score; its mask is still a file.
        epochs: passes over the pictures, instead of steps; None: as `settings` has it.
        ignore: a picture of what is never judged.
        false_reject_rate: see `calibrate`.
        preset: `paper`, or None.
    """

    architecture: Architecture
    preprocessing: Preprocessing
    settings: TrainSettings
    scoring: Scoring
    epochs: int | None = None
    ignore: Path | None = None
    false_reject_rate: float | None = None
    preset: str | None = None

    @classmethod
    def of(
        cls,
        given: Mapping[str, Any],
        *,
        preset: str | None = None,
        ignore: Path | None = None,
        false_reject_rate: float | None = None,
    ) -> "Plan":
        """From flags.

        Args:
            given: fields of `Architecture`, `TrainSettings` and `Scoring` by name, with `levels` as `2,3`, `size` and
                `resize` as `224` or `224x320`, and `epochs`. None means not given.
            preset: `paper`: the given ones may not contradict it.
            ignore: a picture of what is never judged.
            false_reject_rate: see `calibrate`.

        Raises:
            DataError: one sentence naming the flag.
        """
        flags = {key: value for key, value in given.items() if value is not None}
        if preset is not None:
            flags = _with_paper(flags, preset)
        try:
            return cls(
                architecture=Architecture.model_validate(_architecture(flags)),
                preprocessing=_preprocessing(flags.get("size"), flags.get("resize")),
                settings=_settings(flags),
                scoring=_scoring(flags, paper=preset == "paper"),
                epochs=flags.get("epochs"),
                ignore=ignore,
                false_reject_rate=false_reject_rate,
                preset=preset,
            )
        except ValidationError as error:
            first = error.errors()[0]
            where = _flag(str(first["loc"][0])) if first["loc"] else "--size"
            raise DataError(f"{where} {first['input']!r}: {first['msg']}") from error

    def settings_for(self, pictures: int, positions: int) -> TrainSettings:
        """The recipe with its epochs as steps.

        Args:
            pictures: that train the network.
            positions: of each picture's feature map.
        """
        if self.preset == "paper":
            return self.settings.paper(pictures)
        if self.epochs is None:
            return self.settings
        if self.settings.positions:
            return replace(self.settings, steps=math.ceil(self.epochs * pictures * positions / self.settings.positions))
        return replace(self.settings, steps=self.epochs * math.ceil(pictures / self.settings.batch_images))


def _with_paper(flags: dict[str, Any], preset: str) -> dict[str, Any]:
    if preset != "paper":
        raise DataError(f"unknown preset {preset!r}: there is only paper")
    for key in flags:
        if key not in ("backbone", "weights", "seed", "name"):
            raise DataError(f"{_flag(key)} and --preset paper contradict each other: the paper fixes it")
    chosen = {"backbone": PAPER_BACKBONE, "weights": PAPER_WEIGHTS, "size": PAPER_CROP, "resize": PAPER_RESIZE}
    return {**chosen, **flags}


def _architecture(flags: Mapping[str, Any]) -> dict[str, Any]:
    chosen = {key: flags[key] for key in Architecture.model_fields if key in flags}
    if "levels" in chosen:
        try:
            chosen["levels"] = [int(level) for level in str(chosen["levels"]).split(",")]
        except ValueError as error:
            raise DataError(f"--levels {chosen['levels']} can't be read: expected some of 1,2,3") from error
    return chosen


def _settings(flags: Mapping[str, Any]) -> TrainSettings:
    if "steps" in flags and "epochs" in flags:
        raise DataError("--steps and --epochs contradict each other: give one of them")
    weights = choose_weights(str(flags.get("backbone", Architecture().backbone)), str(flags.get("weights", "auto")))
    flags = {**flags, "weights": weights}
    for key, choices in (("loss", get_args(Loss)), ("adaptor_start", get_args(AdaptorStart))):
        if flags.get(key) not in (None, *choices):
            raise DataError(f"unknown {_flag(key)} {flags[key]!r}: choose one of {', '.join(choices)}")
    return TrainSettings(**{field.name: flags[field.name] for field in fields(TrainSettings) if field.name in flags})


def _scoring(flags: Mapping[str, Any], *, paper: bool) -> Scoring:
    chosen = {key: flags[key] for key in ("top_k", "min_area") if key in flags}
    return Scoring.model_validate({"top_k": 1 if paper else TOP_K, **chosen})


def _preprocessing(size: str | None, resize: str | None) -> Preprocessing:
    crop = _pixels("--size", size or "224")
    return Preprocessing(resize=_pixels("--resize", resize) if resize else crop, crop=crop)


def _pixels(flag: str, text: str) -> tuple[int, int]:
    try:
        sides = [int(side) for side in text.lower().split("x")]
        height, width = sides * 2 if len(sides) == 1 else sides
    except ValueError as error:
        raise DataError(f"{flag} {text} can't be read: expected pixels as 224 or 224x320 (height x width)") from error
    return height, width


def _flag(key: str) -> str:
    return "--" + {"batch_images": "batch", "ema_decay": "ema"}.get(key, key).replace("_", "-")
