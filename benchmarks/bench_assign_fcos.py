"""assign_fcos against the tensor program over the matrix points x objects of each image."""

import math

import numpy as np
import pytest
import torch

from sightline import ops

STRIDES = [8, 16, 32, 64, 128]
RANGES = [(0, 64), (64, 128), (128, 256), (256, 512), (512, math.inf)]
SIZE, IMAGES = 640, 16


def pyramid() -> list[torch.Tensor]:
    levels = []
    for stride in STRIDES:
        ticks = np.arange(stride / 2, SIZE, stride)
        grid = np.stack(np.meshgrid(ticks, ticks), -1).reshape(-1, 2)
        levels.append(torch.from_numpy(grid.astype(np.float32)))
    return levels


def tensor_program(points: list[torch.Tensor], gt_boxes: torch.Tensor) -> torch.Tensor:
    counts = torch.tensor([len(level) for level in points])
    low, high = (torch.tensor(ends).repeat_interleave(counts) for ends in zip(*RANGES))
    radius = 1.5 * torch.tensor(STRIDES).repeat_interleave(counts)
    xy = torch.cat(points)[:, None]
    images = []
    for boxes in gt_boxes:
        sides = torch.cat([xy - boxes[:, :2], boxes[:, 2:] - xy], 2)
        from_centre = (xy - (boxes[:, :2] + boxes[:, 2:]) / 2).abs().amax(2)
        farthest = sides.amax(2)
        takes = (sides.amin(2) > 0) & (from_centre < radius[:, None])
        takes &= (farthest >= low[:, None]) & (farthest <= high[:, None])
        area = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
        least, index = torch.where(takes, area, math.inf).min(1)
        images.append(torch.where(least < math.inf, index, -1))
    return torch.stack(images)


def kernel(points: list[torch.Tensor], gt_boxes: torch.Tensor) -> torch.Tensor:
    return ops.assign_fcos(points, gt_boxes, strides=STRIDES)


@pytest.mark.parametrize("contender", [kernel, tensor_program])
@pytest.mark.parametrize("objects", [30, 300])
def test_assign_fcos(benchmark, objects, contender):
    rng = np.random.default_rng(0)
    corner = rng.uniform(0, SIZE - 40, (IMAGES, objects, 2))
    boxes = np.concatenate([corner, corner + rng.uniform(4, 200, corner.shape)], 2)
    points, gt_boxes = pyramid(), torch.from_numpy(boxes.astype(np.float32))
    assert torch.equal(kernel(points, gt_boxes), tensor_program(points, gt_boxes))
    benchmark.group = f"assign_fcos, {IMAGES} images, 8,525 points x {objects} objects"
    benchmark(contender, points, gt_boxes)
