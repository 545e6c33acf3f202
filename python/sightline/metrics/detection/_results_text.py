"""Tables of a detection result, as text."""

from typing import TYPE_CHECKING

from sightline._text import shortened

if TYPE_CHECKING:  # results print these, so this file is imported by theirs
    from sightline.metrics.detection.results import DetectionResults


def voc_table(result: "DetectionResults") -> str:
    """AP of each class and their mean."""
    rows = [(shortened(row.name), row.ap) for row in result.per_class]
    rows.append(("mean over classes", result.ap))
    thresholds = ", ".join(f"{t:.2f}" for t in result.iou_thresholds)
    method = "11-point" if result.protocol == "voc2007" else "all-point"
    width = max(len(name) for name, _ in rows)
    lines = [f"{name:<{width}}  {ap:.4f}" for name, ap in rows]
    return "\n".join([f"{result.protocol} AP ({method}), IoU {thresholds}", *lines])


def class_table(result: "DetectionResults") -> str:
    """A line for each class; "-" where a number does not exist."""
    columns = ["objects", "detections", "AP", "AP50", "AP75", "AR"]
    rows = [
        [row.gt_count, row.dt_count, row.ap, row.ap50, row.ap75, row.ar] for row in result.per_class
    ]
    if result._evidence is not None:
        columns += ["F1", "at score"]
        points = result.best_f1().per_class
        rows = [[*row, point.f1, point.threshold] for row, point in zip(rows, points)]
    names = [shortened(name) for name in result.class_names]
    width = max([len("class"), *map(len, names)])
    lines = ["class".ljust(width) + "".join(f"{name:>12}" for name in columns)]
    for name, row in zip(names, rows):
        cells = (f"{x:,}" if isinstance(x, int) else f"{x:.4f}" for x in row)
        lines.append(name.ljust(width) + "".join(f"{c.replace('nan', '-'):>12}" for c in cells))
    return "\n".join(lines)
