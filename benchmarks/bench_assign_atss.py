"""assign_atss against the same rule in tensor operations over the whole matrix, image by image."""

import pytest
import torch

from sightline import ops

TOP_K = 9
STRIDES = (8, 16, 32)
SIDE = 640


def pyramid() -> list[torch.Tensor]:
    """8,400 square anchors of 8 strides on the cells of 640 x 640 pixels."""
    levels = []
    for stride in STRIDES:
        centre = (torch.arange(SIDE // stride) + 0.5) * stride
        y, x = torch.meshgrid(centre, centre, indexing="ij")
        centres, half = torch.stack([x, y], -1).reshape(-1, 2), 4 * stride
        levels.append(torch.cat([centres - half, centres + half], 1))
    return levels


def objects(images: int, count: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    centre = SIDE * torch.rand(images, count, 2, generator=generator)
    half = (3 + 2.2 * torch.randn(images, count, 2, generator=generator)).clamp(1.5, 5.5).exp2() * 2
    return torch.cat([centre - half, centre + half], 2).clamp(0, SIDE)


def tensor_program(levels: list[torch.Tensor], gt_boxes: torch.Tensor) -> torch.Tensor:
    """Over matrices [anchors, objects] of one image after another, as the authors' code."""
    anchors = torch.cat(levels)
    sizes = [len(level) for level in levels]
    centres = (anchors[:, :2] + anchors[:, 2:]) / 2
    out = []
    for boxes in gt_boxes:
        iou = ops.box_iou(anchors, boxes)
        gap = centres[:, None] - ((boxes[:, :2] + boxes[:, 2:]) / 2)[None]
        distance = gap.square().sum(-1)
        chosen, start = [], 0
        for size in sizes:
            level = distance[start : start + size]
            chosen.append(start + level.topk(min(TOP_K, size), 0, largest=False).indices)
            start += size
        candidates = torch.cat(chosen)  # [candidates, objects]
        overlaps = iou.gather(0, candidates).double()
        threshold = overlaps.mean(0) + overlaps.std(0)
        to_border = torch.cat(
            [centres[candidates] - boxes[:, :2], boxes[:, 2:] - centres[candidates]], -1
        )
        positive = (overlaps >= threshold) & (overlaps > 0) & (to_border.amin(-1) > 0)
        wanted = torch.zeros_like(iou)
        wanted.scatter_(0, candidates, torch.where(positive, iou.gather(0, candidates), 0))
        best, index = wanted.max(1)
        out.append(torch.where(best > 0, index, -1))
    return torch.stack(out)


def kernel(levels: list[torch.Tensor], gt_boxes: torch.Tensor) -> torch.Tensor:
    return ops.assign_atss(levels, gt_boxes, top_k=TOP_K)


@pytest.mark.parametrize("contender", ["kernel", "tensor_program"])
@pytest.mark.parametrize("count", [30, 300])
def test_assign_atss(benchmark, count, contender):
    levels, gt_boxes = pyramid(), objects(16, count)
    # topk leaves open which of equally far anchors it takes: nearly all are equal.
    same = kernel(levels, gt_boxes) == tensor_program(levels, gt_boxes)
    assert same.double().mean() > 0.9999
    benchmark.group = f"assign_atss, 16 images x {same.shape[1]} anchors x {count} objects"
    benchmark.extra_info["bytes"] = 16 * same.shape[1] + 16 * gt_boxes[..., 0].numel()
    contenders = {"kernel": kernel, "tensor_program": tensor_program}
    benchmark(contenders[contender], levels, gt_boxes)
