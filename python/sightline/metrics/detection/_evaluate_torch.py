"""The evaluation of `evaluate.py` on tensors, on the device where they are; imports torch.

Every step keeps the order of the NumPy version, and the kernels give the same bits on CPU and CUDA.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor

import sightline.ops  # noqa: F401  registers torch.ops.sightline
from sightline.metrics.detection._device_images import DeviceColumns, DeviceImages
from sightline.metrics.detection._evidence import Evidence
from sightline.metrics.detection.evaluate import evaluate, exact_class_ap
from sightline.metrics.detection.kernels import NO_CAP, RULES
from sightline.metrics.detection.rows import FlatDetections, FlatTargets, Matched, Rules


@dataclass(frozen=True)
class TensorRows:
    """Detections or objects of all images, in the order that breaks ties within an image."""

    image: Tensor  # [N] int64, row of the image in the order that breaks ties between images
    label: Tensor  # [N] int64, row of the class
    boxes_xywh: Tensor  # [N, 4] float64


@dataclass(frozen=True)
class TensorArrays:
    """The arrays of `evaluate.EvaluatedArrays`, on the host."""

    precision: np.ndarray  # [T, R, K, A, M]
    recall: np.ndarray  # [T, K, A, M]
    scores: np.ndarray  # [T, R, K, A, M]
    class_ap: np.ndarray  # [T, K]
    gt_count: np.ndarray  # [K]
    dt_count: np.ndarray  # [K]


class TensorEvidence(Evidence):
    """Evidence whose rows are copied to the host, and matched there again, when first needed."""

    def __init__(self, rows: dict[str, Any], num_classes: int, use_classes: bool) -> None:
        vars(self).update(rows=rows, num_classes=num_classes, use_classes=use_classes)

    @cached_property
    def matched(self) -> Matched:  # type: ignore[override]
        rows = vars(self)["rows"]
        arrays = evaluate(
            FlatDetections(**_by_image(_to_host(rows["dt"]))),
            FlatTargets(**_by_image(_to_host(rows["gt"]))),
            self.num_classes,
            rows["rules"],
            num_images=rows["num_images"],
            use_classes=self.use_classes,
        )
        return arrays.matched


@torch.no_grad()
def evaluate_images(
    images: DeviceImages, rules: Rules, num_classes: int | None, *, use_classes: bool
) -> tuple[TensorArrays, Evidence, tuple[int, ...]]:
    """The arrays, their evidence and the class ids.

    Without `num_classes`, the classes are the labels that occur.
    """
    dt, gt = images.columns()
    place = {image_id: row for row, image_id in enumerate(sorted(images.ids))}
    places = torch.tensor([place[i] for i in images.ids], dtype=torch.int64, device=images.device)
    if num_classes is None:
        class_ids = torch.unique(torch.cat([dt.labels, gt.labels]))
    else:
        class_ids = torch.arange(num_classes, device=images.device)
    dt_rows, gt_rows = (_rows(side, places, class_ids) for side in (dt, gt))
    crowd, ignore = (flag != 0 for flag in gt.flags)
    num_images, num_classes = len(images.ids), len(class_ids)
    arrays = evaluate_tensors(
        dt_rows,
        dt.values,
        gt_rows,
        gt.values,
        crowd,
        ignore,
        rules,
        num_images=num_images,
        num_classes=num_classes,
        use_classes=use_classes,
    )
    rows = {
        "dt": vars(dt_rows) | {"scores": dt.values},
        "gt": vars(gt_rows) | {"area": gt.values, "crowd": crowd, "ignore": ignore},
        "rules": rules,
        "num_images": num_images,
    }
    evidence = TensorEvidence(rows, num_classes if use_classes else 1, use_classes)
    return arrays, evidence, tuple(class_ids.tolist())


def _rows(side: DeviceColumns, places: Tensor, class_ids: Tensor) -> TensorRows:
    counts = torch.tensor(side.counts, dtype=torch.int64, device=places.device)
    image = torch.repeat_interleave(places, counts, output_size=len(side.labels))
    return TensorRows(image, torch.searchsorted(class_ids, side.labels), side.boxes_xywh)


def _by_image(columns: dict[str, np.ndarray]) -> dict[str, Any]:
    """Rows in the form of the NumPy version."""
    order = np.argsort(columns["image"], kind="stable")
    return {name: column[order] for name, column in columns.items()}


def _to_host(columns: dict[str, Tensor]) -> dict[str, Any]:
    return {name: tensor.cpu().numpy() for name, tensor in columns.items()}


@torch.no_grad()
def evaluate_tensors(
    dt: TensorRows,
    scores: Tensor,  # [D] float64
    gt: TensorRows,
    gt_area: Tensor,  # [G] float64
    gt_crowd: Tensor,  # [G] bool
    gt_ignore: Tensor,  # [G] bool
    rules: Rules,
    *,
    num_images: int,
    num_classes: int,
    use_classes: bool = True,
) -> TensorArrays:
    """Lay out, match and accumulate on the tensors' device; the arrays are copied to the host.

    Waits for the device where a size depends on the data: the number of groups.
    """
    device = scores.device
    dt_class = dt.label if use_classes else torch.zeros_like(dt.label)
    gt_class = gt.label if use_classes else torch.zeros_like(gt.label)
    num_classes = num_classes if use_classes else 1
    worst_first = 0.0 - scores  # ascending is best first, NaN last; -0.0 and 0.0 are one score
    dt_key, gt_key = dt_class * num_images + dt.image, gt_class * num_images + gt.image

    # equal scores by label (where labels share a group), then as given
    tied = () if use_classes else (dt.label,)
    dt_order = _sorted_by(*tied, worst_first, dt_key)
    gt_order = _sorted_by(gt_key) if use_classes else _sorted_by(gt.label, gt_key)
    dt_key, gt_key = dt_key[dt_order], gt_key[gt_order]
    keys = torch.unique(torch.cat([dt_key, gt_key]))
    dt_offsets, gt_offsets = _offsets(dt_key, keys), _offsets(gt_key, keys)
    classes = torch.arange(num_classes + 1, device=device)
    class_groups = torch.searchsorted(keys, classes * num_images)

    caps = rules.max_detections or (max(1, len(scores)),)
    sorted_scores, rows = scores[dt_order], torch.arange(len(scores), device=device)
    outcome, group_count, _ = torch.ops.sightline.match_detections(
        dt.boxes_xywh[dt_order],
        rows,
        dt_offsets,
        gt.boxes_xywh[gt_order],
        gt_area[gt_order],
        gt_crowd[gt_order],
        gt_ignore[gt_order],
        gt_offsets,
        torch.tensor(rules.iou_thresholds, device=device),
        torch.tensor(rules.area_ranges, device=device),
        NO_CAP if rules.max_detections is None else max(caps),
        RULES.index(rules.matching),
        rules.inclusive,
        False,
    )
    totals = torch.nn.functional.pad(group_count.cumsum(1), (1, 0))
    gt_count = totals[:, class_groups[1:]] - totals[:, class_groups[:-1]]
    group_of_row = torch.searchsorted(keys, dt_key)
    class_rows = dt_offsets[class_groups]
    # stable: equal scores by image, then by place in the image
    class_order = _sorted_by(worst_first[dt_order], dt_class[dt_order])
    precision, recall, score_at = torch.ops.sightline.accumulate_precision(
        outcome,
        sorted_scores,
        class_order,
        rows - dt_offsets[group_of_row],
        class_rows,
        gt_count.contiguous(),
        torch.tensor(caps, dtype=torch.int64, device=device),
        torch.tensor(rules.recall_thresholds, device=device),
    )
    arrays = _to_host({"precision": precision, "recall": recall, "scores": score_at})
    positives = gt_count[0].cpu().numpy()
    if rules.average is None:
        # in the memory order in which the NumPy version takes its means
        sampled = np.ascontiguousarray(arrays["precision"][:, :, :, 0, -1].transpose(2, 0, 1))
        class_ap = np.where(positives == 0, np.nan, sampled.mean(axis=2).T)
    else:
        ranked = outcome[0][:, class_order].cpu().numpy()
        class_ap = exact_class_ap(ranked, class_rows.cpu().numpy(), positives, rules.average)
    dt_count = torch.bincount(dt_class, minlength=num_classes).cpu().numpy()
    return TensorArrays(**arrays, class_ap=class_ap, gt_count=positives, dt_count=dt_count)


def _sorted_by(*keys: Tensor) -> Tensor:
    """Rows sorted by the last key, then by the one before it, and so on; stable."""
    order = torch.argsort(keys[0], stable=True)
    for key in keys[1:]:
        order = order[torch.argsort(key[order], stable=True)]
    return order


def _offsets(sorted_keys: Tensor, keys: Tensor) -> Tensor:
    """Where each of `keys` begins among the sorted ones, and their number."""
    return torch.nn.functional.pad(
        torch.searchsorted(sorted_keys, keys), (0, 1), value=len(sorted_keys)
    )
