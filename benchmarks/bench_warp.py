"""warp against Pillow and NumPy, and against moving as many bytes; one thread.

python benchmarks/bench_warp.py prints, for each case, milliseconds per picture, pictures per
second (of the median), the bytes that must be moved at least, and the share of the limit: how long
reading the input and writing an output of that size takes in the same run. Contenders take
turns of a few calls, so that other load on the machine affects all of them alike.
"""

import os
import time
from collections.abc import Callable
from functools import partial
from statistics import median
from typing import Any, NamedTuple

import numpy as np
import pytest
from PIL import Image

from sightline import _numpy, ops, reference
from sightline.bench.limits import aligned

HEIGHT, WIDTH = 480, 640
TURNS, CALLS = 12, 5
MEAN, STD = np.float32([0.485, 0.456, 0.406]), np.float32([0.229, 0.224, 0.225])
NORMAL = {"mean": tuple(MEAN), "std": tuple(STD)}
COLORS = np.float32([[1.1, 0.05, 0, -9], [0, 1.2, 0.02, 4], [0.03, 0, 0.9, 7]])


def picture(height: int, width: int) -> np.ndarray:
    """Waves without noise: where interpolation differs slightly, so does the result."""
    y, x, channel = np.mgrid[:height, :width, :3]
    waves = np.sin(x / 23 + channel) * np.cos(y / 31 - channel) * np.sin((x + 2 * y) / 91)
    return (127.5 + 127 * waves).astype(np.uint8)


def flip_and_affine() -> np.ndarray:
    """A flip, a turn by 10 degrees about the centre, and a scale of 1.1."""
    flip = np.array([[-1.0, 0, WIDTH], [0, 1, 0], [0, 0, 1]])
    c, s = 1.1 * np.cos(np.pi / 18), 1.1 * np.sin(np.pi / 18)
    x, y = WIDTH / 2, HEIGHT / 2
    turn = np.array([[c, -s, x - c * x + s * y], [s, c, y - s * x - c * y], [0, 0, 1]])
    return turn @ flip


def normalised(image: Image.Image) -> np.ndarray:
    """float32 [3, H, W] of a picture, as a training step takes it."""
    values = np.asarray(image, np.float32) * (1 / (255 * STD)) - MEAN / STD
    return np.ascontiguousarray(values.transpose(2, 0, 1))


def pillow_affine(image: np.ndarray, matrix: np.ndarray, colors: np.ndarray | None) -> np.ndarray:
    inverse = tuple(np.linalg.inv(matrix)[:2].ravel())
    warped = Image.fromarray(image).transform(
        (WIDTH, HEIGHT), Image.Transform.AFFINE, inverse, Image.Resampling.BILINEAR
    )
    if colors is not None:
        warped = warped.convert("RGB", tuple(float(v) for v in colors.ravel()))
    return normalised(warped)


def pillow_resize(image: np.ndarray) -> np.ndarray:
    small = Image.fromarray(image).resize((WIDTH, HEIGHT), Image.Resampling.BILINEAR)
    return normalised(small)


def pillow_mask(mask: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    inverse = tuple(np.linalg.inv(matrix)[:2].ravel())
    warped = Image.fromarray(mask[..., 0]).transform(
        (WIDTH, HEIGHT), Image.Transform.AFFINE, inverse, Image.Resampling.NEAREST
    )
    return np.asarray(warped)[..., None]


class Case(NamedTuple):
    ours: Callable[[], np.ndarray]
    pillow: Callable[[], np.ndarray] | None
    image: np.ndarray
    matrix: np.ndarray
    rules: dict[str, Any]
    far: float  # a larger difference than this ...
    share: float  # ... at no more than this share of the values


def cases() -> dict[str, Case]:
    image, large, size = picture(HEIGHT, WIDTH), picture(2 * HEIGHT, 2 * WIDTH), (HEIGHT, WIDTH)
    grid = np.random.default_rng(0).normal(0, 5, (7, 9, 2)).astype(np.float32)
    turn, half = flip_and_affine(), np.diag([0.5, 0.5, 1.0])
    mask = np.ascontiguousarray(image[..., :1] // 64)

    def case(image, matrix, pillow, far, share, **rules):
        ours = partial(ops.warp, image, matrix, size, **rules)
        return Case(ours, pillow, image, matrix, rules, far, share)

    level = 1 / (255 * STD.min())  # of a byte, normalised
    affine = partial(pillow_affine, image, turn)
    return {
        "affine, normalised": case(image, turn, partial(affine, None), 1.6 * level, 0.02, **NORMAL),
        "affine, colours, normalised": case(
            image, turn, partial(affine, COLORS), 2.6 * level, 0.02, colors=COLORS, **NORMAL
        ),
        "elastic, colours, normalised": case(
            image, turn, None, 0, 0, colors=COLORS, displacements=grid, **NORMAL
        ),
        "half of 1280 x 960, normalised": case(
            large, half, partial(pillow_resize, large), 1.6 * level, 0.02, **NORMAL
        ),
        "mask, nearest": case(
            mask, turn, partial(pillow_mask, mask, turn), 0, 0.02, interpolation="nearest"
        ),
    }


def check(case: Case) -> None:
    """The result is the reference's, and Pillow's but for roundings and pixels on the border."""
    found = case.ours()
    expected = reference.warp(case.image, case.matrix, (HEIGHT, WIDTH), **case.rules)
    np.testing.assert_array_equal(found, expected)
    if case.pillow is not None:
        far = np.abs(found.astype(np.float32) - case.pillow()) > case.far
        assert far.mean() <= case.share, far.mean()


def limit(case: Case) -> Callable[[], object]:
    """Reads the input, and writes an output of that size into memory that was written before."""
    room, words = aligned(case.ours().nbytes // 4), aligned(case.image.nbytes // 4).view(np.uint32)

    def move() -> None:
        _numpy.read_memory(words)
        _numpy.fill_memory(room, 0.5, False)

    return move


@pytest.mark.parametrize("contender", ["warp", "pillow"])
@pytest.mark.parametrize("name", list(cases()))
def test_warp(benchmark, name, contender):
    case = cases()[name]
    check(case)
    if contender == "pillow" and case.pillow is None:
        pytest.skip("Pillow has no displacements by a grid")
    benchmark.group = f"warp to {WIDTH} x {HEIGHT}: {name}"
    benchmark(case.ours if contender == "warp" else case.pillow)


def main() -> None:
    _numpy.set_num_threads(1)
    load = os.getloadavg()[0]
    print(f"{_numpy.isa()}, one thread, load {load:.1f}; {TURNS} turns of {CALLS} calls")
    print(
        f"{'':32}{'median ms':>11}{'best ms':>9}{'pictures/s':>12}{'MB':>6}{'of limit':>10}"
        f"{'Pillow ms':>11}{'ratio':>7}"
    )
    for name, case in cases().items():
        check(case)
        calls = {"ours": case.ours, "limit": limit(case)}
        if case.pillow is not None:
            calls["pillow"] = case.pillow
        seconds: dict[str, list[float]] = {contender: [] for contender in calls}
        for _ in range(TURNS):
            for contender, call in calls.items():
                for _ in range(CALLS):
                    begun = time.perf_counter()
                    call()
                    seconds[contender].append(time.perf_counter() - begun)
        ms = {contender: 1e3 * median(times[CALLS:]) for contender, times in seconds.items()}
        size = (case.image.nbytes + case.ours().nbytes) / 1e6
        best = 1e3 * min(seconds["ours"])
        line = f"{name:32}{ms['ours']:11.2f}{best:9.2f}{1e3 / ms['ours']:12.0f}{size:6.1f}"
        line += f"{ms['limit'] / ms['ours']:10.0%}"
        if "pillow" in ms:
            line += f"{ms['pillow']:11.2f}{ms['pillow'] / ms['ours']:7.1f}"
        print(line, flush=True)


if __name__ == "__main__":
    main()
