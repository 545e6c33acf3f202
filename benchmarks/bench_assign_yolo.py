"""assign_yolo against a loop over objects in Python, as training code writes it."""

import pytest
import torch

from sightline import ops

MAPS, STRIDES = [(52, 52), (26, 26), (13, 13)], [8, 16, 32]
SIDE = 416
SIZES = [
    [[10, 13], [16, 30], [33, 23]],
    [[30, 61], [62, 45], [59, 119]],
    [[116, 90], [156, 198], [373, 326]],
]


def objects(images: int, count: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    centre = SIDE * torch.rand(images, count, 2, generator=generator)
    half = (3 + torch.randn(images, count, 2, generator=generator)).exp2() * 2
    return torch.cat([centre - half, centre + half], 2)


def python_loop(gt_boxes: torch.Tensor, sizes: list[torch.Tensor]) -> torch.Tensor:
    """Rule "v3", one object after another; of two that want an anchor the higher shape IoU."""
    shapes = torch.cat(sizes)
    areas = shapes.prod(1)
    out = []
    for boxes in gt_boxes:
        index = [torch.full((h, w, len(k)), -1) for (h, w), k in zip(MAPS, sizes)]
        held = [torch.zeros(h, w, len(k)) for (h, w), k in zip(MAPS, sizes)]
        for g, box in enumerate(boxes):
            wh = box[2:] - box[:2]
            overlap = torch.minimum(wh, shapes).prod(1)
            iou = overlap / (wh.prod() + areas - overlap)
            best = int(iou.argmax())
            level, k = divmod(best, 3)
            x, y = (((box[:2] + box[2:]) / 2) / STRIDES[level]).long().tolist()
            if iou[best] > held[level][y, x, k]:
                index[level][y, x, k], held[level][y, x, k] = g, iou[best]
        out.append(torch.cat([level.flatten() for level in index]))
    return torch.stack(out)


def kernel(gt_boxes: torch.Tensor, sizes: list[torch.Tensor]) -> torch.Tensor:
    return ops.assign_yolo(gt_boxes, sizes, MAPS, STRIDES)


@pytest.mark.parametrize("contender", ["kernel", "python_loop"])
def test_assign_yolo(benchmark, contender):
    gt_boxes, sizes = objects(16, 30), [torch.tensor(level).float() for level in SIZES]
    index = kernel(gt_boxes, sizes)
    assert torch.equal(index, python_loop(gt_boxes, sizes))
    benchmark.group = f"assign_yolo, 16 images x {index.shape[1]} anchors x 30 objects"
    benchmark.extra_info["bytes"] = 8 * index.numel() + 4 * gt_boxes.numel()
    contenders = {"kernel": kernel, "python_loop": python_loop}
    benchmark(contenders[contender], gt_boxes, sizes)
