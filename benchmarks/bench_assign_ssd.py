"""assign_ssd against the usual loop over images and objects."""

import numpy as np
import pytest
import torch

from sightline import ops

IMAGES, OBJECTS = 16, 30


def default_boxes() -> torch.Tensor:
    """The 8,732 default boxes of SSD300, in pixels."""
    levels = []
    for side, cells in ((30, 38), (60, 19), (111, 10), (162, 5), (213, 3), (264, 1)):
        ticks = (np.arange(cells) + 0.5) * 300 / cells
        centre = np.stack(np.meshgrid(ticks, ticks), -1).reshape(-1, 1, 2)
        ratios = [1, 1.4, 2, 0.5] if cells in (38, 3, 1) else [1, 1.4, 2, 0.5, 3, 1 / 3]
        half = side / 2 * np.array([[ratio**0.5, ratio**-0.5] for ratio in ratios])
        levels.append(np.concatenate([centre - half, centre + half], 2).reshape(-1, 4))
    return torch.from_numpy(np.concatenate(levels).astype(np.float32))


def loop(anchors: torch.Tensor, gt_boxes: torch.Tensor, threshold: float = 0.5) -> torch.Tensor:
    images = []
    for boxes in gt_boxes:
        iou = ops.box_iou(boxes, anchors)
        best, index = iou.max(0)
        index[best < threshold] = -1
        for _ in boxes:
            anchor, g = divmod(int(iou.T.reshape(-1).argmax()), len(boxes))
            if iou[g, anchor] <= 0:
                break
            index[anchor] = g
            iou[g], iou[:, anchor] = 0, 0
        images.append(index)
    return torch.stack(images)


def kernel(anchors: torch.Tensor, gt_boxes: torch.Tensor) -> torch.Tensor:
    return ops.assign_ssd(anchors, gt_boxes)


@pytest.mark.parametrize("contender", [kernel, loop])
def test_assign_ssd(benchmark, contender):
    rng = np.random.default_rng(0)
    corner = rng.uniform(0, 280, (IMAGES, OBJECTS, 2))
    boxes = np.concatenate([corner, np.minimum(corner + rng.uniform(4, 120, corner.shape), 300)], 2)
    anchors, gt_boxes = default_boxes(), torch.from_numpy(boxes.astype(np.float32))
    assert torch.equal(kernel(anchors, gt_boxes), loop(anchors, gt_boxes))
    benchmark.group = f"assign_ssd, {IMAGES} images, {len(anchors):,} anchors x {OBJECTS} objects"
    benchmark(contender, anchors, gt_boxes)
