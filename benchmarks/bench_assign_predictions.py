"""assign_task_aligned and assign_sim_ota against the same rules over the whole matrix in torch."""

import pytest
import torch

from sightline import ops

STRIDES = (8, 16, 32)
SIDE, CLASSES = 640, 80
Case = tuple[torch.Tensor, ...]


def case(images: int, count: int) -> Case:
    """Scores, boxes, points, strides, objects and labels; 8,400 anchors per image."""
    generator = torch.Generator().manual_seed(0)
    points, strides = [], []
    for stride in STRIDES:
        centre = (torch.arange(SIDE // stride) + 0.5) * stride
        y, x = torch.meshgrid(centre, centre, indexing="ij")
        points.append(torch.stack([x, y], -1).reshape(-1, 2))
        strides.append(torch.full((len(points[-1]),), float(stride)))
    xy, cell = torch.cat(points), torch.cat(strides)
    scores = torch.rand(images, len(xy), CLASSES, generator=generator) / 2
    sides = 8 * cell[:, None] * torch.rand(images, len(xy), 4, generator=generator)
    boxes = torch.cat([xy - sides[..., :2], xy + sides[..., 2:]], -1)
    centre = SIDE * torch.rand(images, count, 2, generator=generator)
    half = 4 * torch.exp(3.4 * torch.rand(images, count, 2, generator=generator))
    gt_boxes = torch.cat([centre - half, centre + half], -1).clamp(0, SIDE)
    labels = torch.randint(CLASSES, (images, count), generator=generator)
    return scores, boxes, xy, cell, gt_boxes, labels


def task_aligned(scores, boxes, points, _strides, gt_boxes, labels) -> torch.Tensor:
    return ops.assign_task_aligned(scores, boxes, points, gt_boxes, labels).index


def task_aligned_program(scores, boxes, points, _strides, gt_boxes, labels) -> torch.Tensor:
    """Matrices [images, objects, anchors], all images at once."""
    iou = ops.box_iou(gt_boxes, boxes)
    to_border = torch.cat([points - gt_boxes[..., None, :2], gt_boxes[..., None, 2:] - points], -1)
    own = scores[torch.arange(len(scores))[:, None], :, labels]
    metric = own * iou.pow(6) * (to_border.amin(-1) > 0)
    best, chosen = metric.topk(13)
    asked = torch.zeros_like(iou, dtype=torch.bool).scatter_(-1, chosen, best > 0)
    overlap, index = torch.where(asked, iou, -1).max(1)
    return torch.where(overlap > 0, index, -1)


def sim_ota(*arguments: torch.Tensor) -> torch.Tensor:
    return ops.assign_sim_ota(*arguments).index


def sim_ota_program(scores, boxes, points, strides, gt_boxes, labels) -> torch.Tensor:
    """One image after another, matrices [anchors, objects, classes], as the authors' code."""
    out = []
    for b, objects in enumerate(gt_boxes):
        to_border = torch.cat(
            [points[:, None] - objects[:, :2], objects[:, 2:] - points[:, None]], 2
        )
        inside = to_border.amin(2) > 0
        centres = (objects[:, :2] + objects[:, 2:]) / 2
        near = ((points[:, None] - centres).abs() < 2.5 * strides[:, None, None]).all(2)
        valid = (inside | near).any(1)
        iou = ops.box_iou(boxes[b][valid], objects)
        onehot = torch.nn.functional.one_hot(labels[b], scores.shape[2]).float()
        probabilities = scores[b][valid][:, None].expand(-1, len(objects), -1)
        cost = torch.nn.functional.binary_cross_entropy(
            probabilities, onehot[None].expand_as(probabilities), reduction="none"
        ).sum(2)
        cost = cost - 3 * (iou + 1e-7).log() + 1e5 * ~(inside & near)[valid]
        wanted = iou.topk(min(10, len(iou)), 0).values.sum(0).int().clamp(1)
        asked = torch.zeros_like(iou, dtype=torch.bool)
        for g, k in enumerate(wanted.tolist()):
            asked[cost[:, g].topk(k, largest=False).indices, g] = True
        least, index = torch.where(asked, cost, torch.inf).min(1)
        found = torch.full((len(points),), -1)
        found[valid] = torch.where(least < torch.inf, index, -1)
        out.append(found)
    return torch.stack(out)


CONTENDERS = {
    "assign_task_aligned": {"kernel": task_aligned, "tensor_program": task_aligned_program},
    "assign_sim_ota": {"kernel": sim_ota, "tensor_program": sim_ota_program},
}


@pytest.mark.parametrize("contender", ["kernel", "tensor_program"])
@pytest.mark.parametrize("op", CONTENDERS)
@pytest.mark.parametrize(("images", "count"), [(16, 30), (16, 300), (2, 300)])
def test_assign_predictions(benchmark, op, images, count, contender):
    if op == "assign_sim_ota" and images * count > 1000:
        pytest.skip("the tensor program takes minutes")
    arguments = case(images, count)
    contenders = CONTENDERS[op]
    # Rounding decides between nearly equal metrics and costs: nearly all anchors are the same.
    same = contenders["kernel"](*arguments) == contenders["tensor_program"](*arguments)
    assert same.double().mean() > 0.999
    benchmark.group = f"{op}, {images} images x {same.shape[1]} anchors x {count} objects"
    benchmark.extra_info["bytes"] = sum(value.numel() * value.itemsize for value in arguments)
    benchmark(contenders[contender], *arguments)
