"""match_anchors against the usual program: a loop over images, each over its matrix of IoUs."""

import numpy as np
import pytest
import torch

from sightline import ops

HIGH, LOW = 0.7, 0.3


def pyramid(width: int, height: int, strides, scales, ratios=(0.5, 1, 2)) -> torch.Tensor:
    """Anchors [A, 4], level by level, row by row, all of a cell together."""
    levels = []
    for stride in strides:
        x = np.arange(stride / 2, width, stride)
        centre = np.stack(np.meshgrid(x, np.arange(stride / 2, height, stride)), -1)
        half = [
            (stride * scale / 2 * ratio**-0.5, stride * scale / 2 * ratio**0.5)
            for ratio in ratios
            for scale in scales
        ]
        corners = centre.reshape(-1, 1, 2) + np.array(half) * np.array([[[-1]], [[1]]])[:, None]
        levels.append(np.concatenate(tuple(corners), -1).reshape(-1, 4))
    return torch.from_numpy(np.concatenate(levels).astype(np.float32))


def objects_within(images: int, objects: int, width: int, height: int) -> torch.Tensor:
    """[images, objects, 4], of sizes spread evenly over their logarithms."""
    rng = np.random.default_rng(0)
    side = np.exp(rng.uniform(np.log(12), np.log(min(width, height) / 2), (images, objects, 2)))
    corner = rng.uniform(0, 1, side.shape) * (np.array([width, height]) - side)
    return torch.from_numpy(np.concatenate([corner, corner + side], -1).astype(np.float32))


def box_iou(boxes1: torch.Tensor, boxes2: torch.Tensor) -> torch.Tensor:
    """As torchvision computes it: whole matrices in plain torch."""
    area1 = (boxes1[:, 2] - boxes1[:, 0]) * (boxes1[:, 3] - boxes1[:, 1])
    area2 = (boxes2[:, 2] - boxes2[:, 0]) * (boxes2[:, 3] - boxes2[:, 1])
    low = torch.max(boxes1[:, None, :2], boxes2[:, :2])
    high = torch.min(boxes1[:, None, 2:], boxes2[:, 2:])
    side = (high - low).clamp(min=0)
    inter = side[:, :, 0] * side[:, :, 1]
    return inter / (area1[:, None] + area2 - inter)


def tensor_program(anchors: torch.Tensor, gt_boxes: torch.Tensor) -> torch.Tensor:
    """The rule "torchvision" on the matrix [objects, anchors] of each image."""
    images = []
    for objects in gt_boxes:
        iou = box_iou(objects, anchors)
        best, best_object = iou.max(0)
        matches = torch.where(best < LOW, -1, torch.where(best < HIGH, -2, best_object))
        restored = torch.where(iou == iou.max(1, keepdim=True).values)[1]
        matches[restored] = best_object[restored]
        images.append(matches)
    return torch.stack(images)


def kernel(anchors: torch.Tensor, gt_boxes: torch.Tensor) -> torch.Tensor:
    return ops.match_anchors(
        anchors, gt_boxes, high_threshold=HIGH, low_threshold=LOW, rule="torchvision"
    )


CONTENDERS = {"kernel": kernel, "tensor_program": tensor_program}

# The anchors of an RPN at 800 x 1216 are 242,934; a tenth of them where the matrix of IoUs and its
# temporaries would take 5 GB.
RPN = {"width": 1216, "height": 800, "strides": (4, 8, 16, 32, 64), "scales": (8,)}
RETINA = {"width": 344, "height": 344, "strides": (8, 16, 32), "scales": (4, 5.04, 6.35)}
CASES = {
    "16 images, 21,699 anchors x 7 objects": (RETINA, 1, 16, 7, tuple(CONTENDERS)),
    "242,934 anchors x 500 objects": (RPN, 1, 1, 500, ("kernel",)),
    "every tenth of 242,934 anchors x 500 objects": (RPN, 10, 1, 500, tuple(CONTENDERS)),
}


@pytest.mark.parametrize(
    ("case", "contender"),
    [(case, contender) for case, settings in CASES.items() for contender in settings[-1]],
)
def test_match_anchors(benchmark, case, contender):
    grid, step, images, objects, contenders = CASES[case]
    anchors = pyramid(**grid)[::step].contiguous()
    gt_boxes = objects_within(images, objects, grid["width"], grid["height"])
    if len(contenders) > 1:
        assert torch.equal(kernel(anchors, gt_boxes), tensor_program(anchors, gt_boxes))
    benchmark.group = f"match_anchors, {case}"
    benchmark.extra_info["bytes"] = 16 * len(anchors) + images * (8 * len(anchors) + 16 * objects)
    benchmark(CONTENDERS[contender], anchors, gt_boxes)
