"""How a head is trained, as numbers."""

import math
from dataclasses import asdict, dataclass, replace
from typing import Literal

PAPER_SIGMA = 0.015
PAPER_EPOCHS = 160
# Shares of the features' spread: for random weights chosen on drawn parts (`producers.parts`), for learnt ones on every
# second test picture, by name, of a set whose other half is what we report.
RELATIVE_SIGMA = 0.4
RELATIVE_SIGMA_RANDOM = 0.2  # random features fill their space more evenly

Loss = Literal["truncated_l1", "cross_entropy"]
AdaptorStart = Literal["identity", "xavier"]


@dataclass(frozen=True)
class TrainSettings:
    """The defaults are ours; `paper()` is section 4.3 of the paper.

    Attributes:
        weights: of the backbone, as `build_backbone` takes them.
        sigma: standard deviation of the anomalous features' noise; None takes a fixed share of the features' spread.
        loss: `truncated_l1` (Eq. 7) or `cross_entropy`.
        steps: optimiser steps.
        positions: feature positions a step, drawn over the whole cache; 0 draws `batch_images` whole pictures.
        batch_images: pictures a step when `positions` is 0.
        learning_rate_adaptor: of Adam.
        learning_rate_discriminator: of Adam.
        weight_decay: of Adam.
        th: truncation of the loss.
        adaptor_start: `identity` lets a linear adaptor begin as no adaptor at all; `xavier` draws it, as the authors'
            public code does (the paper is silent). A drawn one mixes the features at random first, and the luck of that
            draw stays in the result.
        ema_decay: of the moving average of the weights that is kept, reached from below as steps go by (see
            `moving_average`); 0 keeps the last iterate.
        holdout: share of the good pictures kept for the threshold alone.
        seed: of the split, the head's start, the positions and the noise; and of random backbone weights.
    """

    weights: str = "random"
    sigma: float | None = None
    loss: Loss = "truncated_l1"
    steps: int = 1600
    positions: int = 1024
    batch_images: int = 4
    learning_rate_adaptor: float = 1e-4
    learning_rate_discriminator: float = 2e-4
    weight_decay: float = 1e-5
    th: float = 0.5
    adaptor_start: AdaptorStart = "identity"
    ema_decay: float = 0.995
    holdout: float = 0.2
    seed: int = 0

    def paper(self, training_images: int) -> "TrainSettings":
        """Section 4.3: 160 epochs of batches of four pictures, sigma 0.015, the last weights kept."""
        steps = PAPER_EPOCHS * math.ceil(training_images / 4)
        return replace(
            self,
            sigma=PAPER_SIGMA,
            steps=steps,
            positions=0,
            batch_images=4,
            learning_rate_adaptor=1e-4,
            learning_rate_discriminator=2e-4,
            adaptor_start="xavier",
            ema_decay=0.0,
        )

    def resolved(self, feature_spread: float) -> "TrainSettings":
        """With sigma as a number."""
        if self.sigma is not None:
            return self
        share = RELATIVE_SIGMA_RANDOM if self.weights == "random" else RELATIVE_SIGMA
        return replace(self, sigma=share * feature_spread)

    def provenance(self) -> dict[str, str | int | float | bool | None]:
        """The settings as a flat record for the manifest."""
        return asdict(self)
