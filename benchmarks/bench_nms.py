"""NMS against the loop over tensors that one writes without a kernel."""

import numpy as np
import pytest
import torch

from sightline import ops


def clustered_boxes(n: int) -> np.ndarray:
    """[n, 4] float32 boxes around 60 objects, as a detector's anchors give them."""
    rng = np.random.default_rng(0)
    corner = rng.uniform(0, 1280, (60, 2))
    objects = np.concatenate([corner, corner + rng.uniform(20, 160, (60, 2))], 1)
    return (objects[rng.integers(0, 60, n)] + rng.normal(0, 6, (n, 4))).astype(np.float32)


def tensor_program(boxes: torch.Tensor, scores: torch.Tensor, threshold: float) -> torch.Tensor:
    """Greedy NMS as a loop of tensor operations over the boxes that are left."""
    order = scores.argsort(descending=True, stable=True)
    keep = []
    while len(order):
        best, order = order[0], order[1:]
        keep.append(best)
        order = order[ops.box_iou(boxes[best][None], boxes[order])[0] <= threshold]
    return torch.stack(keep)


@pytest.mark.parametrize("contender", ["kernel", "tensor_program"])
@pytest.mark.parametrize("n", [100, 1_000, 10_000])
@pytest.mark.parametrize("kind", ["sparse", "clustered"])
def test_nms(benchmark, random_boxes, kind, n, contender):
    boxes = torch.from_numpy(random_boxes(n) if kind == "sparse" else clustered_boxes(n))
    scores = torch.rand(n, generator=torch.Generator().manual_seed(0))
    keep = ops.nms(boxes, scores, 0.5)
    assert torch.equal(keep, tensor_program(boxes, scores, 0.5))
    benchmark.group = f"nms, {n} {kind} boxes"
    benchmark.extra_info["kept"] = len(keep)
    benchmark({"kernel": ops.nms, "tensor_program": tensor_program}[contender], boxes, scores, 0.5)


@pytest.mark.parametrize("contender", ["kernel", "loop_over_classes"])
def test_batched_nms(benchmark, random_boxes, contender):
    n, classes = 20_000, 80
    boxes = torch.from_numpy(random_boxes(n))
    generator = torch.Generator().manual_seed(0)
    scores = torch.rand(n, generator=generator)
    idxs = torch.randint(0, classes, (n,), generator=generator)

    def kernel():
        return ops.batched_nms(boxes, scores, idxs, 0.5)

    def loop_over_classes():
        kept = torch.zeros(n, dtype=torch.bool)
        for c in range(classes):
            (own,) = torch.where(idxs == c)
            kept[own[ops.nms(boxes[own], scores[own], 0.5)]] = True
        order = scores.argsort(descending=True, stable=True)
        return order[kept[order]]

    assert torch.equal(kernel(), loop_over_classes())
    benchmark.group = f"batched_nms, {n} boxes of {classes} classes"
    benchmark({"kernel": kernel, "loop_over_classes": loop_over_classes}[contender])


@pytest.mark.parametrize("contender", ["kernel", "candidates_and_batched_nms"])
@pytest.mark.parametrize("score_threshold", [0.01, 0.99])
def test_multiclass_nms(benchmark, random_boxes, score_threshold, contender):
    anchors, classes, detections = 8_400, 80, 100
    boxes = torch.from_numpy(random_boxes(anchors))
    scores = torch.rand(anchors, classes, generator=torch.Generator().manual_seed(0)) ** 2

    def kernel():
        found = ops.multiclass_nms(
            boxes[None],
            scores[None],
            score_threshold=score_threshold,
            iou_threshold=0.5,
            max_detections=detections,
        )
        return found.boxes[0], found.labels[0]

    def candidates_and_batched_nms():
        anchor, label = torch.where(scores > score_threshold)
        keep = ops.batched_nms(boxes[anchor], scores[anchor, label], label, 0.5)[:detections]
        return boxes[anchor[keep]], label[keep]

    for got, expected in zip(kernel(), candidates_and_batched_nms()):
        assert torch.equal(got, expected)
    benchmark.group = f"multiclass_nms, {anchors} x {classes} scores above {score_threshold}"
    benchmark.extra_info["candidates"] = int((scores > score_threshold).sum())
    contenders = {"kernel": kernel, "candidates_and_batched_nms": candidates_and_batched_nms}
    benchmark(contenders[contender])
