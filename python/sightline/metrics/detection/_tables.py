"""Tables of a detection result as text."""

from collections.abc import Sequence

import numpy as np

from sightline._text import shortened


def voc_table(
    protocol: str, iou_thresholds: np.ndarray, classes: Sequence[tuple[str, float]], mean: float
) -> str:
    """AP of each class and their mean."""
    rows = [*((shortened(name), ap) for name, ap in classes), ("mean over classes", mean)]
    thresholds = ", ".join(f"{t:.2f}" for t in iou_thresholds)
    method = "11-point" if protocol == "voc2007" else "all-point"
    width = max(len(name) for name, _ in rows)
    lines = [f"{name:<{width}}  {ap:.4f}" for name, ap in rows]
    return "\n".join([f"{protocol} AP ({method}), IoU {thresholds}", *lines])


def class_table(
    class_names: Sequence[str], columns: Sequence[str], rows: Sequence[Sequence[float]]
) -> str:
    """One line per class; "-" where a number does not exist."""
    names = [shortened(name) for name in class_names]
    width = max([len("class"), *map(len, names)])
    lines = ["class".ljust(width) + "".join(f"{name:>12}" for name in columns)]
    for name, row in zip(names, rows):
        cells = (f"{x:,}" if isinstance(x, int) else f"{x:.4f}" for x in row)
        lines.append(name.ljust(width) + "".join(f"{c.replace('nan', '-'):>12}" for c in cells))
    return "\n".join(lines)
