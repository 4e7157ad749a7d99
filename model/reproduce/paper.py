"""What the paper reports, as data: Liu, Zhou, Xu, Wang, "SimpleNet", CVPR 2023, arXiv 2303.15140.

Every figure here was read in a public transcription of the paper's tables, not measured by us; None is one that could
not be read anywhere, and is never guessed. The transcription (`SOURCE`) states for Table 1 that the column means agree
with the paper's own, and so they do; single figures of it are confirmed elsewhere (carpet: issue 6 of
blaz-r/SuperSimpleNet; the mean: the paper's abstract).
"""

from dataclasses import dataclass

SOURCE = (
    "github.com/TUK-AI-HC-LAB/lab-eunseoeunseoo @3611d8d, method6_simplenet/source/result/README.md (Table 1) and "
    "method6_simplenet/markdown (Tables 2 to 5, Figures 4 to 6); "
    "their reading of the paper's PDF"
)


@dataclass(frozen=True)
class Auroc:
    """One cell of a table, in percent. None: not known to us.

    Attributes:
        image: AUROC of whole pictures.
        pixel: AUROC of pixels.
    """

    image: float | None = None
    pixel: float | None = None


MVTEC: dict[str, Auroc] = {
    "carpet": Auroc(99.7, 98.2),
    "grid": Auroc(99.7, 98.8),
    "leather": Auroc(100.0, 99.2),
    "tile": Auroc(99.8, 97.0),
    "wood": Auroc(100.0, 94.5),
    "bottle": Auroc(100.0, 98.0),
    "cable": Auroc(99.9, 97.6),
    "capsule": Auroc(97.7, 98.9),
    "hazelnut": Auroc(100.0, 97.9),
    "metal_nut": Auroc(100.0, 98.8),
    "pill": Auroc(99.0, 98.6),
    "screw": Auroc(98.2, 99.3),
    "toothbrush": Auroc(99.7, 98.5),
    "transistor": Auroc(100.0, 97.6),
    "zipper": Auroc(99.9, 98.9),
}
"""Table 1, by category, in the paper's order."""

MVTEC_MEAN = Auroc(99.6, 98.1)
"""Table 1's last row, over all fifteen categories."""

LEVELS: dict[tuple[int, ...], Auroc] = {
    (1,): Auroc(),
    (2,): Auroc(),
    (3,): Auroc(99.2, 97.5),
    (1, 2): Auroc(),
    (2, 3): Auroc(99.6, 98.1),
    (1, 2, 3): Auroc(99.1, 98.1),
}
"""Table 2, by levels of the backbone, mean of the fifteen categories."""

NO_ADAPTOR, COMPLEX_ADAPTOR = Auroc(99.2, 97.9), Auroc(98.3, 97.2)
CROSS_ENTROPY, SIMPLENET = Auroc(99.4, 97.8), Auroc(99.6, 98.1)
"""Table 3, mean of the fifteen categories."""

BACKBONES: dict[str, Auroc] = {
    "resnet18": Auroc(98.3, 95.7),
    "resnet50": Auroc(99.6, 98.0),
    "resnet101": Auroc(99.2, 97.6),
    "wide_resnet50_2": Auroc(99.6, 98.1),
}
"""Table 4, mean of the fifteen categories."""

CIFAR10_MEAN = 86.5
"""Table 5: image AUROC on CIFAR-10, mean of the ten classes; single classes are not known to us."""

BEST_SIGMA, BEST_PATCH_SIZE = 0.015, 3
"""What Figures 5 and 6 find best, in the words of the text; their curves could not be read."""

FIGURES: dict[str, str] = {
    "figure4": "the features' standard deviation along each dimension, before and after the adaptor",
    "figure5": "AUROC by the scale of the noise; best near sigma 0.015",
    "figure6": "AUROC by the size of the neighbourhood; best at 3",
    "figure7": "not known to us; here: how the training converges",
    "figure8": "anomaly maps of defects (by the file name in one reader's notes)",
}
"""What each figure shows."""
