"""COCO files: the evaluator, the drop-in and pycocotools against the plain evaluation."""

import importlib.util

import numpy as np

from sightline import metrics
from sightline.reference.coco import evaluate_coco

from ..metrics.coco.cases import (
    STATS,
    draw_case,
    draw_settings,
    id_zero_is_known,
    run_pycocotools,
)

CASES = 5_000
SHORT = 40
HAS_PYCOCOTOOLS = importlib.util.find_spec("pycocotools") is not None


def check(rng: np.random.Generator) -> None:
    truth, found = draw_case(rng)
    settings = draw_settings(rng)
    said = f"{settings}, {truth}, {found}"
    plain = evaluate_coco(truth, found, parity="pycocotools", **settings)
    libraries = ["sightline.metrics.pycocotools", *(["pycocotools"] if HAS_PYCOCOTOOLS else [])]
    for library in libraries:
        got = run_pycocotools(truth, found, library=library, **settings)
        for name in STATS:
            np.testing.assert_array_equal(
                got[name], getattr(plain, name), f"{name} of {library}: {said}"
            )
    settings.pop("recall_thresholds", None)
    for parity in ("corrected", "pycocotools"):
        plain = evaluate_coco(truth, found, parity=parity, **settings)
        with id_zero_is_known():
            fast = metrics.evaluate_coco(truth, found, parity=parity, **settings)
        for name in STATS:
            np.testing.assert_array_equal(
                getattr(fast, name), getattr(plain, name), f"{name}, {parity}: {said}"
            )
