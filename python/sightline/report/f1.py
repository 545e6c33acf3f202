"""F1 over the score threshold, one line per class."""

from typing import Any

import numpy as np

from sightline.metrics import DetectionResults
from sightline.metrics.detection.curves import ScoreCurve
from sightline.report.class_lines import ClassLine, draw_class_lines
from sightline.report.figure import label, new_figure

__all__ = ["draw_f1"]

# Points per line: more cannot be seen.
_MOST_POINTS = 1000


def draw_f1(result: DetectionResults, *, iou_threshold: float = 0.5) -> Any:
    """F1 over the score threshold, per class and for all classes together, as a figure.

    A dot marks the best threshold of each line, and the legend shows its F1.
    """
    figure, (ax,) = new_figure(7.4, 4.4)
    curves = result.score_curves(iou_threshold=iou_threshold)
    lines = [
        _line(result.class_names[k], curves.of_class(k))
        for k in range(len(result.class_names))
        if result.gt_count[k]
    ]
    pooled = _line("all classes", curves.pooled())
    draw_class_lines(ax, lines, "class  best F1", together=pooled, drawstyle="steps-pre")
    low, high = _score_range(lines)
    ax.set_xlim(low, high)
    ax.set_ylim(-0.02, 1.03)
    text = f"{iou_threshold:.2f}".strip("0")
    label(ax, f"F1 over the score threshold at IoU {text}", "score threshold", "F1")
    return figure


def _line(name: str, curve: ScoreCurve) -> ClassLine:
    best = curve.best()
    if not len(curve.scores):
        return ClassLine(name, [], [], best.f1)
    places = np.linspace(0, len(curve.scores) - 1, min(len(curve.scores), _MOST_POINTS))
    shown = np.unique(np.append(places.astype(int), int(np.argmax(curve.f1))))
    # in steps from each score down to the next; below the lowest one nothing changes
    x, y = curve.scores[shown][::-1], curve.f1[shown][::-1]
    if x[0] > 0:
        x, y = np.append(0.0, x), np.append(y[0], y)
    return ClassLine(name, x, y, best.f1, (best.threshold, best.f1))


def _score_range(lines: list[ClassLine]) -> tuple[float, float]:
    """0 to 1, or the range of finite scores where they are not probabilities."""
    scores = np.concatenate([[0.0, 1.0], *(line.x for line in lines)])
    scores = scores[np.isfinite(scores)]
    return float(scores.min()), float(scores.max())
