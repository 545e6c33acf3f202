"""NMS with outputs of a fixed size: it is `nms` of each image, cut, and what torch asks of it."""

import numpy as np
import pytest
import torch

from sightline import _numpy, ops, reference

from .box_cases import awkward_layouts, random_boxes
from .isa import output_of_every_level
from .same import tensors

DTYPES = (np.float32, np.float64)
BOXES = np.array([[0, 0, 10, 10], [1, 0, 11, 10], [20, 20, 30, 30]], np.float32)
SCORES = np.array([0.8, 0.9, 0.7], np.float32)


def random_scores(rng, shape, dtype=np.float32):
    scores = np.round(rng.uniform(-1, 1, shape), 2).astype(dtype)
    for value in (np.nan, np.inf, -np.inf, 0.0, -0.0):
        scores[rng.random(shape) < 0.02] = value
    return scores


def random_images(rng, images, n, dtype=np.float32, score_dtype=np.float32):
    boxes = random_boxes(rng, images * n, dtype, bad=True).reshape(images, n, 4)
    return boxes, random_scores(rng, (images, n), score_dtype), rng.integers(-2, 2, (images, n))


def assert_same(got, expected):
    for part, want in zip(got, expected, strict=True):
        part = part.numpy() if isinstance(part, torch.Tensor) else part
        assert part.dtype == np.int64 and part.shape == np.shape(want)
        np.testing.assert_array_equal(part, want)


def test_three_boxes_worked_by_hand():
    # The first two overlap by 90 / 110.
    found = ops.nms_padded(BOXES, SCORES, 0.5, max_detections=4)
    assert found.indices.tolist() == [1, 2, -1, -1] and found.count == 2
    found = ops.nms_padded(BOXES, SCORES, 0.5, max_detections=1)
    assert found.indices.tolist() == [1] and found.count == 1
    found = ops.nms_padded(BOXES, SCORES, 0.5, max_detections=4, score_threshold=0.7)
    assert found.indices.tolist() == [1, -1, -1, -1], "a score must be above the threshold"
    idxs = np.array([0, 1, 0])
    found = ops.nms_padded(BOXES, SCORES, 0.5, max_detections=4, idxs=idxs)
    assert found.indices.tolist() == [1, 0, 2, -1] and found.count == 3


def test_images_do_not_suppress_each_other():
    boxes, scores = np.stack([BOXES, BOXES]), np.stack([SCORES, SCORES[::-1]])
    found = ops.nms_padded(boxes, scores, 0.5, max_detections=3)
    assert found.indices.tolist() == [[1, 2, -1], [1, 2, -1]] and found.count.tolist() == [2, 2]


@pytest.mark.parametrize("score_dtype", DTYPES)
@pytest.mark.parametrize("dtype", DTYPES)
def test_equals_the_reference(dtype, score_dtype):
    rng = np.random.default_rng(0)
    for images, n in ((0, 5), (1, 0), (3, 1), (2, 2), (1, 63), (2, 64), (3, 65), (2, 300)):
        boxes, scores, idxs = random_images(rng, images, n, dtype, score_dtype)
        for segments in (None, idxs):
            for max_detections, score_threshold in (
                (0, None),
                (3, 0.1),
                (20, -np.inf),
                (400, None),
            ):
                settings = {"max_detections": max_detections, "score_threshold": score_threshold}
                want = reference.nms_padded(boxes, scores, 0.4, idxs=segments, **settings)
                assert_same(ops.nms_padded(boxes, scores, 0.4, idxs=segments, **settings), want)
                b, s, i = tensors(boxes, scores, idxs)
                i = None if segments is None else i
                assert_same(ops.nms_padded(b, s, 0.4, idxs=i, **settings), want)


def test_is_nms_and_batched_nms_of_an_image_cut_to_the_maximum():
    rng = np.random.default_rng(1)
    (boxes,), (scores,), (idxs,) = random_images(rng, 1, 1000)
    keep = ops.nms(boxes, scores, 0.3)
    for max_detections in (0, 1, len(keep) - 1, len(keep), len(keep) + 1, 2000):
        found = ops.nms_padded(boxes, scores, 0.3, max_detections=max_detections)
        assert found.indices[: found.count].tolist() == keep[:max_detections].tolist()
        assert (found.indices[found.count :] == -1).all()
    keep = ops.batched_nms(boxes, scores, idxs, 0.3)
    found = ops.nms_padded(boxes, scores, 0.3, max_detections=len(keep), idxs=idxs)
    assert found.indices.tolist() == keep.tolist()
    found = ops.nms_padded(boxes, scores, 0.3, max_detections=99, score_threshold=0.5)
    candidates = np.flatnonzero(scores > 0.5)
    keep = candidates[ops.nms(boxes[candidates], scores[candidates], 0.3)][:99]
    assert found.indices[: found.count].tolist() == keep.tolist()


def test_nan_scores_come_last_without_a_threshold_and_not_at_all_with_one():
    far = np.arange(4)[:, None] * 100.0 + np.array([[0, 0, 1, 1]])
    scores = np.array([np.nan, -np.inf, 1, np.nan])
    found = ops.nms_padded(far, scores, 0.5, max_detections=4)
    assert found.indices.tolist() == [2, 1, 0, 3]
    found = ops.nms_padded(far, scores, 0.5, max_detections=4, score_threshold=-np.inf)
    assert found.indices.tolist() == [2, -1, -1, -1]


def test_narrow_types_are_widened_and_a_threshold_is_rounded_to_the_scores():
    want = reference.nms_padded(BOXES, SCORES, 0.5, max_detections=3)
    for boxes in (BOXES.astype(np.uint8), BOXES.astype(np.float16), BOXES.astype(np.int64)):
        assert_same(ops.nms_padded(boxes, SCORES, 0.5, max_detections=3), want)
        b, s = tensors(boxes, SCORES)
        assert_same(ops.nms_padded(b, s, 0.5, max_detections=3), want)
        assert_same(ops.nms_padded(b.bfloat16(), s.half(), 0.5, max_detections=3), want)
    # 0.9 in float32 is not above 0.9 rounded to float32, though it is below 0.9 in float64.
    found = ops.nms_padded(BOXES, SCORES, 0.5, max_detections=3, score_threshold=0.9)
    assert found.count == 0


def test_any_layout_of_the_inputs_gives_the_same():
    rng = np.random.default_rng(2)
    boxes, scores, idxs = random_images(rng, 3, 40)
    want = reference.nms_padded(boxes, scores, 0.3, max_detections=9, idxs=idxs)
    for b, s, i in zip(*map(awkward_layouts, (boxes, scores, idxs)), strict=True):
        assert_same(ops.nms_padded(b, s, 0.3, max_detections=9, idxs=i), want)
    b, s, i = tensors(boxes, scores, idxs)
    b, s, i = b.mT.contiguous().mT, s.T.contiguous().T, torch.stack([i, i], 2)[..., 0]
    assert_same(ops.nms_padded(b, s, 0.3, max_detections=9, idxs=i), want)


def test_every_instruction_set_and_thread_count_gives_the_same():
    code = """
import hashlib
import numpy as np, torch
from sightline import _numpy, ops
rng = np.random.default_rng(0)
corner = rng.uniform(0, 900, (6000, 2))
boxes = np.concatenate([corner, corner + rng.uniform(10, 80, (6000, 2))], 1).reshape(3, 2000, 4)
scores, idxs = rng.random((3, 2000)), rng.integers(0, 3, (3, 2000))
for dtype in (np.float32, np.float64):
    for threads in (1, 2):
        _numpy.set_num_threads(threads)
        torch.set_num_threads(threads)
        b, s = boxes.astype(dtype), scores.astype(dtype)
        rest = dict(max_detections=300, score_threshold=0.2)
        results = [
            *ops.nms_padded(b, s, 0.4, idxs=idxs, **rest),
            *(t.numpy() for t in ops.nms_padded(*map(torch.from_numpy, (b, s)), 0.4, **rest)),
            *ops.nms_padded(b[0], s[0], 0.4, **rest),
        ]
        print(dtype.__name__, *(hashlib.md5(r.tobytes()).hexdigest() for r in results))
"""
    lines = output_of_every_level(code).splitlines()
    assert lines[0] == lines[1] and lines[2] == lines[3]


def test_wrong_arguments_are_named():
    right = {"max_detections": 3}
    with pytest.raises(ValueError, match=r"`boxes` must have shape \[B, N, 4\] or \[N, 4\], got"):
        ops.nms_padded(BOXES[0], SCORES, 0.5, **right)
    with pytest.raises(ValueError, match=r"`scores` must have shape \[1, 3\], one for each of"):
        ops.nms_padded(BOXES[None], SCORES, 0.5, **right)
    with pytest.raises(ValueError, match=r"`idxs` must have shape \[3\], one for each of"):
        ops.nms_padded(BOXES, SCORES, 0.5, idxs=np.zeros(2, int), **right)
    with pytest.raises(TypeError, match=r"`idxs` must hold integers, got dtype float64"):
        ops.nms_padded(BOXES, SCORES, 0.5, idxs=np.zeros(3), **right)
    with pytest.raises(TypeError, match=r"`idxs` is a torch.Tensor and `boxes` is numpy.ndarray"):
        ops.nms_padded(BOXES, SCORES, 0.5, idxs=torch.zeros(3, dtype=torch.int64), **right)
    for wrong, error, message in (
        ({"iou_threshold": 2}, ValueError, r"`iou_threshold` must lie in \[0, 1\], got 2"),
        ({"max_detections": -1}, ValueError, "`max_detections` must be at least 0, got -1"),
        ({"max_detections": 2.5}, TypeError, "`max_detections` must be an integer, got float"),
        ({"score_threshold": np.nan}, ValueError, "`score_threshold` must not be NaN"),
        ({"score_threshold": "0"}, TypeError, "`score_threshold` must be a number, got str"),
    ):
        with pytest.raises(error, match=message):
            ops.nms_padded(BOXES, SCORES, **{"iou_threshold": 0.5, **right, **wrong})


def test_native_ops_refuse_what_would_read_out_of_bounds():
    boxes, scores = BOXES[None], SCORES[None]
    with pytest.raises(ValueError, match="scores must have one number for each of boxes"):
        _numpy.nms_padded(boxes, scores[:, :2], None, 0.5, 3, None)
    with pytest.raises(ValueError, match="idxs must have one integer for each of boxes"):
        _numpy.nms_padded(boxes, scores, np.zeros((1, 2), np.int64), 0.5, 3, None)
    native = torch.ops.sightline.nms_padded
    with pytest.raises(RuntimeError, match="scores must have one number for each of boxes"):
        native(*tensors(boxes, scores[:, :2]), None, 0.5, 3, None)
    with pytest.raises(RuntimeError, match="idxs must have one int64"):
        native(*tensors(boxes, scores, np.zeros((1, 3), np.int32)), 0.5, 3, None)
    with pytest.raises(RuntimeError, match="max_detections must be at least 0"):
        native(*tensors(boxes, scores), None, 0.5, -1, None)


def test_opcheck():
    rng = np.random.default_rng(3)
    boxes, scores, idxs = tensors(*random_images(rng, 2, 20))
    native = torch.ops.sightline.nms_padded
    torch.library.opcheck(native, (boxes, scores, idxs, 0.5, 7, 0.1))
    torch.library.opcheck(native, (boxes.double(), scores, None, 0.5, 30, None))


def test_compiled_and_exported_functions_have_fixed_sizes():
    rng = np.random.default_rng(4)
    boxes, scores, idxs = tensors(*random_images(rng, 2, 30))

    class Detect(torch.nn.Module):
        def forward(self, boxes, scores, idxs):
            one = ops.nms_padded(boxes[0], scores[0], 0.5, max_detections=9)
            found = ops.nms_padded(
                boxes, scores, 0.5, max_detections=9, idxs=idxs, score_threshold=0.0
            )
            return *one, *found

    expected = [part.numpy() for part in Detect()(boxes, scores, idxs)]
    compiled = torch.compile(Detect(), fullgraph=True, backend="aot_eager")
    assert_same(compiled(boxes, scores, idxs), expected)
    exported = torch.export.export(Detect(), (boxes, scores, idxs))
    assert_same(exported.module()(boxes, scores, idxs), expected)
    sizes = [
        tuple(node.meta["val"].shape) for node in exported.graph.find_nodes(op="output")[0].args[0]
    ]
    assert sizes == [(9,), (), (2, 9), (2,)]


def test_vmap_is_one_call_with_more_images():
    rng = np.random.default_rng(5)
    boxes, scores, idxs = tensors(*random_images(rng, 4, 50))
    expected = [part.numpy() for part in ops.nms_padded(boxes, scores, 0.4, max_detections=8)]

    def detect(boxes, scores, idxs=None):
        return tuple(ops.nms_padded(boxes, scores, 0.4, max_detections=8, idxs=idxs))

    calls = []

    class Count(torch.utils._python_dispatch.TorchDispatchMode):
        def __torch_dispatch__(self, func, types, args=(), kwargs=None):
            calls.append(func.name())
            return func(*args, **(kwargs or {}))

    with Count():
        got = torch.vmap(detect)(boxes, scores)
    assert_same(got, expected)
    assert calls.count("sightline::nms_padded") == 1
    assert_same(torch.vmap(detect, in_dims=(0, 1))(boxes, scores.T.contiguous()), expected)
    by_image = boxes.reshape(2, 2, 50, 4), scores.reshape(2, 2, 50), idxs.reshape(2, 2, 50)
    want = [
        part.numpy() for part in ops.nms_padded(boxes, scores, 0.4, max_detections=8, idxs=idxs)
    ]
    got = torch.vmap(detect)(*by_image)
    assert_same([part.flatten(0, 1) for part in got], want)
    shared = torch.vmap(detect, in_dims=(None, 0))(boxes[0], scores)
    want = reference.nms_padded(
        boxes[:1].expand(4, -1, -1).numpy(), scores.numpy(), 0.4, max_detections=8
    )
    assert_same(shared, want)


def test_autocast_widens_and_gradients_stop():
    boxes, scores = tensors(BOXES, SCORES)
    with torch.autocast("cpu", torch.bfloat16):
        found = ops.nms_padded(boxes.bfloat16(), scores.bfloat16(), 0.5, max_detections=2)
        native = torch.ops.sightline.nms_padded(
            boxes[None].bfloat16(), scores[None].bfloat16(), None, 0.5, 2, None
        )
    assert found.indices.tolist() == native[0][0].tolist() == [1, 2]
    found = ops.nms_padded(boxes.requires_grad_(), scores.requires_grad_(), 0.5, max_detections=2)
    assert not found.indices.requires_grad
    boxes[found.indices].sum().backward()
    assert boxes.grad.sum(1).tolist() == [0, 4, 4]


def test_cuda_gives_what_the_cpu_gives_without_synchronising(cuda):
    rng = np.random.default_rng(6)
    for images, n in ((0, 3), (2, 0), (1, 1), (3, 257), (2, 4096), (3, 5000), (1, 20000)):
        boxes, scores, idxs = tensors(*random_images(rng, images, n))
        on_gpu = [part.to(cuda) for part in (boxes, scores, idxs)]
        for max_detections, score_threshold in ((10, 0.1), (n + 1, None)):
            settings = {"max_detections": max_detections, "score_threshold": score_threshold}
            for segments, of_gpu in ((None, None), (idxs, on_gpu[2])):
                before = torch.cuda.get_sync_debug_mode()
                torch.cuda.set_sync_debug_mode("error")
                try:
                    got = ops.nms_padded(*on_gpu[:2], 0.4, idxs=of_gpu, **settings)
                finally:
                    torch.cuda.set_sync_debug_mode(before)
                want = ops.nms_padded(boxes, scores, 0.4, idxs=segments, **settings)
                assert_same([part.cpu() for part in got], [part.numpy() for part in want])


def test_a_cuda_graph_replays_on_new_boxes(cuda):
    rng = np.random.default_rng(7)
    for n in (1000, 6000):
        boxes, scores, idxs = (part.to(cuda) for part in tensors(*random_images(rng, 2, n)))
        stream = torch.cuda.Stream()
        with torch.cuda.stream(stream):
            ops.nms_padded(boxes, scores, 0.4, max_detections=50, idxs=idxs)
        torch.cuda.synchronize()
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            found = ops.nms_padded(boxes, scores, 0.4, max_detections=50, idxs=idxs)
        for _ in range(3):
            others = tensors(*random_images(rng, 2, n))
            for own, other in zip((boxes, scores, idxs), others):
                own.copy_(other)
            graph.replay()
            want = ops.nms_padded(others[0], others[1], 0.4, max_detections=50, idxs=others[2])
            assert_same([part.cpu() for part in found], [part.numpy() for part in want])
