import numpy as np
import pytest
import torch

from sightline import ops
from sightline.models import (
    best_possible_recall,
    default_anchors,
    fit_anchors,
    grid_anchors,
    grid_points,
    kmeans_anchors,
)


def mean_best_iou(sizes, anchors):
    overlap = np.minimum(sizes[:, None], anchors[None]).prod(2)
    union = sizes.prod(1)[:, None] + anchors.prod(1)[None] - overlap
    return (overlap / union).max(1).mean()


def test_kmeans_finds_separate_clusters():
    rng = np.random.default_rng(0)
    true = np.array([[10, 12], [50, 20], [90, 100]], float)
    sizes = np.concatenate([size * rng.uniform(0.9, 1.1, (40, 2)) for size in true])
    anchors = kmeans_anchors(rng.permutation(sizes), 3)
    np.testing.assert_allclose(anchors, true, rtol=0.05)


def test_kmeans_is_deterministic_and_better_with_more_anchors():
    sizes = np.random.default_rng(1).uniform(4, 100, (200, 2))
    assert np.array_equal(kmeans_anchors(sizes, 5), kmeans_anchors(sizes, 5))
    fits = [mean_best_iou(sizes, kmeans_anchors(sizes, k)) for k in (1, 3, 9)]
    assert fits == sorted(fits) and fits[2] > fits[0] + 0.1


def test_kmeans_with_fewer_boxes_than_anchors_gives_all_anchors():
    anchors = kmeans_anchors([[8, 16]], 3)
    np.testing.assert_array_equal(anchors, [[8, 16]] * 3)


@pytest.mark.parametrize(
    ("sizes", "message"),
    [
        (np.zeros((0, 2)), r"N >= 1, got \[0, 2\]"),
        ([[1, 2, 3]], r"got \[1, 3\]"),
        ([[0, 3]], "above 0"),
        ([[np.nan, 3]], "above 0"),
    ],
)
def test_kmeans_names_bad_sizes(sizes, message):
    with pytest.raises(ValueError, match=message):
        kmeans_anchors(sizes, 2)


def test_kmeans_names_bad_count():
    with pytest.raises(ValueError, match="`count` must be at least 1, got 0"):
        kmeans_anchors([[1, 1]], 0)


def test_fit_anchors_gives_the_finest_map_the_smallest():
    sizes = np.random.default_rng(2).uniform(4, 100, (200, 2))
    levels = fit_anchors(sizes, levels=3, per_level=2)
    assert [len(level) for level in levels] == [2, 2, 2]
    areas = [width * height for level in levels for width, height in level]
    assert areas == sorted(areas)


def test_default_anchors_have_the_areas_and_aspects_of_the_paper():
    (level,) = default_anchors([8])
    assert len(level) == 9
    assert sorted({round((w * h) ** 0.5, 3) for w, h in level}) == [32.0, 40.317, 50.797]
    assert sorted({round(h / w, 3) for w, h in level}) == [0.5, 1.0, 2.0]


def test_grid_anchors_are_centred_on_cells_row_by_row():
    boxes = grid_anchors(torch.tensor([[4.0, 2.0], [8.0, 8.0]]), 8, 2, 3)
    assert boxes.shape == (12, 4)
    assert boxes[0].tolist() == [2, 3, 6, 5]
    assert boxes[1].tolist() == [0, 0, 8, 8]
    assert boxes[2].tolist() == [10, 3, 14, 5]  # second column
    assert boxes[6].tolist() == [2, 11, 6, 13]  # second row


def test_kmeans_is_the_plain_algorithm():
    sizes = np.random.default_rng(3).integers(4, 200, (40_000, 2)).astype(float)
    sizes = sizes[np.argsort(sizes.prod(1), kind="stable")]  # over several chunks
    log_area = np.log(sizes.prod(1))
    wanted = np.linspace(*np.percentile(log_area, [2, 98]), 4)
    centres = sizes[np.abs(log_area[:, None] - wanted).argmin(0)]
    for _ in range(5):
        overlap = np.minimum(sizes[:, None], centres).prod(2)
        iou = overlap / (sizes.prod(1)[:, None] + centres.prod(1) - overlap)
        centres = np.array([sizes[iou.argmax(1) == k].mean(0) for k in range(4)])
    np.testing.assert_allclose(kmeans_anchors(sizes, 4, max_rounds=5), centres, rtol=1e-12)


def test_best_possible_recall_worked_by_hand():
    sizes = [[10, 10], [10, 5], [40, 40], [10, 3]]
    anchors = [[10, 10], [20, 20]]
    # The best shape IoUs are 1, .5, .25 and .3, the best factors 1, 2, 2 and 3.33.
    assert best_possible_recall(sizes, anchors, 0.5) == 0.5
    assert best_possible_recall(sizes, anchors, 0.3, rule="v2") == 0.75
    assert best_possible_recall(sizes, anchors, 0) == 1
    assert best_possible_recall(sizes, anchors, 2, rule="v5") == 0.25  # the factor is left out
    assert best_possible_recall(sizes, anchors, 2.1, rule="v5") == 0.75
    assert best_possible_recall(sizes, anchors, 4, rule="v5") == 1


def test_best_possible_recall_is_the_share_that_assign_yolo_gives_an_anchor():
    rng = np.random.default_rng(4)
    sizes, anchors = rng.uniform(4, 90, (300, 2)), rng.uniform(4, 90, (3, 2))
    for threshold in (1.5, 3):
        taken = [
            (
                ops.assign_yolo(
                    np.array([[0, 0, *size]]),
                    [anchors],
                    [(1, 1)],
                    [100],
                    rule="v5",
                    ratio_threshold=threshold,
                )
                >= 0
            ).any()
            for size in sizes
        ]
        assert best_possible_recall(sizes, anchors, threshold, rule="v5") == np.mean(taken)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (([[0, 3]], [[1, 1]], 0.5), "`sizes` must be finite and above 0"),
        (([[1, 3]], [[1, 1, 1]], 0.5), r"`anchor_sizes` must have shape \[N, 2\]"),
        (([[1, 3]], [[1, 1]], 1.5), r"`threshold` must lie in \[0, 1\], got 1.5"),
        (([[1, 3]], [[1, 1]], 1, "v5"), "`threshold` of rule 'v5' is a factor above 1, got 1"),
        (([[1, 3]], [[1, 1]], 0.5, "v4"), "`rule` must be one of .*, got 'v4'"),
    ],
)
def test_best_possible_recall_names_what_is_wrong(arguments, message):
    *plain, rule = arguments if len(arguments) == 4 else (*arguments, "v3")
    with pytest.raises(ValueError, match=message):
        best_possible_recall(*plain, rule=rule)


def test_grid_points_are_the_centres_of_anchors():
    points = grid_points(8, 2, 3)
    assert points.tolist() == [[4, 4], [12, 4], [20, 4], [4, 12], [12, 12], [20, 12]]
    boxes = grid_anchors(torch.tensor([[4.0, 2.0]]), 8, 2, 3)
    assert torch.equal((boxes[:, :2] + boxes[:, 2:]) / 2, points)
    assert grid_points(8, 0, 3, dtype=torch.float64).shape == (0, 2)
