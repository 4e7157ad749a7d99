"""How well a bundle tells good from bad, on labelled pictures."""

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import roc_auc_score


def auroc(labels: NDArray[np.bool_], scores: NDArray[np.floating]) -> float | None:
    """Area under the ROC curve; None unless both labels occur and every score is finite.

    Args:
        labels: `(N,)`, true for anomalous.
        scores: `(N,)`, higher is more anomalous.
    """
    if labels.all() or not labels.any() or not np.isfinite(scores).all():
        return None
    return float(roc_auc_score(labels, scores))
