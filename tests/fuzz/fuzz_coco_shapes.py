"""evaluate_coco of masks and of keypoints: every cell against pycocotools, where that is."""

import contextlib

import numpy as np

run = None
with contextlib.suppress(ImportError):
    from tests.metrics.coco import test_shapes as run

CASES = 1_500
SHORT = 4


def check(rng: np.random.Generator) -> None:
    if run is None:
        return
    use_classes = bool(rng.random() < 0.8)
    truth, found = run.draw_masks(rng, boxes=bool(rng.random() < 0.3))
    if found:
        run.check_equal(truth, found, "segm", use_classes=use_classes)
    truth, found = run.draw_keypoints(rng)
    if found:
        run.check_equal(truth, found, "keypoints", use_classes=use_classes)
