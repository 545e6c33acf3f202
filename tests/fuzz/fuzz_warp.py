"""warp against the reference: any sizes and channels, maps with and without a horizon, grids."""

from typing import Any

import numpy as np
import torch

from sightline import ops, reference

CASES = 5_000


def draw_matrix(rng: np.random.Generator) -> np.ndarray:
    matrix = np.eye(3)
    matrix[:2, :2] = rng.normal(0, 1, (2, 2)) * rng.choice([0.2, 1, 3])
    matrix[:2, 2] = rng.uniform(-30, 60, 2)
    kind = rng.random()
    if kind < 0.3:
        matrix[2, :2] = rng.normal(0, 0.01, 2)
    elif kind < 0.5:  # whole numbers and quarters: points on borders and centres
        matrix[:2] = np.round(matrix[:2] * 4) / 4
    return matrix if abs(np.linalg.det(matrix)) > 1e-9 else np.eye(3)


def check(rng: np.random.Generator) -> None:
    channels = int(rng.choice([1, 3, 4]))
    shape = tuple(rng.integers(0, 70, 2)) if rng.random() < 0.8 else tuple(rng.integers(0, 4, 2))
    images = rng.integers(0, 256, (int(rng.integers(1, 3)), *shape, channels), dtype=np.uint8)
    matrix = draw_matrix(rng)
    size = (int(rng.integers(0, 20)), int(rng.choice([1, 15, 64, 255, 256, 257, 300])))
    rules: dict[str, Any] = {
        "interpolation": str(rng.choice(["bilinear", "bilinear", "nearest"])),
        "antialias": bool(rng.random() < 0.6),
        "fill": [float(v) for v in rng.uniform(0, 255, channels)],
    }
    if rng.random() < 0.4:
        grid = rng.normal(0, 5, (*rng.integers(1, 9, 2), 2))
        rules["displacements"] = grid.astype(np.float32)
        if rng.random() < 0.2:
            rules["displacements"].flat[0] = rng.choice([np.nan, np.inf, -3e38])
    if rng.random() < 0.5:
        colors = np.eye(channels, channels + 1) + rng.normal(0, 0.5, (channels, channels + 1))
        rules["colors"] = colors.astype(np.float32)
    if rng.random() < 0.5:
        rules["mean"], rules["std"] = float(rng.uniform(0, 1)), float(rng.uniform(0.1, 1))
    said = f"{images.shape} to {size} by {matrix.tolist()}, {rules}"
    expected = reference.warp(images, matrix, size, **rules)
    if rng.random() < 0.3:
        given = {k: torch.from_numpy(v) if isinstance(v, np.ndarray) else v
                 for k, v in rules.items()}  # fmt: skip
        got = ops.warp(torch.from_numpy(images), torch.from_numpy(matrix), size, **given).numpy()
    else:
        got = ops.warp(images, matrix, size, **rules)
    assert got.dtype == expected.dtype and (got == expected).all(), said
