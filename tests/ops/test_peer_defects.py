"""What other libraries' box ops do wrong or refuse, beside what the tests of each op have.

There: shifted classes at negative and large coordinates, decimal thresholds, one bad coordinate,
NaN scores, 262,145 and 400,000 boxes (`test_nms`, `test_nms_hard_cases`); narrow integers, float16
areas, memory a pair (`test_iou_defects`); tiny and identical rotated boxes, their float64 results,
gradients, compilation and vmap (`test_iou_rotated`); objects that no anchor overlaps
(`test_matching`); NMS under vmap (`test_nms_padded`).
"""

import numpy as np
import pytest
import torch

from sightline import ops, reference

from .box_cases import random_boxes


def many_of_few_scores(n=6000):
    """Boxes, scores of which most are tied, and classes."""
    rng = np.random.default_rng(0)
    scores = rng.integers(0, 20, n) / np.float32(20)
    return random_boxes(rng, n), scores, rng.integers(0, 5, n)


def tensors(*arrays):
    return tuple(map(torch.from_numpy, arrays))


class Suppress(torch.nn.Module):
    def forward(self, boxes, scores, idxs):
        return boxes[ops.batched_nms(boxes, scores, idxs, 0.5)]


def test_batched_nms_of_many_boxes_compiles_and_exports_in_one_graph():
    # torchvision loops over the classes above 1,000 boxes, which no graph can hold.
    given = tensors(*many_of_few_scores())
    expected = Suppress()(*given)
    compiled = torch.compile(Suppress(), fullgraph=True, backend="aot_eager")
    assert torch.equal(compiled(*given), expected)
    assert torch.equal(torch.export.export(Suppress(), given).module()(*given), expected)


def test_batched_nms_of_many_boxes_keeps_ties_in_their_order():
    # torchvision's loop over classes ends with a sort that is not stable.
    boxes, scores, idxs = many_of_few_scores()
    keep = ops.batched_nms(*tensors(boxes, scores, idxs), 0.5).numpy()
    rank = np.lexsort((keep, -scores[keep]))
    assert len(keep) > 500 and (rank == np.arange(len(keep))).all()
    np.testing.assert_array_equal(keep, reference.batched_nms(boxes, scores, idxs, 0.5))


@pytest.mark.parametrize("side", [7_680, 100_000])
def test_classes_of_boxes_larger_than_any_fixed_shift(side):
    # Classes that are shifted by 7,680 pixels each run into one another.
    boxes = np.float32([[0, 0, 2 * side, 2 * side], [-side, -side, side, side]])
    boxes = np.concatenate([boxes, boxes])
    scores, idxs = np.float32([4, 3, 2, 1]), np.array([0, 0, 1, 1])
    assert ops.batched_nms(boxes, scores, idxs, 0.1).tolist() == [0, 2]


@pytest.mark.parametrize("score_dtype", [torch.float16, torch.bfloat16, torch.float64, torch.int32])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16, torch.int64])
def test_boxes_and_scores_of_different_types(dtype, score_dtype):
    boxes = torch.tensor([[0, 0, 10, 10], [1, 0, 11, 10], [50, 50, 60, 60]]).to(dtype)
    scores, idxs = torch.tensor([1, 2, 3]).to(score_dtype), torch.tensor([0, 0, 1])
    assert ops.nms(boxes, scores, 0.5).tolist() == [2, 1]
    assert ops.batched_nms(boxes, scores, idxs, 0.5).tolist() == [2, 1]
    keep, _ = ops.soft_nms(boxes, scores, method="linear")
    assert keep.tolist() == [2, 1, 0]


@pytest.mark.parametrize("shape", [(3,), (2, 3, 4), (3, 5)])
def test_errors_name_the_argument_and_no_source_file(shape):
    # torchvision's begin with the path of a file on the machine that built it.
    for call in (
        lambda: ops.nms(torch.zeros(shape), torch.zeros(3), 0.5),
        lambda: ops.batched_nms(torch.zeros(shape), torch.zeros(3), torch.zeros(3).long(), 0.5),
    ):
        with pytest.raises(ValueError, match="`boxes` must have shape") as raised:
            call()
        assert ".cpp" not in str(raised.value)
    with pytest.raises(ValueError, match="`boxes1` must have"):
        ops.box_iou(torch.zeros(3, 3), torch.zeros(2, 4))


def test_the_whole_complete_iou_loss_is_differentiated():
    # torchvision holds the weight of the aspect term constant, so that gradcheck fails.
    boxes = torch.tensor([[0.0, 0, 8, 3], [2, 1, 5, 9]], dtype=torch.float64, requires_grad=True)
    targets = torch.tensor([[1.0, 0, 4, 6], [0, 0, 6, 5]], dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(ops.complete_box_iou_loss, (boxes, targets))


def test_fake_tensors_give_every_nms_a_shape():
    from torch._subclasses.fake_tensor import FakeTensorMode
    from torch.fx.experimental.symbolic_shapes import ShapeEnv

    with FakeTensorMode(shape_env=ShapeEnv()):
        boxes, rotated, scores = torch.rand(9, 4), torch.rand(9, 5), torch.rand(9)
        for keep in (ops.nms(boxes, scores, 0.5), ops.nms_rotated(rotated, scores, 0.5)):
            assert keep.dtype == torch.int64 and keep.ndim == 1
        assert ops.box_iou_rotated(rotated, rotated[:2]).shape == (9, 2)
