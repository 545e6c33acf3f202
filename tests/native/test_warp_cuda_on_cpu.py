"""The CUDA kernel of warp, run on the CPU, gives what the CPU kernel gives."""

import ctypes

import numpy as np
import pytest

from sightline import _numpy

from .cuda_on_cpu import build
from .cuda_on_cpu.kernels import counters, garbage, pointer, start

SCALE, OFFSET = [0.02, 0.01, 0.03, 0.01], [-1.0, -2.0, 0.5, 0.0]


@pytest.fixture(scope="module")
def library():
    return build.library("warp")


def emulated(library, images, matrices, size, grid, colors, fill, scale, nearest, antialias):
    batch, channels = images.shape[0], images.shape[3]
    normalised = len(scale) > 0
    shape = (batch, channels, *size) if normalised else (batch, *size, channels)
    out = garbage(shape, np.float32 if normalised else np.uint8)
    grid_size = (0, 0) if grid is None else grid.shape[1:3]
    sizes = np.array([*images.shape[:3], channels, *size, *grid_size], np.int64)
    steps = [0 if v is None or len(v) == 1 else v[0].size for v in (matrices, grid, colors)]
    numbers = np.zeros((3, 4), np.float32)
    numbers[0, :channels] = fill
    numbers[1], numbers[2] = SCALE, OFFSET
    run = library[f"warp_{out.dtype}"]
    arrays = (images, matrices, grid, colors, out, sizes, np.array(steps, np.int64), numbers)
    run(*map(pointer, arrays), ctypes.c_int64(nearest), ctypes.c_int64(antialias and not nearest))
    return out


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_warp_gives_what_the_cpu_gives(library, channels):
    rng = np.random.default_rng(channels)
    images = rng.integers(0, 256, (3, 19, 23, channels), dtype=np.uint8)
    matrices = rng.normal(0, 0.3, (3, 3, 3)) + np.diag([0.8, 1.1, 1.0])
    matrices[:, 2, :2] *= (np.array([0.0, 0.02, 0.1]) / 0.3)[:, None]
    matrices[2, 0] = matrices[2, 1]  # no inverse
    matrices[2, 0] = 0
    grid = rng.normal(0, 3, (3, 3, 4, 2)).astype(np.float32)
    grid[1, 0, 0] = np.nan
    colors = rng.normal(0.3, 0.5, (1, channels, channels + 1)).astype(np.float32)
    fill = list(rng.uniform(0, 255, channels))
    for seed, (nearest, antialias, moves, factors) in enumerate(
        [(0, 1, None, None), (0, 0, grid, colors), (1, 1, grid[:1], None), (0, 1, grid, None)]
    ):
        for scale, offset in (([], []), (SCALE[:channels], OFFSET[:channels])):
            for maps in (matrices, matrices[:1]):
                start(library, seed)
                rules = (fill, scale, bool(nearest), bool(antialias))
                found = emulated(library, images, maps, (9, 37), moves, factors, *rules)
                expected = _numpy.warp(
                    images, maps, 9, 37, moves, factors, fill, scale, offset, *rules[2:]
                )
                np.testing.assert_array_equal(found, expected)
                asked = counters(library)
                assert asked.kernels == 1 and asked.synchronisations == asked.copies_to_host == 0
