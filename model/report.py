"""An evaluation as one self-contained HTML page: figures, curves, and the pictures that a bundle gets wrong."""

import base64
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from jinja2 import Environment, PackageLoader
from sklearn.metrics import roc_curve

from model import charts, metrics
from model.bundle import Bundle
from model.dataset import read_image
from model.errors import DataError
from model.evaluation import Evaluation, Judged
from model.picture import overlay_of, to_bgr

GALLERY = 12
SIDE = 256  # pixels of a picture in the gallery
PAGE = "report.html"


def write_report(folder: Path, bundle: Bundle, evaluation: Evaluation, *, data: Path) -> Path:
    """Writes `report.html` into a folder and returns its path. It needs no other file and no network.

    Args:
        folder: made where it isn't there yet.
        bundle: that was evaluated.
        evaluation: what came of it.
        data: on what.

    Raises:
        DataError: the folder or the file can't be written.
    """
    environment = Environment(loader=PackageLoader("model", "."), autoescape=True)
    page = environment.get_template("report_template.html").render(
        bundle=bundle.label,
        manifest=bundle.manifest,
        data=data,
        evaluation=evaluation,
        figures=_figures(evaluation),
        charts={title: _inline(png, "png") for title, png in _charts(bundle, evaluation).items()},
        galleries=_galleries(bundle, evaluation),
    )
    try:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / PAGE).write_text(page, encoding="utf-8")
    except OSError as error:
        raise DataError(f"{folder / PAGE} can't be written: {error.strerror}") from error
    return folder / PAGE


def _figures(evaluation: Evaluation) -> list[tuple[str, str]]:
    plain = {
        "image AUROC": evaluation.image_auroc,
        "average precision": evaluation.average_precision,
        "best F1 of any threshold": evaluation.f1_max,
        "pixel AUROC, pooled": evaluation.pixel_auroc,
        "pixel AUROC, mean over types": evaluation.pixel_auroc_mean,
        **{f"pixel AUROC, {kind}": area for kind, area in evaluation.pixel_auroc_by_type.items()},
        "AUPRO (to 0.3)": evaluation.aupro,
    }
    rates = {"false-reject rate": evaluation.false_reject, "miss rate": evaluation.miss}
    rows = [(name, "-" if value is None else f"{value:.4f}") for name, value in plain.items()]
    return rows + [(f"{name} at the bundle's threshold", rate_text(rate)) for name, rate in rates.items()]


def rate_text(rate: metrics.Rate) -> str:
    """A rate for people: the share, the counts, and the 95 % interval."""
    if rate.value is None:
        return "-"
    return f"{rate.value:.1%} ({rate.failures} of {rate.trials}; 95 %: {rate.low:.1%} to {rate.high:.1%})"


def _charts(bundle: Bundle, evaluation: Evaluation) -> dict[str, bytes]:
    threshold = bundle.manifest.calibration.threshold
    labels, scores = evaluation.labels, np.array([one.score for one in evaluation.pictures])
    groups = {"good": scores[~labels].tolist(), "defective": scores[labels].tolist()}
    drawn = {"Scores": charts.score_histogram(groups, threshold=threshold)}
    rates = (evaluation.false_reject.value, evaluation.miss.value)
    if evaluation.image_auroc is not None and rates[0] is not None and rates[1] is not None:
        false_positive, true_positive, _ = roc_curve(labels, scores)
        here = (rates[0], 1 - rates[1])
        roc = {"ROC": (false_positive.tolist(), true_positive.tolist())}
        drawn["ROC"] = charts.curves(roc, x="false-reject rate", y="detection rate", mark=here)
        _, rejected, missed = metrics.error_curve(labels, scores)
        trade = {"every threshold": (rejected.tolist(), missed.tolist())}
        drawn["False rejects against misses"] = charts.curves(
            trade, x="false-reject rate", y="miss rate", mark=(rates[0], rates[1])
        )
    if evaluation.pro is not None:
        pro = {"PRO": (evaluation.pro[0].tolist(), evaluation.pro[1].tolist())}
        drawn["Per-region overlap"] = charts.curves(pro, x="false-positive rate of pixels", y="overlap")
    return drawn


def _galleries(bundle: Bundle, evaluation: Evaluation) -> list[tuple[str, list[tuple[str, str, str, str]]]]:
    """Title, and for each picture: caption, name, the picture, and with its heat map, as data URLs."""
    severity = bundle.manifest.calibration.severity
    missed = [one for one in evaluation.pictures if one.picture.defective and one.passed]
    rejected = [one for one in evaluation.pictures if not one.picture.defective and not one.passed]
    caught = [one for one in evaluation.pictures if one.picture.defective and not one.passed]
    chosen: list[tuple[str, Sequence[Judged]]] = [
        ("Worst misses: defective, and passed", sorted(missed, key=lambda one: one.score)),
        ("Worst false rejects: good, and failed", sorted(rejected, key=lambda one: -one.score)),
        ("Nearest catches: defective, and just failed", sorted(caught, key=lambda one: one.score)),
    ]
    return [
        (
            f"{title} ({len(ones)})",
            [(f"severity {severity(one.score):.2f}", one.name, *_pair(bundle, one)) for one in ones[:GALLERY]],
        )
        for title, ones in chosen
    ]


def _pair(bundle: Bundle, judged: Judged) -> tuple[str, str]:
    image = read_image(judged.picture.path)
    drawn = overlay_of(image, judged.inspection, bundle.manifest.calibration)
    return _thumbnail(to_bgr(image)), _thumbnail(drawn)


def _thumbnail(picture: np.ndarray) -> str:
    scale = SIDE / max(picture.shape[:2])
    size = (max(1, round(picture.shape[1] * scale)), max(1, round(picture.shape[0] * scale)))
    small = cv2.resize(picture, size, interpolation=cv2.INTER_AREA)
    return _inline(cv2.imencode(".jpg", small, [cv2.IMWRITE_JPEG_QUALITY, 88])[1].tobytes(), "jpeg")


def _inline(data: bytes, kind: str) -> str:
    return f"data:image/{kind};base64,{base64.b64encode(data).decode()}"
