"""Object keypoint similarity: poses near and far, none visible, any number of keypoints."""

import numpy as np

from sightline.metrics import COCO_KEYPOINT_SIGMAS, keypoint_similarity
from sightline.reference import keypoints as reference

CASES = 20_000


def check(rng: np.random.Generator) -> None:
    k = int(rng.choice([1, 2, 7, 8, 9, 17, 133, 300]))
    sigmas = COCO_KEYPOINT_SIGMAS if k == 17 else rng.uniform(0.01, 0.3, k)
    dt, gt = int(rng.integers(0, 6)), int(rng.integers(0, 5))
    objects = np.concatenate(
        [rng.uniform(0, 200, (gt, k, 2)), rng.integers(0, 3, (gt, k, 1)).astype(float)], axis=2
    )
    objects[rng.random(gt) < 0.3, :, 2] = 0
    spread = rng.choice([0, 1, 10, 300])
    found = rng.uniform(0, 200, (dt, k, 3))
    if gt:
        found[..., :2] = rng.choice(objects, dt)[..., :2] + rng.normal(0, spread, (dt, k, 2))
    if rng.random() < 0.5:
        objects, found = np.round(objects), np.round(found)
    area = rng.choice([0.0, 1.0, 500.0, 2e4], gt) * rng.choice([1, 0.37])
    boxes = rng.uniform(0, 100, (gt, 4))
    got = keypoint_similarity(found, objects, area, boxes, sigmas=sigmas)
    expected = reference.keypoint_similarity(found, objects, area, boxes, sigmas)
    assert got.shape == expected.shape == (dt, gt)
    np.testing.assert_array_equal(got, expected, f"{k} keypoints, spread {spread}")
