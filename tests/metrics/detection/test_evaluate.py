"""The native evaluation against the public ops, and resampled images against explicit copies."""

from dataclasses import replace

import numpy as np
import pytest

from sightline import _numpy
from sightline.metrics.detection.evaluate import EvaluatedArrays, evaluate, lay_out
from sightline.metrics.detection.kernels import (
    accumulate_sorted,
    match_masks,
    match_sorted,
    resample,
)
from sightline.metrics.detection.rows import FlatDetections, FlatTargets, Rules

AREAS = np.array([[0, 1e10], [0, 1024], [1024, 9216], [9216, 1e10]], np.float64)


def rules(thresholds: int = 10, caps: tuple[int, ...] | None = (1, 3, 10), **changes) -> Rules:
    settings = {
        "matching": "coco",
        "iou_thresholds": np.linspace(0.3, 0.95, thresholds),
        "recall_thresholds": np.linspace(0, 1, 101),
        "area_ranges": AREAS,
        "max_detections": caps,
        "inclusive": False,
        "average": None,
    }
    return Rules(**(settings | changes))


def draw(
    seed: int,
    *,
    images: int = 9,
    classes: int = 4,
    objects: int = 60,
    detections: int = 300,
    ties: bool = True,
) -> tuple[FlatDetections, FlatTargets]:
    """Detections near objects, with ties of score and boxes on a grid, so ties of IoU too."""
    rng = np.random.default_rng(seed)
    gt_boxes = np.concatenate(
        [rng.integers(0, 60, (objects, 2)), rng.integers(4, 130, (objects, 2))], axis=1
    ).astype(np.float64)
    source = rng.integers(0, objects, detections)
    dt_boxes = gt_boxes[source] + rng.integers(-6, 7, (detections, 4))
    dt_boxes[:, 2:] = np.maximum(dt_boxes[:, 2:], 1)
    gt_image, gt_label = rng.integers(0, images, objects), rng.integers(0, classes, objects)
    far = rng.random(detections) < 0.3
    return (
        FlatDetections(
            np.where(far, rng.integers(0, images, detections), gt_image[source]),
            np.where(far, rng.integers(0, classes, detections), gt_label[source]),
            dt_boxes,
            rng.integers(0, 12, detections) / 11 if ties else rng.random(detections),
        ),
        FlatTargets(
            gt_image,
            gt_label,
            gt_boxes,
            gt_boxes[:, 2] * gt_boxes[:, 3] * rng.choice([1.0, 0.5], objects),
            rng.random(objects) < 0.1,
            rng.random(objects) < 0.1,
        ),
    )


def by_public_ops(
    dt: FlatDetections, gt: FlatTargets, num_classes: int, chosen: Rules
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Sorted by NumPy, matched and accumulated by the ops that keep a code for each threshold."""
    dt_key, gt_key = dt.label * 1000 + dt.image, gt.label * 1000 + gt.image
    keys = np.union1d(dt_key, gt_key)
    dt_order = np.lexsort((0.0 - dt.scores, dt_key))
    gt_order = np.argsort(gt_key, kind="stable")
    dt_offsets = np.append(np.searchsorted(dt_key[dt_order], keys), len(dt_key))
    gt_offsets = np.append(np.searchsorted(gt_key[gt_order], keys), len(gt_key))
    groups = np.searchsorted(keys // 1000, np.arange(num_classes + 1))
    caps = chosen.max_detections or (len(dt.scores),)
    outcome, count, _ = match_sorted(
        dt.boxes_xywh[dt_order],
        dt_offsets,
        gt.boxes_xywh[gt_order],
        gt.area[gt_order],
        gt.crowd[gt_order],
        gt.ignore[gt_order],
        gt_offsets,
        iou_thresholds=chosen.iou_thresholds,
        area_ranges=chosen.area_ranges,
        max_detections=max(caps),
        rule=chosen.matching,
        inclusive=chosen.inclusive,
        return_index=False,
    )
    totals = np.pad(count.cumsum(axis=1), ((0, 0), (1, 0)))
    scores, labels = dt.scores[dt_order], dt.label[dt_order]
    return accumulate_sorted(
        outcome,
        scores,
        np.lexsort((0.0 - scores, labels)),
        np.arange(len(scores)) - np.repeat(dt_offsets[:-1], np.diff(dt_offsets)),
        dt_offsets[groups],
        np.ascontiguousarray(totals[:, groups[1:]] - totals[:, groups[:-1]]),
        max_detections=caps,
        recall_thresholds=chosen.recall_thresholds,
    )


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize(
    "chosen",
    [
        rules(),
        rules(thresholds=37),
        rules(thresholds=1, caps=(2,)),
        rules(caps=(1, 2, 3, 4, 5, 6, 100)),
        rules(matching="voc", inclusive=True, caps=None, area_ranges=AREAS[:1]),
    ],
    ids=["coco", "37 thresholds", "one", "seven caps", "voc"],
)
def test_equals_the_public_ops(seed: int, chosen: Rules) -> None:
    dt, gt = draw(seed)
    arrays = evaluate(dt, gt, 4, chosen)
    expected = by_public_ops(dt, gt, 4, chosen)
    for actual, wanted in zip((arrays.precision, arrays.recall, arrays.scores), expected):
        np.testing.assert_array_equal(actual, wanted)


def test_layout_orders_rows_by_group_and_by_class() -> None:
    dt, gt = draw(3, images=5, classes=3, objects=20, detections=80)
    layout = lay_out(dt, gt, 3, num_images=5, max_detections=4)
    for k in range(3):
        first, last = layout.class_groups[k : k + 2]
        images = []
        for s in range(first, last):
            rows = layout.dt_rows[layout.dt_offsets[s] : layout.dt_offsets[s + 1]]
            objects = layout.gt_rows[layout.gt_offsets[s] : layout.gt_offsets[s + 1]]
            image = {*dt.image[rows].tolist(), *gt.image[objects].tolist()}
            assert len(image) == 1
            images += image
            of_group = np.flatnonzero((dt.image == images[-1]) & (dt.label == k))
            best = of_group[np.argsort(-dt.scores[of_group], kind="stable")][:4]
            np.testing.assert_array_equal(rows, best)
            np.testing.assert_array_equal(
                objects, np.flatnonzero((gt.image == images[-1]) & (gt.label == k))
            )
            places = layout.dt_places[layout.dt_offsets[s] : layout.dt_offsets[s + 1]]
            np.testing.assert_array_equal(layout.class_rows[places], rows)
            np.testing.assert_array_equal(layout.class_ranks[places], np.arange(len(rows)))
        assert images == sorted(images)
        rows = layout.class_rows[layout.class_offsets[k] : layout.class_offsets[k + 1]]
        assert np.all(np.diff(dt.scores[rows]) <= 0)
    np.testing.assert_array_equal(layout.class_scores, dt.scores[layout.class_rows])
    np.testing.assert_array_equal(layout.class_images, dt.image[layout.class_rows])


def test_matching_refuses_a_record_whose_fields_do_not_fit() -> None:
    dt, gt = draw(3)
    layout = lay_out(dt, gt, 4, num_images=9)

    def match(dt=dt, gt=gt, layout=layout):
        return match_masks(dt, gt, layout, rules(), np.array([0.5]), None)

    assert match().shape == (len(dt.scores), len(AREAS), 2)
    narrow = replace(dt, boxes_xywh=dt.boxes_xywh.astype(np.float32))
    with pytest.raises(TypeError, match="boxes_xywh must be a contiguous array of float64"):
        match(dt=narrow)
    with pytest.raises(ValueError, match=r"gt.crowd must have shape \[60\]"):
        match(gt=replace(gt, crowd=gt.crowd[1:]))
    with pytest.raises(ValueError, match="a row that is not there"):
        match(layout=replace(layout, gt_rows=layout.gt_rows + 1))
    with pytest.raises(ValueError, match="dt_places has a value out of range"):
        match(layout=replace(layout, dt_places=layout.dt_places - 1))


@pytest.mark.parametrize("tied", [False, True])
def test_scores_that_differ_in_their_last_bits_are_sorted(tied: bool) -> None:
    rng = np.random.default_rng(0)
    scores = 0.5 + rng.integers(0, 1000, 5000) * 2.0**-53
    scores[::7] = -0.0 if tied else 0.25
    dt = FlatDetections(
        np.zeros(5000, np.int64), np.zeros(5000, np.int64), np.ones((5000, 4)), scores
    )
    none = np.zeros(0, np.int64)
    gt = FlatTargets(
        none, none, np.zeros((0, 4)), np.zeros(0), np.zeros(0, bool), np.zeros(0, bool)
    )
    layout = lay_out(dt, gt, 1, num_images=1)
    np.testing.assert_array_equal(layout.class_rows, np.argsort(-scores, kind="stable"))


def copies(rows: np.ndarray, image: np.ndarray, weights: np.ndarray) -> tuple[np.ndarray, ...]:
    """Rows and images of a data set in which image i stands weights[i] times, side by side."""
    first = np.cumsum(weights) - weights
    pairs = [(row, first[image[row]] + copy) for row in rows for copy in range(weights[image[row]])]
    return tuple(np.array(column, np.int64) for column in zip(*pairs)) or (rows[:0], rows[:0])


def duplicated(
    dt: FlatDetections, gt: FlatTargets, weights: np.ndarray
) -> tuple[FlatDetections, FlatTargets]:
    d, dt_image = copies(np.arange(len(dt.image)), dt.image, weights)
    g, gt_image = copies(np.arange(len(gt.image)), gt.image, weights)
    return (
        FlatDetections(dt_image, dt.label[d], dt.boxes_xywh[d], dt.scores[d]),
        FlatTargets(gt_image, gt.label[g], gt.boxes_xywh[g], gt.area[g], gt.crowd[g], gt.ignore[g]),
    )


STATS = [  # first and last threshold, area, cap, recall
    (0, 10, 0, 2, 0),
    (3, 4, 0, 2, 0),
    (0, 10, 1, 2, 0),
    (0, 10, 2, 1, 0),
    (0, 10, 0, 0, 1),
    (0, 10, 3, 2, 1),
]


def stats_of(arrays: EvaluatedArrays) -> np.ndarray:
    values = []
    for first, last, area, cap, recall in STATS:
        cells = (arrays.recall if recall else arrays.precision)[first:last, ..., area, cap]
        present = cells[cells > -1]
        values.append(present.mean() if present.size else np.nan)
    return np.array(values)


@pytest.mark.parametrize("seed", range(6))
def test_resampled_images_equal_explicit_copies(seed: int) -> None:
    # Of equal scores in an image, resampling puts the copies of each detection side by side.
    dt, gt = draw(seed, ties=False)
    weights = np.random.default_rng(seed).integers(0, 4, (5, 9)).astype(np.uint16)
    weights[0] = 1
    weights[1] = 0
    matched = evaluate(dt, gt, 4, rules()).matched
    stats, class_ap = resample(matched, weights, STATS)
    for row, times in enumerate(weights):
        arrays = evaluate(*duplicated(dt, gt, times.astype(np.int64)), 4, rules())
        np.testing.assert_allclose(stats[row], stats_of(arrays), rtol=1e-12, equal_nan=True)
        cells = arrays.precision[:, :, :, 0, 2].mean(axis=(0, 1))
        np.testing.assert_allclose(class_ap[row], np.where(cells < 0, np.nan, cells), rtol=1e-12)


def test_any_number_of_threads_gives_the_same_bits() -> None:
    dt, gt = draw(1, images=40, detections=6000, objects=900)
    weights = np.random.default_rng(0).integers(0, 3, (7, 40)).astype(np.uint16)
    before = _numpy.get_num_threads()
    try:
        found = []
        for threads in (1, 2, 5):
            _numpy.set_num_threads(threads)
            arrays = evaluate(dt, gt, 4, rules())
            found.append(
                (arrays.precision, arrays.scores, *resample(arrays.matched, weights, STATS))
            )
    finally:
        _numpy.set_num_threads(before)
    for other in found[1:]:
        for a, b in zip(found[0], other):
            np.testing.assert_array_equal(a, b)


def test_overlaps_given_take_the_place_of_boxes() -> None:
    dt, gt = draw(2)
    gt = FlatTargets(
        gt.image, gt.label, gt.boxes_xywh, gt.area, np.zeros(len(gt.area), bool), gt.ignore
    )

    def overlaps(layout) -> np.ndarray:
        blocks = []
        for s in range(len(layout.dt_offsets) - 1):
            rows = layout.dt_rows[layout.dt_offsets[s] : layout.dt_offsets[s + 1]]
            objects = layout.gt_rows[layout.gt_offsets[s] : layout.gt_offsets[s + 1]]
            a, b = (
                np.concatenate([x[:, :2], x[:, :2] + x[:, 2:]], axis=1)
                for x in (dt.boxes_xywh[rows], gt.boxes_xywh[objects])
            )
            # as COCO takes areas: w * h, not of the corners
            side = np.minimum(a[:, None, 2:], b[None, :, 2:]) - np.maximum(
                a[:, None, :2], b[None, :, :2]
            )
            inter = np.maximum(side, 0).prod(axis=2)
            areas = dt.boxes_xywh[rows, 2:].prod(axis=1)[:, None] + gt.boxes_xywh[objects, 2:].prod(
                axis=1
            )
            blocks.append((inter / (areas - inter)).ravel())
        return np.concatenate(blocks)

    given, own = (evaluate(dt, gt, 4, rules(), overlaps=o) for o in (overlaps, None))
    np.testing.assert_array_equal(given.precision, own.precision)
    np.testing.assert_array_equal(given.scores, own.scores)
