"""The array half alone: `make without-torch` runs these in an environment without torch.

SIGHTLINE_SITE names a folder to load the package from, for builds that are not installed.
"""

import importlib.util
import os
import subprocess
import sys

import numpy as np
import pytest

if "SIGHTLINE_SITE" in os.environ:
    sys.meta_path = [f for f in sys.meta_path if "Redirecting" not in type(f).__name__]
    sys.path.insert(0, os.environ["SIGHTLINE_SITE"])

from sightline import ops, reference

HAS_TORCH = importlib.util.find_spec("torch") is not None


def random_boxes(n, seed=0):
    rng = np.random.default_rng(seed)
    corner = rng.uniform(0, 100, (n, 2))
    return np.concatenate([corner, corner + rng.uniform(1, 60, (n, 2))], 1)


@pytest.mark.parametrize("name", ["box_iou", "box_ioa", "generalized_box_iou", "distance_box_iou"])
def test_matrix_forms_equal_the_reference(name):
    a, b = random_boxes(65), random_boxes(300, seed=1)
    assert (getattr(ops, name)(a, b) == getattr(reference, name)(a, b)).all()


def test_warp_equals_the_reference():
    picture = np.random.default_rng(3).integers(0, 256, (40, 50, 3), np.uint8)
    matrix = np.array([[0.4, -0.2, 9], [0.3, 0.5, 1], [1e-3, 0, 1]])
    for rules in ({}, {"mean": 0.5, "std": 0.2}, {"interpolation": "nearest"}):
        expected = reference.warp(picture, matrix, (30, 65), **rules)
        assert (ops.warp(picture, matrix, (30, 65), **rules) == expected).all()


def test_nms_and_matching_equal_the_reference():
    boxes, scores = random_boxes(300), np.random.default_rng(2).random(300)
    thresholds = {"high_threshold": 0.5, "low_threshold": 0.3}
    for name, arguments, settings in (
        ("nms", (boxes, scores, 0.4), {}),
        ("batched_nms", (boxes, scores, np.arange(300) % 3, 0.4), {}),
        ("match_anchors", (boxes, random_boxes(20, seed=1)), thresholds),
    ):
        got = getattr(ops, name)(*arguments, **settings)
        assert (got == getattr(reference, name)(*arguments, **settings)).all()


@pytest.mark.skipif(HAS_TORCH, reason="torch is installed")
def test_training_names_what_is_missing():
    for module in ("models", "train"):
        with pytest.raises(ImportError, match=r"pip install 'sightline\["):
            importlib.import_module(f"sightline.{module}")


def test_metrics_and_reference_never_import_torch():
    code = (
        "import sys, sightline.metrics, sightline.reference\n"
        "assert 'torch' not in sys.modules, 'torch was imported'"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_import_of_the_package_loads_nothing_heavy():
    code = "import sys, sightline\nassert 'torch' not in sys.modules and 'numpy' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
