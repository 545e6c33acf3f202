"""IoU matrices and losses against the tensor programs that they replace."""

import pytest
import torch

from sightline import ops


def tensor_program(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """box_iou as a program of tensor operations, the way torchvision 0.29 writes it."""
    area_a = (a[:, 2] - a[:, 0]) * (a[:, 3] - a[:, 1])
    area_b = (b[:, 2] - b[:, 0]) * (b[:, 3] - b[:, 1])
    low = torch.max(a[:, None, :2], b[:, :2])
    high = torch.min(a[:, None, 2:], b[:, 2:])
    sides = (high - low).clamp(min=0)
    intersection = sides[:, :, 0] * sides[:, :, 1]
    return intersection / (area_a[:, None] + area_b - intersection)


@pytest.mark.parametrize(("n", "m"), [(100, 8_400), (1_000, 8_400)])
@pytest.mark.parametrize("contender", ["kernel", "kernel_out", "tensor_program"])
def test_box_iou(benchmark, random_boxes, contender, n, m):
    a, b = torch.from_numpy(random_boxes(n)), torch.from_numpy(random_boxes(m, seed=1))
    out = torch.empty(n, m)
    assert torch.equal(ops.box_iou(a, b), tensor_program(a, b))
    contenders = {
        "kernel": lambda: ops.box_iou(a, b),
        "kernel_out": lambda: ops.box_iou(a, b, out=out),
        "tensor_program": lambda: tensor_program(a, b),
    }
    benchmark.group = f"box_iou {n} x {m}"
    benchmark.extra_info["bytes"] = 4 * n * m + 16 * (n + m)
    benchmark(contenders[contender])


@pytest.mark.parametrize(
    "name", ["box_ioa", "generalized_box_iou", "distance_box_iou", "complete_box_iou"]
)
def test_other_forms(benchmark, random_boxes, name):
    a, b = torch.from_numpy(random_boxes(1_000)), torch.from_numpy(random_boxes(8_400, seed=1))
    out = torch.empty(1_000, 8_400)
    benchmark.group = "other forms, 1,000 x 8,400, into a given output"
    benchmark(getattr(ops, name), a, b, out=out)


@pytest.mark.parametrize(
    "name", ["generalized_box_iou_loss", "distance_box_iou_loss", "complete_box_iou_loss"]
)
def test_loss_forward_and_backward(benchmark, random_boxes, name):
    a = torch.from_numpy(random_boxes(100_000)).requires_grad_()
    b = torch.from_numpy(random_boxes(100_000, seed=1))

    def step():
        a.grad = None
        getattr(ops, name)(a, b, "sum").backward()

    benchmark.group = "losses with gradient, 100,000 pairs"
    benchmark(step)
