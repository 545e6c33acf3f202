"""Whether a detector is right as often as its scores say."""

from typing import Any

import numpy as np

from sightline.metrics import Calibration
from sightline.report.figure import COLORS, INK, count_axis, label, legend, new_figure

__all__ = ["draw_reliability"]


def draw_reliability(calibration: Calibration) -> Any:
    """Share of true positives by score, and the number of detections, for all classes together."""
    figure, (left, right) = new_figure(10.4, 4.2, columns=2)
    pooled = calibration.pooled
    begin, width = pooled.edges[:-1], np.diff(pooled.edges)
    bars = {"width": 0.92 * width, "align": "center"}
    middle = begin + width / 2
    left.bar(middle, np.nan_to_num(pooled.precision), color=COLORS[0], label="precision", **bars)
    ends = (begin + 0.04 * width, begin + 0.96 * width)
    left.hlines(pooled.mean_score, *ends, color=COLORS[1], linewidth=2.4, label="mean score")
    left.plot(
        [0, 1], [0, 1], color=INK, linewidth=1, linestyle=(0, (4, 3)), label="perfect calibration"
    )
    left.set_xlim(0, 1)
    left.set_ylim(0, 1)
    text = f"{calibration.iou_threshold:.2f}".strip("0")
    label(
        left,
        f"Expected calibration error {calibration.expected_error:.3f}, largest "
        f"{calibration.maximum_error:.3f}",
        "score",
        f"share of true positives at IoU {text}",
    )
    legend(left, loc="upper center", bbox_to_anchor=(0.5, -0.14), ncols=3)
    right.bar(middle, pooled.count, color=COLORS[7], **bars)
    right.set_xlim(0, 1)
    if pooled.count.max(initial=0) > 50 * max(1, np.median(pooled.count)):
        right.set_yscale("log")
        right.set_ylim(bottom=0.8)  # so that a bar of one detection is visible
        right.yaxis.set_major_formatter("{x:,.0f}")
        scale = ", logarithmic"
    else:
        count_axis(right.yaxis)
        scale = ""
    total = int(pooled.count.sum())
    title = f"{total:,} detection{'' if total == 1 else 's'} by score"
    label(right, title, "score", f"detections{scale}")
    return figure
