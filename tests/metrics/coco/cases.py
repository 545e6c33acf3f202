"""Small COCO data sets that probe the protocol's corners, and pycocotools' own answer to them."""

import contextlib
import copy
import importlib
import io
import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np

AREAS = {"all": (0, 1e10), "small": (0, 1024), "medium": (1024, 9216), "large": (9216, 1e10)}
STATS = ("precision", "recall", "scores", "stats")


@contextlib.contextmanager
def id_zero_is_known() -> Iterator[None]:
    """Ignore the warning of annotations with id 0, which random cases contain on purpose."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=r".*annotations with id 0")
        yield


def draw_boxes(rng: np.random.Generator, n: int) -> np.ndarray:
    """Boxes xywh: whole numbers, one decimal, or any; some without an area."""
    kind = rng.integers(3)
    if kind == 0:
        return rng.integers(0, 9, (n, 4)).astype(np.float64)
    corner, sides = rng.uniform(0, 60, (n, 2)), rng.choice([10, 40, 120]) * rng.random((n, 2))
    boxes = np.concatenate([corner, sides], axis=1)
    return boxes if kind == 2 else boxes.round(1)


def draw_near(rng: np.random.Generator, boxes: np.ndarray) -> np.ndarray:
    """Boxes that overlap the given ones by shares of twentieths, shifted a little, or wholly."""
    near = boxes.copy()
    share = rng.integers(8, 21, len(boxes)) / 20
    axis = 2 + rng.integers(2, size=len(boxes))
    near[np.arange(len(boxes)), axis] *= share
    shifted = rng.random(len(boxes)) < 0.3
    near[shifted, :2] += rng.uniform(-3, 3, (int(shifted.sum()), 2))
    return near.round(1) if rng.random() < 0.5 else near


def draw_scores(rng: np.random.Generator, n: int) -> np.ndarray:
    kind = rng.integers(4)
    if kind == 0:
        return rng.random(n)
    if kind == 1:
        return np.zeros(n)
    return rng.random(n).round(kind - 1)


def draw_case(rng: np.random.Generator) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Ground truth and detections of a few images, as COCO's files hold them."""
    num_images, num_classes = rng.integers(1, 6), rng.integers(1, 4)
    image_ids = rng.choice(50, num_images, replace=False).tolist()
    class_ids = rng.choice(20, num_classes, replace=False).tolist()
    num_gt = int(rng.integers(0, 24)) if rng.random() < 0.9 else 0
    gt_boxes = draw_boxes(rng, num_gt)
    gt_images, gt_classes = rng.choice(image_ids, num_gt), rng.choice(class_ids, num_gt)
    area = gt_boxes[:, 2] * gt_boxes[:, 3]
    given = rng.random(num_gt) < 0.3  # an area that is not w * h, often the bound of a range
    area[given] = rng.choice([0, 1023.9, 1024, 1024.1, 9216, 1e10, 2e10], int(given.sum()))
    crowd = rng.random(num_gt) < rng.choice([0, 0.3])
    ids = np.arange(num_gt) + rng.choice([0, 1, 10**12])
    if rng.random() < 0.3:
        rng.shuffle(ids)
    annotations = [
        {
            "id": int(ids[i]),
            "image_id": int(gt_images[i]),
            "category_id": int(gt_classes[i]),
            "bbox": gt_boxes[i].tolist(),
            "area": float(area[i]),
            "iscrowd": int(crowd[i]),
            **({"ignore": 1} if rng.random() < 0.1 else {}),
        }
        for i in range(num_gt)
    ]
    copied = rng.integers(0, num_gt, int(rng.integers(0, 2 * num_gt + 1))) if num_gt else []
    other = int(rng.integers(0, 12)) if rng.random() < 0.9 else 0
    dt_boxes = np.concatenate([draw_near(rng, gt_boxes[copied]), draw_boxes(rng, other)])
    dt_images = np.append(gt_images[copied], rng.choice(image_ids, other)).astype(int)
    dt_classes = np.append(gt_classes[copied], rng.choice(class_ids, other)).astype(int)
    scores = draw_scores(rng, len(dt_boxes))
    found = [
        {
            "image_id": int(dt_images[i]),
            "category_id": int(dt_classes[i]),
            "bbox": dt_boxes[i].tolist(),
            "score": float(scores[i]),
        }
        for i in rng.permutation(len(dt_boxes))
    ]
    truth = {
        "info": {},
        "images": [{"id": i, "width": 200, "height": 200} for i in image_ids],
        "categories": [{"id": c, "name": f"class {c}"} for c in class_ids],
        "annotations": annotations,
    }
    return truth, found


def draw_settings(rng: np.random.Generator) -> dict[str, Any]:
    """Arguments of the reference, at most of one kind away from the protocol's own."""
    settings: dict[str, Any] = {"use_classes": bool(rng.random() < 0.8)}
    kind = rng.integers(5)
    if kind == 0:
        settings["max_detections"] = [(1, 2, 3), (100, 1, 3), (2, 5, 100), (1, 2, 1000)][
            rng.integers(4)
        ]
    elif kind == 1:
        settings["iou_thresholds"] = np.array([0.5, 0.75, 1.0])
        settings["recall_thresholds"] = np.linspace(0, 1, 11)
    elif kind == 2:
        settings["area_ranges"] = {"all": (0, 1e10), "medium": (20, 400.0)}
    return settings


def run_pycocotools(
    truth: dict[str, Any],
    found: list[dict[str, Any]],
    *,
    library: str = "pycocotools",
    iou_type: str = "bbox",
    use_classes: bool = True,
    iou_thresholds: np.ndarray | None = None,
    recall_thresholds: np.ndarray | None = None,
    area_ranges: dict[str, tuple[float, float]] | None = None,
    max_detections: tuple[int, ...] | None = None,
) -> dict[str, np.ndarray]:
    """Precision, recall, scores and stats of pycocotools, or of what takes its place."""
    COCO = importlib.import_module(f"{library}.coco").COCO
    COCOeval = importlib.import_module(f"{library}.cocoeval").COCOeval
    with contextlib.redirect_stdout(io.StringIO()), id_zero_is_known():
        gt = COCO()
        gt.dataset = copy.deepcopy(truth)
        gt.createIndex()
        dt = gt.loadRes(copy.deepcopy(found)) if found else COCO()
        evaluation = COCOeval(gt, dt, iou_type)
        params = evaluation.params
        params.useCats = int(use_classes)
        if iou_thresholds is not None:
            params.iouThrs = iou_thresholds
        if recall_thresholds is not None:
            params.recThrs = recall_thresholds
        if area_ranges is not None:
            params.areaRng = [list(ends) for ends in area_ranges.values()]
            params.areaRngLbl = list(area_ranges)
        if max_detections is not None:
            params.maxDets = list(max_detections)
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    arrays = {name: evaluation.eval[name] for name in STATS[:3]}
    return {**arrays, "stats": np.asarray(evaluation.stats)}
