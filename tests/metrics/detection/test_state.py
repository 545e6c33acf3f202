"""What DetectionEvaluator.update accepts, refuses and stores."""

import itertools

import numpy as np
import pytest

from sightline.metrics import DetectionEvaluator
from sightline.metrics.detection._inputs import check_image
from tests.metrics.detection.test_evaluator import assert_bit_equal, random_case, run_pycocotools

RNG = np.random.default_rng
ARRAYS = ("precision", "recall", "scores", "gt_count", "dt_count")


def fill(case, **kwargs):
    evaluator = DetectionEvaluator(**kwargs)
    for image_id, (dt, gt) in case.items():
        evaluator.update(image_id, dt, gt)
    return evaluator


def assert_same(a, b):
    for name in ARRAYS:
        np.testing.assert_array_equal(getattr(a, name), getattr(b, name), err_msg=name)


def case_of(seed=0, images=6, quantum=0.1):
    return random_case(
        RNG(seed), images=images, classes=3, objects=5, detections=12, quantum=quantum
    )


def test_a_batch_is_its_images_one_by_one():
    case = case_of()
    batched = DetectionEvaluator()
    ids = list(case)
    for part in (ids[:4], [], ids[4:]):
        batched.update(part, [case[i][0] for i in part], tuple(case[i][1] for i in part))
    assert_same(batched.compute(), fill(case).compute())
    assert len(batched) == 6


def test_ids_of_a_batch_may_be_an_array():
    evaluator = DetectionEvaluator()
    case = list(case_of(images=3).values())
    evaluator.update(np.array([5, 6, 7], np.int16), [c[0] for c in case], [c[1] for c in case])
    with pytest.raises(ValueError, match="`image_id` 6 was added before"):
        evaluator.update(6, *case[0])


def test_the_order_of_images_does_not_matter():
    case = case_of(seed=3, images=7)
    assert list(case) != sorted(case)
    wanted = run_pycocotools(case, 3)
    for order in (list(case), sorted(case), sorted(case, reverse=True)):
        evaluator = fill({i: case[i] for i in order}, class_names="abc")
        assert_bit_equal(evaluator.compute(), wanted)
        assert_bit_equal(evaluator.compute(), wanted)


def test_text_ids_sort_as_python_sorts_them():
    case = case_of(seed=4, images=6)
    names = ["é", "z", "Z", "10", "9", "\U0001f600", "\uffff"]
    by_name = dict(zip(names, case.values()))
    by_rank = {sorted(by_name).index(name): image for name, image in by_name.items()}
    assert_same(fill(by_name).compute(), fill(by_rank).compute())


def test_images_may_come_after_results_were_made():
    case = case_of(seed=5, images=8)
    evaluator, results = DetectionEvaluator(class_names="abc"), []
    for image_id in case:
        evaluator.update(image_id, *case[image_id])
        results.append((evaluator.compute(), set(list(case)[: len(evaluator)])))
    for result, ids in results:  # made long ago, on columns that have grown since
        assert_bit_equal(result, run_pycocotools({i: case[i] for i in case if i in ids}, 3))


def test_views_outlive_growth_and_reset():
    case = list(case_of(seed=6, images=2).values())
    evaluator = DetectionEvaluator()
    evaluator.update(0, *case[0])
    boxes = evaluator._store.columns(objects=False)["boxes_xywh"]
    wanted = case[0][0]["boxes_xywh"]
    assert not boxes.flags.writeable and np.shares_memory(
        boxes, evaluator._store.columns(objects=False)["boxes_xywh"]
    )
    for image_id in range(1, 200):
        evaluator.update(image_id, *case[1])
    np.testing.assert_array_equal(boxes, wanted)
    evaluator.reset()
    assert len(evaluator) == 0
    evaluator.update(0, *case[1])
    np.testing.assert_array_equal(boxes, wanted)


DTYPES = "bool int8 int16 int32 int64 uint8 uint16 uint32 uint64 float16 float32 float64 longdouble"


@pytest.mark.parametrize("dtype", DTYPES.split())
@pytest.mark.parametrize("layout", ["whole", "strided", "transposed", "swapped", "unaligned"])
def test_every_number_type_and_layout_is_read(dtype, layout):
    rng = RNG(0)

    def laid_out(array):
        array = array.astype(dtype)
        if layout == "strided":
            return np.repeat(array, 3, axis=0)[::3][::-1][::-1]
        if layout == "transposed":
            return np.asfortranarray(array)
        if layout == "swapped":
            return array.astype(array.dtype.newbyteorder())
        if layout == "unaligned":
            raw = np.frombuffer(b"\0" + array.tobytes(), np.uint8)[1:]
            return raw.view(array.dtype).reshape(array.shape)
        return array

    boxes = rng.integers(0, 2, (9, 4)).cumsum(axis=1)
    labels = rng.integers(0, 2, 9)
    integer = np.dtype(dtype).kind in "iu"
    dt = {"boxes": boxes, "scores": rng.integers(0, 2, 9), "labels": labels}
    gt = {
        "boxes": boxes,
        "labels": labels,
        "area": rng.integers(0, 2, 9),
        "iscrowd": labels == 0,
        "difficult": labels,
    }
    own = [
        {k: laid_out(np.asarray(v)) if k != "labels" or integer else v for k, v in side.items()}
        for side in (dt, gt)
    ]
    plain = [
        {k: np.asarray(v, np.int64 if k == "labels" else np.float64) for k, v in side.items()}
        for side in own
    ]
    columns = []
    for sides in (own, plain):
        evaluator = DetectionEvaluator()
        evaluator.update(0, *sides)
        columns += [
            {**evaluator._store.columns(objects=False), **evaluator._store.columns(objects=True)}
        ]
    for name, column in columns[0].items():
        np.testing.assert_array_equal(column, columns[1][name], err_msg=name)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64", "int32", "uint8"])
def test_tensors_are_read_as_the_numbers_they_hold(dtype):
    torch = pytest.importorskip("torch")
    dtype = getattr(torch, dtype)
    boxes = torch.randint(0, 50, (7, 4)).cumsum(1)[:, [0, 1, 2, 3]].to(dtype)
    boxes[:, 2:] = torch.maximum(boxes[:, :2], boxes[:, 2:])
    scores, labels = torch.rand(7).to(dtype), torch.randint(0, 3, (7,))
    if dtype.is_floating_point:
        boxes.requires_grad_()
    dt = {"boxes": boxes.T.contiguous().T, "scores": scores, "labels": labels}
    gt = {"boxes": boxes[::2], "labels": labels[::2], "iscrowd": labels[::2] == 1}
    of_tensors, of_lists = DetectionEvaluator(), DetectionEvaluator()
    of_tensors.update(torch.tensor([3]), [dt], [gt])
    of_lists.update(3, *({k: v.tolist() for k, v in side.items()} for side in (dt, gt)))
    for objects in (False, True):
        a, b = (e._store.columns(objects=objects) for e in (of_tensors, of_lists))
        for name in a:
            np.testing.assert_array_equal(a[name], b[name], err_msg=name)


GOOD = (
    {"boxes": [[0, 0, 9, 9], [1, 1, 5, 5]], "scores": [0.5, 1], "labels": [0, 1]},
    {"boxes": [[0, 0, 9, 9]], "labels": [0]},
)
# What each entry may be besides right; some of these stand, most are refused.
ODD = [
    None,
    [],
    [0],
    [-1, 0],
    [np.nan, 1],
    [1, np.inf],
    [True, False],
    [2, 3],
    [0.5, 1],
    [2**31, 0],
    [2**63, 0],
    [2**70, 0],
    ["1", "2"],
    [[1], [2, 3]],
    [[0, 0, 1]],
    [[0, 0, 1, 1]] * 2,
    [[0, 0, 1, np.nan]] * 2,
    [[0, 0, 1e308, 1], [-1e308, 0, 1e308, 1]],
    [[2, 0, 1, 1]] * 2,
    np.zeros((0, 3)),
    np.zeros((1, 0)),
    np.zeros((2, 1, 1, 4)),
    np.zeros((0, 1, 4)),
    np.zeros(2, complex),
    np.array(["2020-01-01"] * 2, "M8[D]"),
    np.float64(1),
    "text",
    {},
    object(),
]


@pytest.mark.parametrize("parity", ["corrected", "pycocotools"])
@pytest.mark.parametrize(
    "key", ["boxes", "boxes_xywh", "scores", "labels", "area", "iscrowd", "difficult", "masks", "x"]
)
def test_the_native_checks_refuse_what_the_plain_ones_refuse(key, parity):
    for side, odd, classes in itertools.product((0, 1), ODD, (None, 3)):
        image = [dict(GOOD[0]), dict(GOOD[1])]
        image[side][key] = odd
        if key == "boxes_xywh":
            del image[side]["boxes"]
        try:
            check_image(0, *image, classes, any_score=parity == "pycocotools")
            wanted = None
        except (ValueError, TypeError) as error:
            wanted = error
        evaluator = DetectionEvaluator(
            class_names=None if classes is None else "abc", parity=parity
        )
        if wanted is None:
            evaluator.update([0], [image[0]], [image[1]])
            assert len(evaluator) == 1
            continue
        with pytest.raises(type(wanted)) as raised:
            evaluator.update(["a", "b"], [GOOD[0], image[0]], [GOOD[1], image[1]])
        assert str(raised.value) == str(wanted).replace("image 0", "image 'b'")
        assert len(evaluator) == 0


@pytest.mark.parametrize("at", [0, 1, 2])
def test_a_refused_batch_leaves_the_evaluator_as_it_was(at):
    case = case_of(seed=7, images=6)
    ids = list(case)
    evaluator = fill({i: case[i] for i in ids[:3]})
    before, nbytes = evaluator.compute(), evaluator.nbytes
    batch = [dict(case[i][0]) for i in ids[3:]]
    batch[at]["scores"] = [np.nan] * len(batch[at]["labels"]) or [1.0]
    with pytest.raises(ValueError, match=f"image {ids[3 + at]}"):
        evaluator.update(ids[3:], batch, [case[i][1] for i in ids[3:]])
    assert len(evaluator) == 3 and evaluator.nbytes <= nbytes + 8 * 64
    assert_same(evaluator.compute(), before)
    for i in ids[3:]:
        evaluator.update(i, *case[i])
    assert_same(evaluator.compute(), fill(case).compute())


@pytest.mark.parametrize(
    ("ids", "error", "message"),
    [
        ([1, 2, 1], ValueError, "`image_id` 1 is in the batch twice"),
        ([1, 9, 2], ValueError, "`image_id` 9 was added before"),
        ([1, "2", 3], TypeError, "`image_id` must be all int or all str"),
        ([1, 2.0, 3], TypeError, "`image_id` must be an int or a str, got float"),
        ([1, True, 3], TypeError, "`image_id` must be an int or a str, got bool"),
        ([1, None, 3], TypeError, "got NoneType"),
        ([1, 2**63, 3], ValueError, "an integer of 64 bits, got 9223372036854775808"),
        (["a", "\ud800", "b"], ValueError, "text that UTF-8 can encode"),
        ([1, 2], ValueError, "as many `image_id` as `detections` and `targets`, got 2, 3 and 3"),
        ("abc", TypeError, "`image_id` of a batch must be a list"),
        (5, TypeError, "`image_id` of a batch must be a list with one entry per image, got int"),
    ],
)
def test_bad_ids_are_refused(ids, error, message):
    evaluator = DetectionEvaluator()
    if 9 in (ids if isinstance(ids, list) else []) or ids == [1, "2", 3]:
        evaluator.update(9, *GOOD)
    before = len(evaluator)
    with pytest.raises(error, match=message):
        evaluator.update(ids, [GOOD[0]] * 3, [GOOD[1]] * 3)
    assert len(evaluator) == before


@pytest.mark.parametrize("number", [-(2**63), 2**63 - 1, 0, -1])
def test_ids_of_64_bits(number):
    evaluator = DetectionEvaluator()
    evaluator.update(number, *GOOD)
    assert evaluator._store.image_ids().tolist() == [number]


def test_one_of_detections_and_targets_as_a_list_is_refused():
    with pytest.raises(TypeError, match="`targets` must be a dict, got list"):
        DetectionEvaluator().update(0, GOOD[0], [GOOD[1]])
    with pytest.raises(TypeError, match="`detections` must be a dict, got list"):
        DetectionEvaluator().update(0, [GOOD[0]], GOOD[1])


def test_values_that_call_update_themselves_do_no_harm():
    evaluator = DetectionEvaluator()

    class Reentrant:
        def __array__(self, dtype=None, copy=None):
            evaluator.update(1, *GOOD)
            return np.array([0.5, 0.25])

    evaluator.update(2, {**GOOD[0], "scores": Reentrant()}, GOOD[1])
    assert evaluator._store.image_ids().tolist() == [1, 2]


def test_a_detection_takes_44_bytes_an_object_45_and_an_image_at_most_40():
    evaluator = DetectionEvaluator()
    dt = {
        "boxes": np.zeros((75, 4), np.float32),
        "scores": np.zeros(75),
        "labels": np.zeros(75, int),
    }
    gt = {"boxes": np.zeros((7, 4)), "labels": np.zeros(7, int)}
    evaluator.update(list(range(1000)), [dt] * 1000, [gt] * 1000)
    rest = evaluator.nbytes - 1000 * (75 * 44 + 7 * 45)
    assert 32 * 1000 <= rest <= 40 * 1000 + 100
    evaluator.reset()
    assert evaluator.nbytes == 0


def test_a_nan_score_is_taken_with_the_parity_of_pycocotools_alone():
    dt = {**GOOD[0], "scores": [np.nan, 0.5]}
    with pytest.raises(ValueError, match="must be finite, got nan in row 0"):
        DetectionEvaluator().update(0, dt, GOOD[1])
    evaluator = DetectionEvaluator(parity="pycocotools")
    evaluator.update(0, dt, GOOD[1])
    evaluator.compute()
