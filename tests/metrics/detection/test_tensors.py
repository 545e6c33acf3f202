"""Evaluation of tensors on their device: the same bits as from arrays, and errors at the end.

Where there is no GPU, tensors of a class that NumPy cannot read stand for those of a device.
"""

import copy
import os

import numpy as np
import pytest

from sightline.metrics import DetectionEvaluator, _arrays
from tests.metrics.detection.test_evaluator import assert_bit_equal, random_case, run_pycocotools
from tests.metrics.detection.test_merge import columns
from tests.metrics.detection.test_state import assert_same, case_of, fill

torch = pytest.importorskip("torch")
RNG = np.random.default_rng


class Far(torch.Tensor):
    """A tensor that must be copied to be read."""

    def cpu(self):
        return self.as_subclass(torch.Tensor)

    def numpy(self, *args, **kwargs):
        raise TypeError("far away")

    __array__ = numpy


@pytest.fixture(params=["far", "cuda"])
def far(request, monkeypatch):
    """Tensors whose values are not on the host."""
    if request.param == "cuda":
        if not torch.cuda.is_available():
            if os.environ.get("SIGHTLINE_TEST_CUDA"):
                pytest.fail("SIGHTLINE_TEST_CUDA promises a GPU, and there is none")
            pytest.skip("no GPU")
        return lambda values, dtype=None: torch.tensor(np.asarray(values), dtype=dtype).cuda()
    monkeypatch.setattr(_arrays, "is_on_host", lambda tensor: not isinstance(tensor, Far))
    monkeypatch.setattr(
        "sightline.metrics.detection._device_images.is_on_host",
        lambda tensor: not isinstance(tensor, Far),
    )
    return lambda values, dtype=None: torch.tensor(np.asarray(values), dtype=dtype).as_subclass(Far)


def moved(image, far):
    return tuple({k: far(v) for k, v in side.items()} for side in image)


def fill_far(case, far, batch=3, **kwargs):
    evaluator = DetectionEvaluator(**kwargs)
    ids = list(case)
    for part in (ids[i : i + batch] for i in range(0, len(ids), batch)):
        images = [moved(case[i], far) for i in part]
        evaluator.update(part, [dt for dt, _ in images], [gt for _, gt in images])
    assert len(evaluator) == len(case) and (not case or evaluator._on_device is not None)
    assert len(evaluator._store) == 0
    return evaluator


SETTINGS = [
    {},
    {"class_names": "abc"},
    {"class_names": "abcde", "use_classes": False, "max_detections": (1, 3)},
    {"iou_thresholds": [0.3, 0.5], "area_ranges": {"all": (0, 1e10), "tiny": (0, 1024)}},
    {"protocol": "voc2007", "iou_thresholds": [0.3, 0.5]},
    {"protocol": "voc2010"},
]


@pytest.mark.parametrize("kwargs", SETTINGS)
@pytest.mark.parametrize(("seed", "images"), [(0, 1), (1, 7), (2, 40), (3, 0)])
def test_tensors_give_the_bits_of_arrays(kwargs, seed, images, far):
    case = case_of(seed=seed, images=images)
    on_device = fill_far(case, far, **kwargs)
    ours, wanted = on_device.compute(), fill(case, **kwargs).compute()
    assert len(on_device._store) == 0, "it was computed where the tensors are"
    assert_same(ours, wanted)
    np.testing.assert_array_equal(ours.class_ap, wanted.class_ap)
    np.testing.assert_array_equal(ours.stats, wanted.stats)
    assert ours.class_ids == wanted.class_ids and ours.class_names == wanted.class_names
    assert_same(on_device.compute(), wanted)


def test_tensors_give_the_bits_of_pycocotools(far):
    for seed in range(5):
        case = random_case(
            RNG(seed), images=9, classes=3, objects=9, detections=40, quantum=(0.5, 0.001)[seed % 2]
        )
        results = fill_far(case, far, class_names="abc").compute()
        assert_bit_equal(results, run_pycocotools(case, 3))


def test_no_detection_or_no_object_at_all(far):
    nothing = {"boxes": np.zeros((0, 4)), "labels": np.zeros(0, int)}
    something = {"boxes": [[0.0, 0, 9, 9]], "labels": [2]}
    for case in (
        {1: (nothing | {"scores": np.zeros(0)}, something)},
        {1: (something | {"scores": [0.5]}, nothing)},
        {1: (nothing | {"scores": np.zeros(0)}, nothing)},
    ):
        assert_same(fill_far(case, far).compute(), fill(case).compute())


def test_questions_to_a_result_have_their_rows(far):
    case = case_of(seed=5, images=9)
    ours = fill_far(case, far, class_names="abc").compute()
    wanted = fill(case, class_names="abc").compute()
    np.testing.assert_array_equal(ours.confusion_matrix(), wanted.confusion_matrix())
    assert repr(ours.error_breakdown()) == repr(wanted.error_breakdown())
    a, b = (results.confidence_interval(replicates=20) for results in (ours, wanted))
    assert repr(a) == repr(b)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "int32"])
def test_types_are_widened_exactly(dtype, far):
    def to_far(tensor):
        plain = far([0])
        return tensor.cuda() if plain.is_cuda else tensor.as_subclass(type(plain))

    dtype = getattr(torch, dtype)
    boxes = torch.tensor([[0, 1, 9, 12], [3, 3, 8, 8], [0, 0, 1, 1]], dtype=dtype)
    scores = torch.tensor([0.1, 0.7, 0.3]).to(dtype)
    sides = (
        {"boxes": boxes, "scores": scores, "labels": torch.tensor([0, 1, 0], dtype=torch.int16)},
        {"boxes": boxes, "labels": torch.tensor([0, 1, 1]), "iscrowd": torch.tensor([0.0, 1, 0])},
    )
    evaluator, wanted = DetectionEvaluator(), DetectionEvaluator()
    lists = [{k: v.tolist() for k, v in side.items()} for side in sides]
    for image_id in (1, 2):
        wanted.update(image_id, *lists)
    evaluator.update(1, *({k: to_far(v) for k, v in side.items()} for side in sides))
    evaluator.update(2, lists[0], lists[1])
    assert columns(evaluator.merge(DetectionEvaluator())) == columns(wanted)


def test_boxes_of_both_formats_and_targets_of_the_host_in_one_batch(far):
    case = dict(enumerate(case_of(seed=6, images=4).values()))
    case[1] = tuple(dict(side) for side in case[1])
    for side in case[1]:
        boxes = side.pop("boxes_xywh")
        side["boxes"] = np.concatenate([boxes[:, :2], boxes[:, :2] + boxes[:, 2:]], axis=1)
    del case[2][1]["area"], case[3][1]["iscrowd"]
    case[3][1]["boxes_xywh"] = case[3][1]["boxes_xywh"].astype(">f8")[::-1][::-1]
    case[3][1]["labels"] = case[3][1]["labels"].tolist()
    evaluator = DetectionEvaluator()
    evaluator.update(
        list(case), [moved(c[:1], far)[0] for c in case.values()], [c[1] for c in case.values()]
    )
    assert evaluator._on_device is not None
    assert_same(evaluator.compute(), fill(case).compute())


def test_updating_reads_no_value(far, monkeypatch):
    case = case_of(seed=7, images=4)
    evaluator = DetectionEvaluator()

    def refuse(*_, **__):
        raise AssertionError("a value was read")

    with monkeypatch.context() as patch:
        for name in ("item", "tolist", "cpu", "__bool__", "__int__", "__float__", "nonzero"):
            patch.setattr(torch.Tensor, name, refuse)
        images = [moved(image, far) for image in case.values()]
        evaluator.update(list(case), [dt for dt, _ in images], [gt for _, gt in images])
    assert_same(evaluator.compute(), fill(case).compute())


def test_tensors_may_be_written_after_the_update(far):
    case = case_of(seed=8, images=2)
    images = {i: moved(image, far) for i, image in case.items()}
    evaluator = DetectionEvaluator()
    for image_id, image in images.items():
        evaluator.update(image_id, *image)
        for side in image:
            for value in side.values():
                value.zero_()
    assert_same(evaluator.compute(), fill(case).compute())


GOOD = (
    {"boxes": [[0.0, 0, 9, 9], [1, 1, 5, 5]], "scores": [0.5, 1], "labels": [0, 1]},
    {"boxes": [[0.0, 0, 9, 9]], "labels": [0]},
)


@pytest.mark.parametrize(
    ("side", "change", "message"),
    [
        (0, {"scores": [0.5, np.nan]}, r"'scores'\]` must be finite, got nan in row 1"),
        (0, {"boxes": [[0.0, 0, 9, 9], [5, 5, 1, 9]]}, "x1 <= x2|w >= 0"),
        (0, {"boxes": [[0.0, 0, np.inf, 9], [5, 5, 6, 9]]}, "must be finite"),
        (0, {"labels": [0, 3]}, "in 0 ... 2, got 3 in row 1"),
        (1, {"labels": [-1]}, "got -1 in row 0"),
        (1, {"area": [np.inf]}, r"'area'\]` must be finite"),
        (1, {"difficult": [np.nan]}, r"'difficult'\]` must"),
    ],
)
def test_bad_values_are_named_when_results_are_asked_for(side, change, message, far):
    image = [dict(GOOD[0]), dict(GOOD[1])]
    image[side] |= change
    evaluator = DetectionEvaluator(class_names="abc")
    evaluator.update(["a", "b"], [moved(GOOD, far)[0]] * 2, [moved(GOOD, far)[1]] * 2)
    evaluator.update("c", *moved(image, far))
    for _ in range(2):
        with pytest.raises(ValueError, match=f"image 'c': .*({message})"):
            evaluator.compute()
    evaluator.reset()
    assert len(evaluator) == 0


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"boxes": np.zeros((2, 5))}, ValueError, r"must have shape \[N, 4\], got \[2, 5\]"),
        ({"scores": [0.5]}, ValueError, r"must have shape \[2\] as its boxes, got \[1\]"),
        ({"labels": [0.0, 1.0]}, TypeError, "must be integers, got dtype float64"),
        ({"labels": [True, False]}, TypeError, "must be integers, got dtype bool"),
        ({"labels": [[0], [1]]}, ValueError, r"shape \[N\], got \[2, 1\]"),
        ({"scores": [1j, 0]}, TypeError, "must be an array of numbers"),
        ({"x": [0, 1]}, ValueError, r"unknown keys \['x'\]"),
        ({"boxes_xywh": np.zeros((2, 4))}, ValueError, "needs either 'boxes'"),
    ],
)
def test_bad_shapes_and_types_are_named_at_once(change, error, message, far):
    evaluator = DetectionEvaluator()
    bad = moved((GOOD[0] | change, GOOD[1]), far)
    good = moved(GOOD, far)
    with pytest.raises(error, match=f"image 7: .*{message}"):
        evaluator.update([6, 7], [good[0], bad[0]], [good[1], bad[1]])
    assert len(evaluator) == 0


def test_what_a_loader_writes_beside_the_objects_is_passed_over(far):
    (dt, gt), plain = moved(GOOD, far), DetectionEvaluator()
    plain.update(7, *moved(GOOD, far))
    evaluator = DetectionEvaluator()
    gt |= {"image_id": far([7]), "orig_size": far([4, 5]), "index": 3}
    evaluator.update(7, dt | {"keypoints_scores": far(np.zeros((2, 17)))}, gt)
    np.testing.assert_array_equal(evaluator.compute().scores, plain.compute().scores)
    np.testing.assert_array_equal(evaluator.compute().precision, plain.compute().precision)


def test_ids_are_checked_at_once(far):
    evaluator, (dt, gt) = DetectionEvaluator(), moved(GOOD, far)
    with pytest.raises(TypeError, match="all int or all str"):
        evaluator.update([3, "4"], [dt, dt], [gt, gt])
    evaluator.update([3, 4], [dt, dt], [gt, gt])
    for ids, error, message in (
        (3, ValueError, "`image_id` 3 was added before"),
        ("3", TypeError, "all int or all str"),
        (1.5, TypeError, "an int or a str"),
        ([5, 5], ValueError, "`image_id` 5 is in the batch twice"),
    ):
        several = isinstance(ids, list)
        for sides in ((dt, gt), GOOD):  # also from the host
            with pytest.raises(error, match=message):
                evaluator.update(ids, *([side] * 2 if several else side for side in sides))
    assert len(evaluator) == 2


def test_images_of_host_and_device_make_one_result(far):
    case = case_of(seed=9, images=6)
    evaluator = DetectionEvaluator()
    for n, (image_id, image) in enumerate(case.items()):
        evaluator.update(image_id, *(image if n % 2 else moved(image, far)))
    assert len(evaluator) == 6
    assert_same(evaluator.compute(), fill(case).compute())


def test_state_on_a_device_is_merged_saved_and_copied(far, tmp_path):
    case = case_of(seed=10, images=5)
    wanted = columns(fill(case))
    assert columns(DetectionEvaluator().merge(fill_far(case, far))) == wanted
    assert columns(fill_far(case, far).merge(DetectionEvaluator())) == wanted
    assert columns(copy.deepcopy(fill_far(case, far))) == wanted
    fill_far(case, far).save(tmp_path / "state")
    assert columns(DetectionEvaluator.load(tmp_path / "state")) == wanted
    assert 0 < fill_far(case, far).nbytes < 2000 * len(case)
