import numpy as np
import pytest
import torch

from sightline.models import default_anchors, fit_anchors, grid_anchors, kmeans_anchors


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
