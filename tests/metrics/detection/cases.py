"""Data sets for the tests of analysis: worked by hand, and drawn at random."""

import numpy as np

from sightline.metrics import DetectionEvaluator


def at(*corners, size=10):
    """Boxes of `size` whose left sides are at `corners`."""
    return [[x, 0, x + size, size] for x in corners]


def results_of(images, *, class_names=("cat", "dog"), **settings):
    """Results of (detections, targets) pairs; scores and labels may be left out."""
    evaluator = DetectionEvaluator(class_names=class_names, **settings)
    for i, (detections, targets) in enumerate(images):
        count = len(detections["boxes"])
        defaults = {"scores": np.linspace(0.9, 0.5, count), "labels": np.zeros(count, int)}
        objects = {"labels": np.zeros(len(targets["boxes"]), int)}
        evaluator.update(i, {**defaults, **detections}, {**objects, **targets})
    return evaluator.compute()


def random_images(seed, *, images=30, classes=3, objects=6, detections=12, quantum=0.01):
    """Pairs of detections and targets with crowds, difficult objects and tied scores."""
    rng = np.random.default_rng(seed)
    pairs = []
    for _ in range(images):
        n_gt, n_dt = rng.integers(0, objects + 1), rng.integers(0, detections + 1)
        gt = rng.uniform(0, 200, (n_gt, 4))
        gt[:, 2:] = gt[:, :2] + rng.uniform(5, 130, (n_gt, 2))
        dt = rng.uniform(0, 200, (n_dt, 4))
        dt[:, 2:] = dt[:, :2] + rng.uniform(5, 130, (n_dt, 2))
        labels, dt_labels = rng.integers(0, classes, n_gt), rng.integers(0, classes, n_dt)
        if n_gt:
            aimed = rng.integers(0, n_gt, n_dt)
            near = rng.random(n_dt) < 0.8
            noise = rng.normal(0, 1, (n_dt, 4)) * rng.choice([1.0, 8.0, 25.0], (n_dt, 1))
            moved = gt[aimed] + noise
            moved[:, 2:] = np.maximum(moved[:, 2:], moved[:, :2])
            dt[near] = moved[near]
            right = near & (rng.random(n_dt) < 0.8)
            dt_labels[right] = labels[aimed][right]
        scores = np.round(rng.random(n_dt) / quantum) * quantum
        pairs.append(
            (
                {"boxes": dt, "scores": scores, "labels": dt_labels},
                {
                    "boxes": gt,
                    "labels": labels,
                    "iscrowd": rng.random(n_gt) < 0.1,
                    "difficult": rng.random(n_gt) < 0.1,
                },
            )
        )
    return pairs
