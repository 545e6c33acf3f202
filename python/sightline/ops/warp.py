"""Sampling of pictures under a map of the plane: the geometry of augmentation in one pass."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from sightline import _numpy

from ._rules import register_rules
from .arguments import (
    backend,
    check_choice,
    check_count,
    check_number,
    check_numbers,
    detached,
    is_tensor,
    sequence,
    torch,
)

Array = Any  # a torch.Tensor or a numpy.ndarray
Numbers = float | Sequence[float]  # one, or one per channel

INTERPOLATIONS = ("bilinear", "nearest")
_CHANNELS = (1, 3, 4)
_MAX_SIDE = 2**22


def warp(
    images: Array,
    matrices: Array,
    size: tuple[int, int],
    *,
    displacements: Array | None = None,
    colors: Array | None = None,
    fill: Numbers = 0,
    mean: Numbers | None = None,
    std: Numbers | None = None,
    interpolation: str = "bilinear",
    antialias: bool = True,
) -> Array:
    """Pictures sampled once under an affine or perspective map, recoloured and normalised.

    Args:
        images: uint8 [H, W, C], or [B, H, W, C] of one size, with 1, 3 or 4 channels.
        matrices: [3, 3], or [B, 3, 3]: each maps points (x, y, 1) of the input to points of the
            output, in pixels from the upper left corner, so that pixel centres lie at .5. Computed
            in float64. One matrix may serve a batch, as may one grid and one colour map. With
            tensors on a GPU they may be on the CPU, where they are drawn.
        size: (height, width) of the output.
        displacements: float32 [h, w, 2], or [B, h, w, 2]: (x, y) in pixels of the output, at nodes
            of a grid whose outer nodes lie on the border of the output; bilinear in between.
            Point p of the output shows what the matrix alone puts at p + displacement(p).
        colors: float32 [C, C + 1], or [B, C, C + 1]: factors of the channels and, last, a summand,
            for values in 0 to 255. They apply to what was sampled, and the result is clipped to
            0 ... 255; NaN becomes 0.
        fill: the colour outside the input, in 0 ... 255: one number or one per channel. `colors`
            does not change it.
        mean: with `std`, for values in 0 to 1: the result is (value / 255 - mean) / std.
        std: one number or one per channel, as `mean`.
        interpolation: "bilinear", or "nearest" for masks.
        antialias: of bilinear interpolation, where the map shrinks: each pixel of the output is
            the mean of k x l samples, k (or l) being the number of pixels of the input per pixel of
            the output along its rows (or columns), less 1/4, rounded up, 16 at most. It is the
            same for a whole picture: of a perspective map, that at the centre of the input.
            Displacements do not count.

    Returns:
        float32 [B, C, height, width] where `mean` is given, otherwise uint8
        [B, height, width, C], rounded to nearest with ties up; without B as `images`. Not
        differentiable.

    Raises:
        ValueError: a wrong shape or device, a side beyond 2^22, a number out of its range, or a
        matrix without an inverse (under torch.compile and of matrices on a GPU not an error: all
        is fill). TypeError: a mixture of tensors and arrays, a dtype, or what is no number.

    A sample is inside where its point lies in [0, W) x [0, H), and before the horizon of a
    perspective map; NaN is outside. Beyond the centres of the outer pixels it takes their value. A
    pixel with samples on both sides mixes the colour of those inside with `fill`, by their number.
    Positions are rounded to 1/256 pixel. The identity, flips, quarter turns and whole translations
    move bytes unchanged. The result is the same on every device and for any number of threads.

    >>> import numpy as np
    >>> picture = np.array([[[10], [20], [30]]], np.uint8)
    >>> mirror = np.array([[-1.0, 0, 3], [0, 1, 0], [0, 0, 1]])
    >>> warp(picture, mirror, (1, 3))[..., 0]
    array([[30, 20, 10]], dtype=uint8)
    """
    images, matrices = detached(images), detached(matrices)
    height, width = _check_size(size)
    given = {"displacements": displacements, "colors": colors}
    device_matrices = _on_device_of(images, matrices)
    native = backend(
        images=images, matrices=device_matrices, **given, optional=("displacements", "colors")
    )
    single = _check_images(images)
    channels = images.shape[-1]
    check_choice("interpolation", interpolation, INTERPOLATIONS)
    fill = _per_channel("fill", fill, channels)
    if not all(0 <= number <= 255 for number in fill):
        raise ValueError(f"`fill` must lie in [0, 255], got {fill}")
    scale, offset = _normalization(mean, std, channels)
    matrices = _for_images("matrices", matrices, images, (3, 3), "float64")
    _check_inverses(matrices)
    if is_tensor(matrices):
        matrices = matrices.to(images.device)
    shapes = {"displacements": (None, None, 2), "colors": (channels, channels + 1)}
    for name, value in given.items():
        if value is not None:
            given[name] = _for_images(name, detached(value), images, shapes[name], "float32")
    images = images if is_tensor(images) else np.ascontiguousarray(images)
    out = native.warp(
        images[None] if single else images,
        matrices,
        height,
        width,
        given["displacements"],
        given["colors"],
        fill,
        scale,
        offset,
        interpolation == "nearest",
        bool(antialias),
    )
    return out[0] if single else out


def _check_size(size: Any) -> tuple[int, int]:
    sides = sequence("size", size, "two integers")
    if len(sides) != 2:
        raise ValueError(f"`size` must be (height, width), got {len(sides)} numbers")
    sides = [check_count("size", side, at_least=0) for side in sides]
    if max(sides) > _MAX_SIDE:
        raise ValueError(f"the sides of `size` must be at most {_MAX_SIDE}, got {sides}")
    return sides[0], sides[1]


def _on_device_of(images: Any, matrices: Any) -> Any:
    """The matrices, for the check of devices: those on the CPU follow images to a GPU."""
    if is_tensor(images) and is_tensor(matrices) and matrices.device.type == "cpu":
        return matrices.to(images.device)
    return matrices


def _check_images(images: Any) -> bool:
    """Raises unless they are pictures; whether it is one without a batch dimension."""
    shape = list(images.shape)
    if len(shape) not in (3, 4) or shape[-1] not in _CHANNELS:
        raise ValueError(
            "`images` must have shape [H, W, C] or [B, H, W, C], channels last, with 1, 3 or 4 "
            f"channels, got {shape}"
        )
    if str(images.dtype).removeprefix("torch.") != "uint8":
        raise TypeError(f"`images` must hold uint8, got dtype {images.dtype}")
    if max(shape[-3:-1]) > _MAX_SIDE:
        raise ValueError(f"the sides of `images` must be at most {_MAX_SIDE}, got {shape}")
    return len(shape) == 3


def _per_channel(name: str, value: Any, channels: int) -> list[float]:
    if isinstance(value, str | bytes) or not hasattr(value, "__len__"):
        return [check_number(name, value)] * channels
    numbers = check_numbers(name, value)
    if len(numbers) not in (1, channels):
        raise ValueError(
            f"`{name}` must be one number or one for each of {channels} channels, "
            f"got {len(numbers)}"
        )
    return numbers * (channels // len(numbers))


def _normalization(mean: Any, std: Any, channels: int) -> tuple[list[float], list[float]]:
    """Factors and summands of values in 0 ... 255, per channel; nothing without `mean`."""
    if mean is None and std is None:
        return [], []
    means, deviations = _per_channel("mean", mean, channels), _per_channel("std", std, channels)
    if not all(0 < number < float("inf") for number in deviations):
        raise ValueError(f"`std` must be above 0 and finite, got {deviations}")
    if not all(abs(number) < float("inf") for number in means):
        raise ValueError(f"`mean` must be finite, got {means}")
    scale = [1 / (255 * deviation) for deviation in deviations]
    return scale, [-mean / deviation for mean, deviation in zip(means, deviations)]


def _for_images(
    name: str, value: Any, images: Any, shape: tuple[int | None, ...], dtype: str
) -> Any:
    """[B, ...] or [1, ...] in `dtype`, contiguous; `shape` is that of one, None for any above 0."""
    batched = len(images.shape) == 4
    got = list(value.shape)
    own = got[-len(shape) :] if len(got) >= len(shape) else []
    fits = len(own) == len(shape) and all(
        a == b or (b is None and a > 0) for a, b in zip(own, shape)
    )
    lead = got[: len(got) - len(shape)]
    if not fits or not (lead == [] or (batched and lead in ([1], [images.shape[0]]))):
        one = ", ".join(
            str(side) if side is not None else letter for side, letter in zip(shape, "hw_")
        )
        either = f" or [{images.shape[0]}, {one}]" if batched else ""
        raise ValueError(f"`{name}` must have shape [{one}]{either}, got {got}")
    if is_tensor(value):
        if value.dtype == torch.bool or value.dtype.is_complex:
            raise TypeError(f"`{name}` must hold real numbers, got dtype {value.dtype}")
        value = value.to(getattr(torch, dtype))
    else:
        if value.dtype.kind not in "fiu":
            raise TypeError(f"`{name}` must hold real numbers, got dtype {value.dtype}")
        value = np.ascontiguousarray(value, dtype)
    return value if lead else value[None]


def _check_inverses(matrices: Any) -> None:
    """Raises ValueError for a matrix without an inverse, where their values can be read."""
    if is_tensor(matrices):
        if torch.compiler.is_compiling() or matrices.device.type != "cpu":
            return
        matrices = matrices.contiguous().numpy()
    native: Any = _numpy
    bad = native.first_without_inverse(matrices)
    if bad >= 0:
        raise ValueError(
            f"`matrices` must have an inverse of finite numbers, got {matrices[bad].tolist()}"
            + (f" for image {bad}" if len(matrices) > 1 else "")
        )


def _output(images, matrices, height, width, displacements, colors, fill, scale, *_):
    batch, channels = images.shape[0], images.shape[3]
    if scale:
        return images.new_empty((batch, channels, height, width), dtype=torch.float32)
    return images.new_empty((batch, height, width, channels))


register_rules("warp", _output)
