"""Detection scenes composed in memory: scanned digits pasted over a photograph.

A scene is 128 x 128 pixels and contains 1 to 8 digits, each a square tile with sides of 16 to 48
pixels in one colour; its box is the tile. Test scenes use digit scans and a photograph
(scikit-learn's flower.jpg) that no train or val scene uses. Train and val scenes share a photograph
(china.jpg), some of the time distorted along sine waves, but no digit scan.
"""

from __future__ import annotations

import math
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sightline.data.digits import DIGIT_NAMES, digit_images, sklearn_datasets
from sightline.data.image import pillow
from sightline.data.splits import stratified_split
from sightline.formats.records import Annotations, DataError, LabelType, Record

SCENE_SIZE = 128
SIDES = (16, 48)
MAX_DIGITS = 8
DEFAULT_COUNTS = {"train": 2000, "val": 250, "test": 500}

_PHOTOGRAPHS = {"train": "china.jpg", "val": "china.jpg", "test": "flower.jpg"}
_SPLIT_SEEDS = {"train": 0, "val": 1, "test": 2}
_MAX_COVERED = 0.3  # of the smaller tile's area, so that both digits stay legible
# Share of training backgrounds that are distorted: a temple has straight edges, and a detector that
# saw curves only in digits takes the petals of the held-out photograph for digits.
_RIPPLED = 0.6
_WAVE_LENGTHS = (20.0, 80.0)  # pixels
_TRIES = 20  # to place a tile; a full scene has fewer digits
_MIN_CONTRAST = 60.0  # luma, between ink and the pixel that it covers ...
_LEGIBLE_SHARE = 0.9  # ... for this part of the digit
_COLOUR_TRIES = 12
_CROP_SIDES = (80, 360)  # pixels of the photograph, 640 x 427, that fill a scene
_LUMA = np.array([0.299, 0.587, 0.114], np.float32)


def load_digit_scenes(split: str = "train", count: int | None = None, seed: int = 0) -> Annotations:
    """Return `count` scenes of one split, "train", "val" or "test".

    Scene i depends only on (split, seed, i), so a larger `count` begins with the same scenes. The
    defaults are 2,000, 250 and 500. A scene takes 1 to 3 ms and 48 KiB.
    """
    if split not in DEFAULT_COUNTS:
        raise DataError(f"digit-scenes has no split {split!r}; it has {', '.join(DEFAULT_COUNTS)}")
    count = DEFAULT_COUNTS[split] if count is None else count
    if count < 1:
        raise ValueError(f"`count` must be at least 1, got {count}")
    digits, values = digit_images()
    chosen = _digit_indices()[split]
    scans = [pillow().fromarray(digit) for digit in digits[chosen]]
    photograph = _photograph(_PHOTOGRAPHS[split])
    records = []
    for index in range(count):
        rng = np.random.default_rng([_SPLIT_SEEDS[split], seed, index])
        scene = _background(photograph, rng)
        if split != "test" and rng.random() < _RIPPLED:
            scene = _ripple(scene, rng)
        boxes, labels = _paste_digits(scene, scans, values[chosen], rng)
        records.append(Record(scene, index, SCENE_SIZE, SCENE_SIZE, labels=labels, boxes=boxes))
    return Annotations(
        label_type=LabelType.BOXES,
        class_names=DIGIT_NAMES,
        records=tuple(records),
        source="digit-scenes",
        format="embedded",
        split=split,
        split_rule=f"{count} scenes, own digits, {_PHOTOGRAPHS[split]}, seed {seed}",
        mirror_safe=False,
    )


@cache
def _digit_indices() -> dict[str, NDArray[np.int64]]:
    """70 / 10 / 20 % of the scans, independent of the seed, so that no scan is in two splits."""
    _, values = digit_images()
    rest, test = stratified_split(values, 0.2, seed=0)
    train, val = stratified_split(values[rest], 0.125, seed=0)
    return {"train": rest[train], "val": rest[val], "test": test}


@cache
def _photograph(name: str) -> Any:
    return pillow().fromarray(sklearn_datasets().load_sample_image(name))


def _background(photograph: Any, rng: np.random.Generator) -> NDArray[np.uint8]:
    """Crop, mirror, rotate and recolour: one photograph, many backgrounds."""
    side = rng.uniform(*_CROP_SIDES)
    left = rng.uniform(0, photograph.width - side)
    top = rng.uniform(0, photograph.height - side)
    crop = photograph.resize(
        (SCENE_SIZE, SCENE_SIZE),
        pillow().Resampling.BILINEAR,
        box=(left, top, left + side, top + side),
        reducing_gap=1.0,
    )
    # Only a part of the 256 values, anywhere in the range, so that some ink colour stands out.
    gain = rng.uniform(0.35, 0.85)
    table = np.arange(256) * gain + rng.uniform(0, 255 * (1 - gain))
    pixels = table.astype(np.uint8)[np.asarray(crop)]
    pixels = np.rot90(pixels, int(rng.integers(4)))
    if rng.random() < 0.5:
        pixels = pixels[:, ::-1]
    return np.ascontiguousarray(pixels[:, :, rng.permutation(3)])


def _waves(rng: np.random.Generator) -> NDArray[np.float32]:
    """Return a field of shifts (down, right) in pixels, float32 [2, H, W]: a sum of sine waves."""
    at = np.mgrid[:SCENE_SIZE, :SCENE_SIZE].astype(np.float32)
    shift = np.zeros_like(at)
    for _ in range(4):
        angle, turn, phase = rng.uniform(0, 2 * math.pi, 3).tolist()
        length = rng.uniform(*_WAVE_LENGTHS)
        # Distance along the wave's direction, in radians; float32 throughout for speed.
        step = 2 * math.pi / length
        along = at[1] * (math.cos(angle) * step) + at[0] * (math.sin(angle) * step) + phase
        # At most a sixth of the length: with a larger amplitude the image would fold over itself.
        wave = np.sin(along) * (length / 6)
        shift[0] += wave * math.sin(turn)
        shift[1] += wave * math.cos(turn)
    return shift


def _ripple(pixels: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.uint8]:
    """Distort the image along sine waves; beyond its border it is mirrored."""
    last = SCENE_SIZE - 1
    at = np.mgrid[:SCENE_SIZE, :SCENE_SIZE] + _waves(rng)
    rows, columns = last - np.abs(last - np.abs(at).astype(np.int32) % (2 * last))
    return pixels[rows, columns]


def _paste_digits(
    scene: NDArray[np.uint8],
    scans: list[Any],
    values: NDArray[np.int64],
    rng: np.random.Generator,
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Draw 1 to 8 digits into the scene, in place; return their boxes [N, 4] and labels [N]."""
    module = pillow()
    tiles: list[tuple[int, int, int]] = []  # left, top, side
    labels = []
    for _ in range(rng.integers(1, MAX_DIGITS + 1)):
        tile = _free_tile(tiles, rng)
        if tile is None:
            continue
        left, top, side = tile
        chosen = rng.integers(len(scans))
        enlarged = scans[chosen].resize((side, side), module.Resampling.BICUBIC)
        opacity = np.asarray(enlarged, np.float32) * (rng.uniform(0.8, 1.0) / 255)
        under = scene[top : top + side, left : left + side]
        pixels = under.astype(np.float32)
        ink = _ink_colour(pixels, opacity, rng)
        under[:] = np.rint(pixels + (ink - pixels) * opacity[:, :, None])
        tiles.append(tile)
        labels.append(values[chosen])
    corners = [(left, top, left + side, top + side) for left, top, side in tiles]
    return np.array(corners, np.float64), np.array(labels, np.int64)


def _free_tile(
    tiles: list[tuple[int, int, int]], rng: np.random.Generator
) -> tuple[int, int, int] | None:
    for _ in range(_TRIES):
        side = int(rng.integers(SIDES[0], SIDES[1] + 1))
        left, top = (int(value) for value in rng.integers(0, SCENE_SIZE - side + 1, 2))
        for other_left, other_top, other_side in tiles:
            width = min(left + side, other_left + other_side) - max(left, other_left)
            height = min(top + side, other_top + other_side) - max(top, other_top)
            smaller = min(side, other_side) ** 2
            if width > 0 and height > 0 and width * height > _MAX_COVERED * smaller:
                break
        else:
            return left, top, side
    return None


def _ink_colour(
    under: NDArray[np.float32], opacity: NDArray[np.float32], rng: np.random.Generator
) -> NDArray[np.float32]:
    """Draw a colour that stands out from what its digit covers, or the best of a few."""
    ground = under[opacity > 0.4] @ _LUMA
    colours = rng.uniform(0, 255, (_COLOUR_TRIES, 3)).astype(np.float32)
    contrast = np.abs(ground - (colours @ _LUMA)[:, None])
    shares = np.count_nonzero(contrast >= _MIN_CONTRAST, axis=1) / len(ground)
    # argmax takes the first maximum: the first legible colour, or the best one.
    return colours[np.argmax(np.minimum(shares, _LEGIBLE_SHARE))]
