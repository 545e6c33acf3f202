"""Sampling of a picture under a map of the plane in plain NumPy: the specification of `ops.warp`.

Coordinates are float64, everything after the picture has been read is float32. The positions of
samples are rounded to 1/256 pixel, so that a bilinear sample of bytes is exact in float32.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

MAX_SAMPLES = 16  # along one axis of an output pixel
SLACK = 0.25  # samples may be this much further apart than one pixel of the input
POSITIONS = 256  # of a sample between two pixel centres

Numbers = float | Sequence[float]


def warp(
    images: NDArray[np.uint8],
    matrices: NDArray[np.float64],
    size: tuple[int, int],
    *,
    displacements: NDArray[np.float32] | None = None,
    colors: NDArray[np.float32] | None = None,
    fill: Numbers = 0,
    mean: Numbers | None = None,
    std: Numbers | None = None,
    interpolation: str = "bilinear",
    antialias: bool = True,
) -> NDArray:
    """Arguments and result as of `ops.warp`."""
    single = images.ndim == 3
    if single:
        images = images[None]
    channels = images.shape[3]
    background = np.broadcast_to(np.asarray(fill, np.float32), channels)
    if mean is not None and std is not None:
        scale = (1 / (255 * np.asarray(std, np.float64))).astype(np.float32)
        offset = (-np.asarray(mean, np.float64) / std).astype(np.float32)
        background = background * scale + offset
        out: NDArray = np.empty((len(images), channels, *size), np.float32)
    else:
        out = np.empty((len(images), *size, channels), np.uint8)
    for i, image in enumerate(images):
        sums, counts, total = sampled(
            image, _of(matrices, i, 2), size, _of(displacements, i, 3), interpolation, antialias
        )
        values = sums / np.maximum(counts, 1).astype(np.float32)[..., None]
        if colors is not None:
            values = recolored(values, _of(colors, i, 2))
        share = (counts.astype(np.float32) / np.float32(total))[..., None]
        if mean is not None:
            values = values * scale + offset
        partly = background + (values - background) * share
        values = np.where(share == 1, values, np.where(share == 0, background, partly))
        if mean is not None:
            out[i] = values.transpose(2, 0, 1)
        else:
            out[i] = np.floor(values + np.float32(0.5))
    return out[0] if single else out


def _of(values, i: int, dims: int):
    """What image i takes: its own, or that which all share."""
    if values is None or values.ndim == dims:
        return values
    return values[i if len(values) > 1 else 0]


def inverse(matrix: NDArray[np.float64]) -> NDArray[np.float64]:
    """[3, 3]: the adjugate over the determinant; not finite where there is no inverse."""
    (a, b, c), (d, e, f), (g, h, i) = np.asarray(matrix, np.float64)
    with np.errstate(all="ignore"):
        first, second, third = e * i - f * h, f * g - d * i, d * h - e * g
        determinant = (a * first + b * second) + c * third
        adjugate = np.array(
            [
                [first, c * h - b * i, b * f - c * e],
                [second, a * i - c * g, c * d - a * f],
                [third, b * g - a * h, a * e - b * d],
            ]
        )
        return adjugate / determinant


def sample_counts(
    matrix: NDArray[np.float64], height: int, width: int, antialias: bool
) -> tuple[int, int]:
    """Samples in a row and in a column of an output pixel.

    As many as pixels of the input that the map passes per output pixel, at the centre of the input.
    """
    (a, b, _), (d, e, _), (g, h, _) = inverse(matrix)
    x, y = width * 0.5, height * 0.5
    w = (matrix[2, 0] * x + matrix[2, 1] * y) + matrix[2, 2]
    if not antialias or not w > 0:
        return 1, 1
    counts = []
    for x_step, y_step in ((a - x * g, d - y * g), (b - x * h, e - y * h)):
        x_step, y_step = x_step * w, y_step * w
        length = np.sqrt(x_step * x_step + y_step * y_step)
        count = np.ceil(length - SLACK)
        counts.append(int(min(max(count, 1), MAX_SAMPLES)))
    return counts[0], counts[1]


def displacement(nodes: NDArray[np.float32], size: tuple[int, int]) -> NDArray[np.float32]:
    """[h, w, 2] at every pixel centre: bilinear between nodes [m, n, 2].

    The outer nodes lie on the border of the output.
    """
    positions = []
    for count, length in zip(nodes.shape[:2], size):
        at = (np.arange(length) + 0.5) * ((count - 1) / max(length, 1))
        first = np.minimum(at.astype(np.int64), max(count - 2, 0))
        second = np.minimum(first + 1, count - 1)
        positions.append((first, second, (at - first).astype(np.float32)[:, None]))
    (top, bottom, down), (left, right, along) = positions
    with np.errstate(all="ignore"):
        rows = nodes[top] + (nodes[bottom] - nodes[top]) * down[..., None]
        return rows[:, left] + (rows[:, right] - rows[:, left]) * along


def sampled(image, matrix, size, nodes, interpolation, antialias):
    """The sums [h, w, C] of samples inside the image, their number [h, w], and that of all."""
    height, width, channels = image.shape
    (a, b, c), (d, e, f), (g, h, i) = inverse(matrix)
    x = np.broadcast_to(np.arange(size[1], dtype=np.float64), size)
    y = np.broadcast_to(np.arange(size[0], dtype=np.float64)[:, None], size)
    moves = np.zeros((*size, 2)) if nodes is None else displacement(nodes, size).astype(np.float64)
    sums, counts = np.zeros((*size, channels), np.float32), np.zeros(size, np.int64)
    if not np.isfinite(inverse(matrix)).all():
        return sums, counts, 1
    nearest = interpolation == "nearest"
    across, down = sample_counts(matrix, height, width, antialias and not nearest)
    for row in range(down):
        for column in range(across):
            at_x = (x + (column + 0.5) / across) + moves[..., 0]
            at_y = (y + (row + 0.5) / down) + moves[..., 1]
            with np.errstate(all="ignore"):
                w = 1.0 / (g * at_x + (h * at_y + i))
                from_x = (a * at_x + (b * at_y + c)) * w
                from_y = (d * at_x + (e * at_y + f)) * w
                inside = (w > 0) & (from_x >= 0) & (from_x < width)
                inside &= (from_y >= 0) & (from_y < height)
            from_x, from_y = from_x[inside], from_y[inside]
            if nearest:
                values = image[from_y.astype(np.int64), from_x.astype(np.int64)]
            else:
                values = bilinear(image, from_x, from_y)
                if across * down > 1:  # to 1/256, so that the sum is exact
                    values = np.rint(values * np.float32(256)) / np.float32(256)
            sums[inside] += values
            counts += inside
    return sums, counts, across * down


def bilinear(image, x, y) -> NDArray[np.float32]:
    """[N, C] at N points inside the image; beyond the outer pixel centres, the outer pixels'."""
    taps = []
    for at, length in ((x, image.shape[1]), (y, image.shape[0])):
        steps = (np.clip(at - 0.5, 0, length - 1) * POSITIONS + 0.5).astype(np.int64)
        first = steps // POSITIONS
        part = (steps % POSITIONS).astype(np.float32)[:, None] / np.float32(POSITIONS)
        taps.append((first, np.minimum(first + 1, length - 1), part))
    (left, right, across), (top, bottom, down) = taps
    image = image.astype(np.float32)
    upper = image[top, left] * (1 - across) + image[top, right] * across
    lower = image[bottom, left] * (1 - across) + image[bottom, right] * across
    return upper * (1 - down) + lower * down


def recolored(values: NDArray[np.float32], colors: NDArray[np.float32]) -> NDArray[np.float32]:
    """[h, w, C]: the affine map [C, C + 1] of the channels, within 0 ... 255 (0 for NaN)."""
    with np.errstate(all="ignore"):
        mapped = values[..., :1] * colors[:, 0]
        for channel in range(1, values.shape[-1]):
            mapped = mapped + values[..., channel : channel + 1] * colors[:, channel]
        mapped = mapped + colors[:, -1]
    return np.where(mapped > 0, np.where(mapped < 255, mapped, np.float32(255)), np.float32(0))
