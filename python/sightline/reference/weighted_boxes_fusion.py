"""Weighted boxes fusion in plain NumPy: the specification of the kernel.

IoUs are computed in float64 where boxes or scores are, otherwise in float32; sums and scores in
float64, one number after the other (`sum` of Python 3.12 and later corrects its rounding errors),
and rounded to that type at the end.
"""

from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from .iou import box_iou

Floats = NDArray[np.floating]
Integers = NDArray[np.int64]


def _sum(numbers: Iterable[float]) -> float:
    total = 0.0
    for number in numbers:
        total += number
    return total


def weighted_boxes_fusion(
    boxes: Sequence[Floats],
    scores: Sequence[Floats],
    labels: Sequence[Integers],
    *,
    weights: Sequence[float] | None = None,
    iou_threshold: float = 0.55,
    score_threshold: float = 0.0,
    conf_type: str = "avg",
    allows_overflow: bool = False,
) -> tuple[Floats, Floats, Integers]:
    """Boxes [K, 4], scores [K] and labels [K] fused from those of every model, best first."""
    dtype = np.result_type(np.float32, *(a.dtype for a in (*boxes, *scores) if a.dtype.kind == "f"))
    weights = [1.0] * len(boxes) if weights is None else [float(w) for w in weights]
    box = np.concatenate([b.astype(dtype) for b in boxes])
    score = np.concatenate([s.astype(dtype) for s in scores])
    label = np.concatenate([np.asarray(one, np.int64) for one in labels])
    model = np.repeat(np.arange(len(boxes)), [len(b) for b in boxes])

    with np.errstate(all="ignore"):
        weighted = score.astype(np.float64) * np.array(weights)[model]
        usable = box_iou(box, box).diagonal() > 0  # finite and with an area
    usable = usable & np.isfinite(score) & (score >= dtype.type(score_threshold))
    means: dict[int, Floats] = {}  # by the first member of the cluster
    members: dict[int, list[int]] = {}
    for i in np.argsort(-weighted, kind="stable"):
        if not usable[i]:
            continue
        rivals = [f for f in means if label[f] == label[i]]
        iou = box_iou(np.array([means[f] for f in rivals]).reshape(-1, 4), box[i : i + 1])[:, 0]
        if len(rivals) == 0 or not iou.max() > dtype.type(iou_threshold):
            means[i], members[i] = box[i], [i]
            continue
        founder = rivals[int(np.argmax(iou))]
        members[founder].append(i)
        own = members[founder]
        total = _sum(weighted[own].tolist())
        if total > 0:
            sums = np.zeros(4)
            for m in own:
                sums += weighted[m] * box[m].astype(np.float64)
            means[founder] = (sums / total).astype(dtype)

    def fused_score(own: list[int]) -> float:
        total, count = _sum(weighted[own].tolist()), len(own)
        models = set(model[own].tolist())
        weight = _sum(weights[model[m]] for m in own)
        present = _sum(w for m, w in enumerate(weights) if m in models)
        absent = _sum(w for m, w in enumerate(weights) if m not in models)
        if conf_type == "max":
            return float(weighted[own].max()) / max(weights)
        if conf_type == "box_and_model_avg":
            return total / weight * present / _sum(weights) if weight > 0 else 0.0
        if conf_type == "absent_model_aware_avg":
            return total / (weight + absent)
        counted = count if allows_overflow else min(len(weights), count)
        return total / count * counted / _sum(weights)

    founders = sorted(means)
    fused = np.array([fused_score(members[f]) for f in founders], dtype)
    order = np.argsort(-fused, kind="stable")
    out = np.array([means[f] for f in founders], dtype).reshape(-1, 4)
    return out[order], fused[order], label[np.array(founders, np.int64)][order]
