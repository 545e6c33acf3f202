"""Average precision: hand-worked cases, the reference, and what tensors promise."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sightline import _numpy
from sightline import reference as expected
from sightline.ops import accumulate_precision, average_precision, match_detections


def random_groups(rng, *, groups, detections, objects, quantum=0.1):
    """Arguments of match_detections: ragged groups with ties of score and of overlap."""
    dt_offsets = np.concatenate([[0], np.cumsum(rng.integers(0, detections + 1, groups))])
    gt_offsets = np.concatenate([[0], np.cumsum(rng.integers(0, objects + 1, groups))])
    num_dt, num_gt = dt_offsets[-1], gt_offsets[-1]
    gt = rng.integers(0, 60, (num_gt, 4)).astype(np.float64)
    dt = rng.integers(0, 60, (num_dt, 4)).astype(np.float64)
    if num_gt and num_dt:
        copies = rng.random(num_dt) < 0.7
        dt[copies] = gt[rng.integers(0, num_gt, copies.sum())] + rng.integers(-2, 3, 4)
        dt[:, 2:] = np.abs(dt[:, 2:])
    arrays = (dt, np.round(rng.random(num_dt) / quantum) * quantum, dt_offsets, gt, gt_offsets)
    named = {
        "gt_area": gt[:, 2] * gt[:, 3] * rng.random(num_gt),
        "gt_crowd": rng.random(num_gt) < 0.2,
        "gt_ignore": rng.random(num_gt) < 0.2,
    }
    return arrays, named


def to_tensors(values):
    if isinstance(values, dict):
        return {name: torch.from_numpy(value) for name, value in values.items()}
    return tuple(torch.from_numpy(value) for value in values)


def assert_same(results, references):
    for result, wanted in zip(results, references, strict=True):
        np.testing.assert_array_equal(np.asarray(result), wanted)
        assert np.asarray(result).dtype == wanted.dtype


AREAS = [(0.0, 1e10), (0.0, 400.0), (400.0, 900.0)]
FLAGS = {"area_ranges": AREAS, "iou_thresholds": [0.1, 0.5, 0.75, 1.0], "return_index": True}


@settings(max_examples=30, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    groups=st.integers(0, 9),
    detections=st.sampled_from([0, 1, 5, 30]),
    objects=st.sampled_from([0, 1, 6]),
    rule=st.sampled_from(["coco", "voc"]),
    inclusive=st.booleans(),
    max_detections=st.sampled_from([None, 1, 3]),
)
def test_match_detections_equals_reference(
    seed, groups, detections, objects, rule, inclusive, max_detections
):
    rng = np.random.default_rng(seed)
    arrays, named = random_groups(rng, groups=groups, detections=detections, objects=objects)
    flags = {
        **FLAGS,
        "rule": rule,
        "inclusive": inclusive,
        "max_detections": max_detections,
    }
    wanted = expected.match_detections(*arrays, **named, **flags)
    assert_same(match_detections(*arrays, **named, **flags), wanted)
    tensors, named_tensors = to_tensors(arrays), to_tensors(named)
    assert_same(match_detections(*tensors, **named_tensors, **flags), wanted)


@settings(max_examples=30, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    groups=st.integers(0, 9),
    classes=st.integers(0, 4),
    detections=st.sampled_from([0, 1, 5, 30]),
)
def test_accumulate_precision_equals_reference(seed, groups, classes, detections):
    rng = np.random.default_rng(seed)
    arrays, named = random_groups(rng, groups=groups, detections=detections, objects=4)
    outcome, gt_count = expected.match_detections(*arrays, **named, area_ranges=AREAS)
    if classes == 0:
        class_offsets = np.array([0, groups])
    else:
        inner = np.sort(rng.integers(0, groups + 1, classes - 1))
        class_offsets = np.concatenate([[0], inner, [groups]])
    inputs = (outcome, arrays[1], arrays[2], class_offsets, gt_count)
    wanted = expected.accumulate_precision(*inputs, max_detections=(1, 2, 100))
    assert_same(accumulate_precision(*inputs, max_detections=(1, 2, 100)), wanted)
    assert_same(accumulate_precision(*to_tensors(inputs), max_detections=(1, 2, 100)), wanted)


@pytest.mark.parametrize("method", ["101point", "11point", "all"])
@pytest.mark.parametrize("points", [0, 1, 2, 63, 64, 65, 1000])
def test_average_precision_equals_reference(method, points):
    rng = np.random.default_rng(points)
    hits = rng.random((3, points)) < 0.5
    found = np.cumsum(hits, axis=1)
    recall = found / max(1, hits.sum(axis=1).max(initial=1) + 1)
    precision = found / np.arange(1, points + 1)
    wanted = expected.average_precision(recall, precision, method=method)
    assert_same([average_precision(recall, precision, method=method)], [wanted])
    result = average_precision(*to_tensors((recall, precision)), method=method)
    assert_same([result], [wanted])
    one = average_precision(recall[0], precision[0], method=method)
    assert one == wanted[0] and np.shape(one) == ()


# --- worked by hand ---


def test_average_precision_of_a_worked_curve():
    # five detections, four objects: hit, miss, hit, hit, miss
    recall = np.array([0.25, 0.25, 0.5, 0.75, 0.75])
    precision = np.array([1, 1 / 2, 2 / 3, 3 / 4, 3 / 5])
    area = 0.25 * 1 + 0.25 * 3 / 4 + 0.25 * 3 / 4
    assert average_precision(recall, precision, method="all") == area
    # recalls 0, .1, .2 see 1; .3 ... .7 see 3/4 (.7000000000000001 <= .75); .8 ... 1 see 0
    eleven = (3 * 1 + 5 * 3 / 4) / 11
    assert average_precision(recall, precision, method="11point") == pytest.approx(eleven)
    # 0 ... .25: 26 samples of 1; .26 ... .75: 50 of 3/4
    assert average_precision(recall, precision) == pytest.approx((26 + 50 * 3 / 4) / 101)


def test_recall_of_seven_tenths_does_not_reach_the_sample_above_it():
    recall, precision = np.array([0.7]), np.array([1.0])
    assert np.linspace(0, 1, 101)[70] > 0.7
    assert average_precision(recall, precision) == pytest.approx(70 / 101)
    assert average_precision(recall, precision, method="11point") == pytest.approx(7 / 11)


def match_one(dt, scores, gt, **kwargs):
    """outcome [D] of one group at IoU .5."""
    kwargs = {"iou_thresholds": [0.5], **kwargs}
    outcome, *_ = match_detections(
        np.array(dt, np.float64).reshape(-1, 4),
        np.array(scores, np.float64),
        np.array([0, len(dt)]),
        np.array(gt, np.float64).reshape(-1, 4),
        np.array([0, len(gt)]),
        **kwargs,
    )
    return outcome[0, 0].tolist()


def test_second_detection_of_an_object_is_false():
    box = [0, 0, 10, 10]
    assert match_one([box, box], [0.8, 0.9], [box]) == [0, 1]
    assert match_one([box, box], [0.9, 0.9], [box]) == [1, 0], "the first of equal scores"


def test_crowd_takes_any_number_and_they_are_ignored():
    crowd = np.array([True])
    small = [[0, 0, 10, 10], [20, 20, 10, 10], [500, 0, 10, 10]]
    outcome = match_one(small, [0.9, 0.8, 0.7], [[0, 0, 100, 100]], gt_crowd=crowd)
    assert outcome == [-1, -1, 0]


def test_object_that_counts_comes_before_an_ignored_one_of_larger_overlap():
    outcome, _, index = match_detections(
        np.array([[0.0, 0, 10, 10]]),
        np.array([0.9]),
        np.array([0, 1]),
        np.array([[0.0, 0, 10, 10], [0, 0, 10, 8]]),
        np.array([0, 2]),
        gt_ignore=np.array([True, False]),
        iou_thresholds=[0.5],
        return_index=True,
    )
    assert outcome.item() == 1 and index.item() == 1


def test_of_equal_overlaps_coco_takes_the_last_object_and_voc_the_first():
    box = np.array([[0.0, 0, 10, 10]])
    for rule, wanted in (("coco", 1), ("voc", 0)):
        _, _, index = match_detections(
            box,
            np.array([0.9]),
            np.array([0, 1]),
            box.repeat(2, 0),
            np.array([0, 2]),
            rule=rule,
            return_index=True,
        )
        assert (index == wanted).all()


def test_area_bounds_are_inside_on_both_ends():
    box = [0, 0, 32, 32]
    for low, high in ((0, 1024), (1024, 9216)):
        assert match_one([box], [0.9], [box], area_ranges=[(low, high)]) == [1]
    far = [500, 500, 32, 33]
    assert match_one([far], [0.9], [box], area_ranges=[(0, 1024)]) == [-1]
    # matched with an object inside, a detection outside still counts
    assert match_one([[0, 0, 32, 33]], [0.9], [box], area_ranges=[(0, 1024)]) == [1]


def test_perfect_overlap_passes_a_threshold_of_one():
    thirds = [0.1, 0.1, 0.3, 0.7]
    assert match_one([thirds], [0.9], [thirds], iou_thresholds=[1.0]) == [1]


def test_bad_boxes_match_nothing():
    gt = [[0, 0, 10, 10]]
    bad = [
        [np.nan, 0, 10, 10],
        [0, 0, np.nan, 10],
        [0, 0, np.inf, 10],
        [-np.inf, 0, 10, 10],
        [0, 0, 1e200, 1e200],
        [0, 0, 0, 10],
        [0, 0, -5, 10],
    ]
    assert match_one(bad, np.arange(7), gt) == [0] * 7
    assert match_one(gt * 7, np.arange(7), bad) == [0] * 7


def test_detections_beyond_the_cap_are_ignored():
    box = [0, 0, 10, 10]
    assert match_one([box] * 3, [0.1, 0.3, 0.2], [box] * 3, max_detections=2) == [-1, 1, 1]


def test_nan_scores_come_last():
    box = [0, 0, 10, 10]
    assert match_one([box, box], [np.nan, 0.0], [box]) == [0, 1]


def test_negative_zero_and_zero_are_equal_scores():
    box = [0, 0, 10, 10]
    assert match_one([box, box], [-0.0, 0.0], [box]) == [1, 0]
    tensors = match_detections(
        torch.tensor([box, box]),
        torch.tensor([-0.0, 0.0]),
        torch.tensor([0, 2]),
        torch.tensor([box]),
        torch.tensor([0, 1]),
    )
    assert tensors[0][0, 0].tolist() == [1, 0]


def test_any_strides_types_and_dtypes_are_taken():
    rng = np.random.default_rng(0)
    arrays, named = random_groups(rng, groups=5, detections=8, objects=5)
    wanted = match_detections(*arrays, **named)
    dt, scores, dt_offsets, gt, gt_offsets = arrays
    wide = np.zeros((len(dt), 8), ">f8")
    wide[:, ::2] = dt
    strange = (
        wide[:, ::2],
        scores[::-1].copy()[::-1],
        dt_offsets.astype(np.int32),
        np.asfortranarray(gt.astype(np.int16)),
        gt_offsets.astype(np.uint8),
    )
    strange[0].flags.writeable = False
    assert_same(match_detections(*strange, **named), wanted)
    halves = (
        torch.from_numpy(dt).to(torch.bfloat16),
        torch.from_numpy(scores),
        *to_tensors(arrays[2:]),
    )
    assert_same(match_detections(*halves, **to_tensors(named)), wanted)


# --- native: threads, tensors, memory safety ---


def large_case():
    rng = np.random.default_rng(3)
    arrays, named = random_groups(rng, groups=400, detections=40, objects=10, quantum=0.001)
    outcome, gt_count = match_detections(*arrays, **named, area_ranges=AREAS)
    class_offsets = np.array([0, 100, 250, 400])
    return arrays, named, (outcome, arrays[1], arrays[2], class_offsets, gt_count)


def test_results_do_not_depend_on_the_number_of_threads():
    arrays, named, inputs = large_case()
    threads, torch_threads = _numpy.get_num_threads(), torch.get_num_threads()
    try:
        for count in (1, 2, 3, 7):
            _numpy.set_num_threads(count)
            torch.set_num_threads(count)
            outcome, _ = match_detections(*arrays, **named, area_ranges=AREAS)
            np.testing.assert_array_equal(outcome, inputs[0])
            first = accumulate_precision(*inputs)
            second = accumulate_precision(*to_tensors(inputs))
            assert_same(second, first)
    finally:
        _numpy.set_num_threads(threads)
        torch.set_num_threads(torch_threads)


@pytest.mark.parametrize("rule", ["coco", "voc"])
def test_cuda_gives_the_bits_of_the_cpu(rule, cuda):
    arrays, named, inputs = large_case()
    on_gpu = [value.to(cuda) for value in to_tensors(arrays)]
    named_on_gpu = {name: value.to(cuda) for name, value in to_tensors(named).items()}
    wanted = match_detections(*arrays, **named, **FLAGS, rule=rule)
    got = match_detections(*on_gpu, **named_on_gpu, **FLAGS, rule=rule)
    assert_same([value.cpu() for value in got], wanted)
    curves = accumulate_precision(*(value.to(cuda) for value in to_tensors(inputs)))
    assert_same([value.cpu() for value in curves], accumulate_precision(*inputs))
    curve = np.linspace(0, 1, 13).reshape(1, 13)
    for method in ("101point", "11point", "all"):
        area = average_precision(
            *(torch.from_numpy(curve).to(cuda) for _ in range(2)), method=method
        )
        assert_same([area.cpu()], [average_precision(curve, curve, method=method)])


def native_arguments(seed=0):
    rng = np.random.default_rng(seed)
    arrays, named = random_groups(rng, groups=4, detections=5, objects=3)
    dt, scores, dt_offsets, gt, gt_offsets = to_tensors(arrays)
    named = to_tensors(named)
    order = torch.arange(len(scores))
    match = (
        *(dt, order, dt_offsets, gt, *named.values(), gt_offsets),
        *(torch.tensor([0.5, 0.75]).double(), torch.tensor([[0.0, 1e10]]).double()),
    )
    return match, scores, order


@pytest.mark.parametrize("rule", [0, 1])
def test_opcheck_match_detections(rule):
    match, *_ = native_arguments()
    op = torch.ops.sightline.match_detections.default
    torch.library.opcheck(op, (*match, 100, rule, False, True))
    torch.library.opcheck(op, (*match, 100, rule, True, False))


def test_opcheck_accumulate_and_average_precision():
    _, scores, order = native_arguments()
    outcome = torch.randint(-1, 2, (2, 3, len(scores)), dtype=torch.int8)
    arguments = (
        *(outcome, scores, order, order, torch.tensor([0, 3, len(scores)])),
        *(torch.tensor([[2, 0], [1, 5]]), torch.tensor([1, 9]), torch.tensor([0.0, 1.0]).double()),
    )
    torch.library.opcheck(torch.ops.sightline.accumulate_precision.default, arguments)
    curve = torch.linspace(0, 1, 12, dtype=torch.float64).reshape(2, 6)
    torch.library.opcheck(torch.ops.sightline.average_precision.default, (curve, curve, 1))


def test_compiles_in_one_graph():
    arrays, named, _ = large_case()
    tensors, named = to_tensors(arrays), to_tensors(named)
    class_offsets = torch.tensor([0, 100, 400])

    def evaluate(dt, scores, dt_offsets, gt, gt_offsets, class_offsets, named):
        outcome, gt_count = match_detections(dt, scores, dt_offsets, gt, gt_offsets, **named)
        precision, recall, _ = accumulate_precision(
            outcome, scores, dt_offsets, class_offsets, gt_count
        )
        grid = torch.linspace(0, 1, 101, dtype=torch.float64)
        flat = precision[:, :, 0, 0, -1]
        return precision, recall, average_precision(grid.expand_as(flat), flat, method="all")

    compiled = torch.compile(evaluate, fullgraph=True, backend="aot_eager")
    for result, wanted in zip(
        compiled(*tensors, class_offsets, named), evaluate(*tensors, class_offsets, named)
    ):
        assert torch.equal(result, wanted)


def test_native_ops_pass_over_rows_and_orders_that_lie_outside():
    match, scores, _ = native_arguments()
    broken = list(match)
    broken[1] = torch.full_like(match[1], 10**12)
    broken[2] = torch.tensor([-5, 10**12, 3, -7, 10**9])
    broken[7] = torch.tensor([0, 2, 1, 10**12, -1])
    for arguments, native in (
        (broken, torch.ops.sightline),
        ([value.numpy() for value in broken], _numpy),
    ):
        outcome, _, index = native.match_detections(*arguments, 100, 0, False, True)
        assert (outcome == -1).all() and (index == -1).all()
    order = torch.full((len(scores),), -3)
    precision, *_ = torch.ops.sightline.accumulate_precision(
        *(torch.ones(1, 1, len(scores), dtype=torch.int8), scores, order, order),
        *(torch.tensor([0, 10**12]), torch.tensor([[3]]), torch.tensor([5])),
        torch.tensor([0.0, 1.0]).double(),
    )
    assert (precision == 0).all()


# --- errors ---

BOX, ONE, OFFSETS = np.array([[0.0, 0, 5, 5]]), np.array([0.5]), np.array([0, 1])


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"dt_boxes_xywh": BOX[:, :3]}, ValueError, r"`dt_boxes_xywh` must have shape \[N, 4\]"),
        ({"dt_scores": np.ones(2)}, ValueError, r"`dt_scores` must have shape \[1\]"),
        ({"dt_offsets": np.array([0, 2])}, ValueError, "`dt_offsets` must run from 0 to 1"),
        ({"gt_offsets": np.array([1, 0])}, ValueError, "`gt_offsets` must run from 0 to 1"),
        ({"gt_offsets": np.array([0, 0, 1])}, ValueError, "must have the same length"),
        ({"dt_offsets": np.array([0.0, 1])}, TypeError, "`dt_offsets` must hold integers"),
        ({"dt_boxes_xywh": torch.ones(1, 4)}, TypeError, "tensors and arrays do not mix"),
        ({"dt_boxes_xywh": [[0, 0, 1, 1]]}, TypeError, "must be a torch.Tensor or a numpy.ndarray"),
        ({"dt_boxes_xywh": BOX.astype(bool)}, TypeError, "must hold real numbers"),
        ({"gt_area": np.ones(2)}, ValueError, r"`gt_area` must have shape \[1\]"),
        ({"gt_crowd": np.ones(2, bool)}, ValueError, r"`gt_crowd` must have shape \[1\]"),
        ({"iou_thresholds": [1.5]}, ValueError, r"`iou_thresholds` must be one or more numbers"),
        ({"area_ranges": [(5, 1)]}, ValueError, "`area_ranges` must be one or more pairs"),
        ({"max_detections": 0}, ValueError, "`max_detections` must be at least 1, got 0"),
        ({"max_detections": 1.5}, TypeError, "must be an integer, got float"),
        ({"rule": "lvis"}, ValueError, "`rule` must be one of 'coco', 'voc', got 'lvis'"),
    ],
)
def test_match_detections_refuses(change, error, message):
    arguments = {
        "dt_boxes_xywh": BOX,
        "dt_scores": ONE,
        "dt_offsets": OFFSETS,
        "gt_boxes_xywh": BOX,
        "gt_offsets": OFFSETS,
    }
    with pytest.raises(error, match=message):
        match_detections(**{**arguments, **change})


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"outcome": np.ones((1, 1), np.int8)}, ValueError, r"shape \[A, T, D\], got \[1, 1\]"),
        ({"outcome": np.ones((1, 1, 1))}, TypeError, "`outcome` must be int8, got float64"),
        ({"dt_scores": np.ones(2)}, ValueError, r"`dt_scores` must have shape \[1\]"),
        ({"class_offsets": np.array([0, 2])}, ValueError, "`class_offsets` must run from 0 to 1"),
        ({"gt_count": np.ones((1, 3), int)}, ValueError, r"`gt_count` must have shape \[1, 1\]"),
        ({"max_detections": [0]}, ValueError, "at least 1"),
        ({"recall_thresholds": [0.5, 0.1]}, ValueError, "must ascend"),
    ],
)
def test_accumulate_precision_refuses(change, error, message):
    arguments = {
        "outcome": np.ones((1, 1, 1), np.int8),
        "dt_scores": ONE,
        "dt_offsets": OFFSETS,
        "class_offsets": OFFSETS,
        "gt_count": np.ones((1, 1), int),
    }
    with pytest.raises(error, match=message):
        accumulate_precision(**{**arguments, **change})


def test_average_precision_refuses():
    with pytest.raises(ValueError, match="must have the same shape"):
        average_precision(np.ones(3), np.ones(4))
    with pytest.raises(ValueError, match="`method` must be one of '101point', '11point', 'all'"):
        average_precision(np.ones(3), np.ones(3), method="12point")
    with pytest.raises(TypeError, match="do not mix"):
        average_precision(np.ones(3), torch.ones(3))
