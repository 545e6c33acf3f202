"""Converts images to the input of a network, and maps boxes back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sightline.data.image import MAX_PIXELS, from_pil, pillow, read_image, to_channels, to_pil
from sightline.formats.records import Annotations, DataError, Record

RESIZE_MODES = ("stretch", "letterbox", "crop")


@dataclass(frozen=True)
class Transform:
    """Maps pixels of an image to network pixels: x * scale_x + left, y * scale_y + top.

    `left` and `top` are negative where the image is cropped.
    """

    scale_x: float
    scale_y: float
    left: int
    top: int
    width: int  # of the original image
    height: int

    def to_network(self, boxes: NDArray[np.float64]) -> NDArray[np.float64]:
        """Map xyxy boxes [N, 4] from pixels of the image to network pixels."""
        scale = np.array([self.scale_x, self.scale_y] * 2, boxes.dtype)
        shift = np.array([self.left, self.top] * 2, boxes.dtype)
        return boxes * scale + shift


@dataclass(frozen=True)
class Preprocess:
    """How an image is converted to a network's input; saved in every checkpoint.

    `size` is (height, width) in pixels. `mode` "stretch" fills it; "letterbox" keeps the aspect
    ratio and centres the image on the mean colour, which normalises to 0; "crop" keeps it and cuts
    off what sticks out of the longer side, equally at both ends. `mean` and `std` are those of the
    training set, for pixel values in 0 to 1, as one number or one per channel. `channels` is 3
    (RGB) or 1 (grey). Files of images with more than `max_pixels` are refused.
    """

    size: tuple[int, int]
    mode: str = "stretch"
    mean: tuple[float, ...] = (0.5,)
    std: tuple[float, ...] = (0.25,)
    channels: int = 3
    max_pixels: int = MAX_PIXELS

    def __post_init__(self) -> None:
        set_field = object.__setattr__  # lists, as from YAML and JSON, become tuples
        set_field(self, "size", tuple(int(side) for side in self.size))
        if len(self.size) != 2 or min(self.size) < 1:
            raise ValueError(f"`size` must be (height, width), both positive, got {self.size}")
        if self.mode not in RESIZE_MODES:
            raise ValueError(f"`mode` must be one of {', '.join(RESIZE_MODES)}, got {self.mode!r}")
        if self.channels not in (1, 3):
            raise ValueError(f"`channels` must be 1 or 3, got {self.channels!r}")
        for name in ("mean", "std"):
            values = tuple(float(value) for value in getattr(self, name))
            if len(values) not in (1, self.channels) or not np.isfinite(values).all():
                raise ValueError(
                    f"`{name}` must hold 1 or {self.channels} finite numbers, got {values}"
                )
            set_field(self, name, values * (self.channels // len(values)))
        if min(self.std) <= 0:
            raise ValueError(f"`std` must be positive, got {self.std}")

    @property
    def fill(self) -> tuple[int, ...]:
        """The mean colour in 0 to 255, one value per channel, for the area outside the image."""
        return tuple(int(np.clip(np.rint(value * 255), 0, 255)) for value in self.mean)

    def transform_for(self, height: int, width: int) -> Transform:
        """Return the mapping for an image of height x width pixels."""
        if height < 1 or width < 1:
            raise ValueError(f"an image must have at least one pixel, got {height} x {width}")
        out_h, out_w = self.size
        if self.mode == "stretch":
            return Transform(out_w / width, out_h / height, 0, 0, width, height)
        inner_h, inner_w = self._inner_size(height, width)
        left, top = (out_w - inner_w) // 2, (out_h - inner_h) // 2
        return Transform(inner_w / width, inner_h / height, left, top, width, height)

    def reduction_for(self, height: int, width: int, *, zoom: float = 1.0) -> int:
        """The largest reduction of `read_image` after which an image need not be enlarged.

        Args:
            height: of the image in pixels.
            width: likewise.
            zoom: how much more than to its place in the input augmentation may enlarge it.

        >>> preprocess = Preprocess(size=(240, 320))
        >>> preprocess.reduction_for(480, 640), preprocess.reduction_for(480, 640, zoom=1.5)
        (2, 1)
        """
        transform = self.transform_for(height, width)
        pixels = 1 / (max(transform.scale_x, transform.scale_y) * zoom)  # per pixel of the input
        return max((reduction for reduction in (2, 4, 8) if reduction <= pixels), default=1)

    def _inner_size(self, height: int, width: int) -> tuple[int, int]:
        out_h, out_w = self.size
        if self.mode == "stretch":
            return out_h, out_w
        choose = min if self.mode == "letterbox" else max
        scale = choose(out_h / height, out_w / width)
        # Whole pixels, so that the image's border lies on the grid; scale_x and scale_y account
        # for the rounding.
        return max(1, round(height * scale)), max(1, round(width * scale))

    def resize(self, image: NDArray[np.uint8]) -> tuple[NDArray[np.uint8], Transform]:
        """Return the image at network size, uint8 [h, w, channels], and its mapping."""
        image = to_channels(image, self.channels)
        transform = self.transform_for(*image.shape[:2])
        image = self._scaled(image, transform)
        if image.shape[:2] != self.size:
            canvas = np.empty((*self.size, self.channels), np.uint8)
            canvas[:] = self.fill
            top, left = transform.top, transform.left
            canvas[top : top + image.shape[0], left : left + image.shape[1]] = image
            image = canvas
        return image, transform

    def _scaled(self, image: NDArray[np.uint8], transform: Transform) -> NDArray[np.uint8]:
        """The image at network size without padding, so that a letterboxed one may be smaller."""
        height, width = image.shape[:2]
        inner = self._inner_size(height, width)
        if self.mode != "crop":
            return image if inner == (height, width) else resize_array(image, inner)
        x1, y1 = -transform.left / transform.scale_x, -transform.top / transform.scale_y
        x2 = min(float(width), (self.size[1] - transform.left) / transform.scale_x)
        y2 = min(float(height), (self.size[0] - transform.top) / transform.scale_y)
        if inner == (height, width):
            return image[int(y1) : int(y1) + self.size[0], int(x1) : int(x1) + self.size[1]]
        # Only what is kept is made: of an image of one row, the rest may be without bound.
        return resize_array(image, self.size, (x1, y1, x2, y2))

    def normalise(self, image: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Return (uint8 [h, w, channels] / 255 - mean) / std as float32 [channels, h, w]."""
        gain = np.float32(1) / (np.float32(255) * np.array(self.std, np.float32))
        offset = -np.array(self.mean, np.float32) / np.array(self.std, np.float32)
        out = np.empty((image.shape[2], *image.shape[:2]), np.float32)
        for channel in range(image.shape[2]):  # three strided passes beat one transposed copy
            np.multiply(image[:, :, channel], gain[channel], out=out[channel])
            out[channel] += offset[channel]
        return out

    def apply(self, image: NDArray[np.uint8]) -> tuple[NDArray[np.float32], Transform]:
        """Return the network's input, float32 [channels, h, w], and the mapping for its boxes.

        `image` is uint8 [H, W] or [H, W, 1 | 3 | 4], RGB order.

        >>> preprocess = Preprocess(size=(32, 32), mode="letterbox")
        >>> pixels, transform = preprocess.apply(np.zeros((50, 100, 3), np.uint8))
        >>> pixels.shape, transform.top
        ((3, 32, 32), 8)
        >>> preprocess.to_original(np.array([[0.0, 8, 16, 24]]), transform).tolist()
        [[0.0, 0.0, 50.0, 50.0]]
        """
        resized, transform = self.resize(image)
        return self.normalise(resized), transform

    def to_original(
        self, boxes: NDArray[np.floating], transform: Transform
    ) -> NDArray[np.floating]:
        """Map xyxy boxes [N, 4] from network pixels to those of the image, clipped to it."""
        scale = np.array([transform.scale_x, transform.scale_y] * 2, boxes.dtype)
        shift = np.array([transform.left, transform.top] * 2, boxes.dtype)
        limit = np.array([transform.width, transform.height] * 2, boxes.dtype)
        return np.clip((boxes - shift) / scale, 0, limit)

    def to_dict(self) -> dict[str, Any]:
        """Return plain lists and numbers, for JSON and YAML."""
        return {
            name: list(value) if isinstance(value, tuple) else value
            for name, value in asdict(self).items()
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Preprocess:
        """The inverse of `to_dict`; an unknown key raises ValueError."""
        known = [field.name for field in fields(cls)]
        unknown = sorted(set(values) - set(known))
        if unknown:
            raise ValueError(f"unknown preprocess key(s) {unknown}; there are {known}")
        return cls(**values)


def resize_array(
    image: NDArray[np.uint8],
    size: tuple[int, int],
    box: tuple[float, float, float, float] | None = None,
) -> NDArray[np.uint8]:
    """Resize uint8 [H, W, 1 | 3] to (height, width): bilinear, with antialiasing.

    `box` is the xyxy part of the image to use, in continuous pixels.
    """
    resampling = pillow().Resampling.BILINEAR
    return from_pil(to_pil(image).resize(size[::-1], resampling, box=box))


def load_record_image(
    record: Record, channels: int, *, reduction: int = 1, max_pixels: int | None = None
) -> NDArray[np.uint8]:
    """Return a record's image, uint8 [H, W, channels], reduced as `read_image` does it.

    By default it may have any size, since a file of another size than the record's is refused.
    """
    return read_image(
        record.image,
        channels=channels,
        size=(record.width, record.height),
        reduction=reduction,
        max_pixels=max_pixels,
    )


def fit_preprocess(
    annotations: Annotations,
    size: tuple[int, int],
    *,
    mode: str = "stretch",
    channels: int = 3,
    max_images: int = 500,
    max_pixels: int = MAX_PIXELS,
    skip_unreadable: bool = False,
) -> Preprocess:
    """Return a Preprocess with the mean and standard deviation of the training set's pixels.

    At most `max_images` images are read, evenly spaced: the values of 500 images differ from those
    of all by less than the effect of augmentation. Padding and what is cropped are not included.
    `max_pixels` is that of the result. With `skip_unreadable` images that cannot be read are left
    out; DataError where that is every one of them.
    """
    plain = Preprocess(size=size, mode=mode, channels=channels, max_pixels=max_pixels)
    count = len(annotations)
    if count == 0:
        raise ValueError("`annotations` must hold at least one image to compute the mean of")
    chosen = np.unique(np.linspace(0, count - 1, min(count, max_images)).astype(int))
    total, squares, pixels = np.zeros(channels), np.zeros(channels), 0
    for index in chosen:
        try:
            image = load_record_image(annotations.records[index], channels, max_pixels=max_pixels)
        except DataError:
            if not skip_unreadable or (index == chosen[-1] and not pixels):
                raise
            continue
        scaled = plain._scaled(image, plain.transform_for(*image.shape[:2]))
        values = scaled.reshape(-1, channels).astype(np.float64) / 255
        total += values.sum(axis=0)
        squares += (values * values).sum(axis=0)
        pixels += len(values)
    mean = total / pixels
    # A set with a single colour has no deviation; 1 / 255 keeps its pixels finite.
    std = np.maximum(np.sqrt(np.maximum(squares / pixels - mean * mean, 0)), 1 / 255)
    return replace(plain, mean=tuple(mean), std=tuple(std))
