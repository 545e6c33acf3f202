"""Draws boxes, classes and scores on images."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sightline._text import shortened
from sightline.data.image import Picture, pillow, read_image, to_pil

__all__ = [
    "COLORS",
    "draw_classification",
    "draw_detections",
    "draw_outlines",
    "draw_points",
    "draw_side_by_side",
]

# Okabe and Ito (2008): eight colours that remain distinct with colour-vision deficiencies.
COLORS = (
    "#0072B2",
    "#D55E00",
    "#009E73",
    "#CC79A7",
    "#E69F00",
    "#56B4E9",
    "#8C6D1F",
    "#555555",
)
# Shares of the shorter side; below the smallest size letters cannot be read.
_FONT, _LEAST_FONT = 1 / 28, 11
_LINE = 1 / 200
_DOT = 1 / 100
_TINT = 0.4  # share of the class colour in the area of an object
_MOST_COVERED = 1 / 8  # share of an image that one name may take
_LONGEST_LINE = 30  # characters that widen a small image
_TITLE_HEIGHT, _MARGIN = 22, 4  # pixels


def draw_detections(
    image: Picture,
    boxes: NDArray[np.floating],
    labels: Sequence[int] | NDArray[np.integer],
    class_names: Sequence[str] | Mapping[int, str],
    *,
    scores: Sequence[float] | NDArray[np.floating] | None = None,
    width: int | None = None,
) -> Any:
    """Return an image with its boxes drawn, as a PIL image in RGB.

    Lines and letters grow with the image. The best box is drawn last, so that it lies on top. Names
    are left out of an image that is too small for them: a larger `width` makes room.

    Args:
        image: what `read_image` takes.
        boxes: [N, 4] xyxy in pixels of `image`.
        labels: [N], keys or indices into `class_names`; one class has one colour.
        class_names: names of the labels; an empty name is left out.
        scores: [N]; where given, each is written after the name.
        width: width of the result in pixels; None for the original size.
    """
    canvas, scale = _canvas(image, width)
    pen = _pen(canvas)
    line = max(1, round(min(canvas.size) * _LINE))
    font = _font(canvas, [class_names[int(label)] for label in labels])
    order = range(len(boxes)) if scores is None else np.argsort(np.asarray(scores), kind="stable")
    for i in order:
        x1, y1, x2, y2 = (float(side) * scale for side in boxes[i])
        corners = (x1, y1, max(x1, x2 - 1), max(y1, y2 - 1))
        pen.rectangle(corners, outline=_color(labels[i]), width=line)
    for i in order:  # no line goes through a name
        if not class_names[int(labels[i])] and scores is None:
            continue
        score = "" if scores is None else f" {scores[i]:.2f}"
        corner = (float(boxes[i][0]) * scale, float(boxes[i][1]) * scale)
        _tag(pen, class_names[int(labels[i])], score, corner, _color(labels[i]), font, canvas.size)
    return canvas


def draw_classification(
    image: Picture, text: str, *, right: bool | None = None, width: int | None = None
) -> Any:
    """Return an image with text below it, as a PIL image in RGB.

    Args:
        image: anything that `read_image` takes.
        text: one line or several.
        right: background colour of the text: green for True (the class is right), red for False,
            grey for None (unknown).
        width: width of the result in pixels; None for the original size, with white margins where
            the image is narrower than the text.
    """
    picture, _ = _canvas(image, width)
    font = _font(picture, [text])
    letter = font.size * 0.6
    lines = text.split("\n")
    room = picture.width
    if width is None:
        room = max(room, round(min(_LONGEST_LINE, max(map(len, lines))) * letter) + 8)
    lines = [shortened(line, max(8, int((room - 8) / letter))) for line in lines]
    step = round(font.size * 1.35)
    strip = step * len(lines) + 4
    canvas = pillow().new("RGB", (room, picture.height + strip), "white")
    canvas.paste(picture, ((room - picture.width) // 2, 0))
    color = {None: "#555555", True: COLORS[2], False: COLORS[1]}[right]
    pen = _pen(canvas)
    pen.rectangle((0, picture.height, *canvas.size), fill=color)
    for i, line in enumerate(lines):
        pen.text((4, picture.height + 2 + step * i), line, fill="white", font=font)
    return canvas


def draw_outlines(
    image: NDArray[np.uint8],
    masks: NDArray[np.bool_],
    labels: Sequence[int] | NDArray[np.integer],
) -> NDArray[np.uint8]:
    """Return an image with the area of each object tinted in the colour of its class.

    Args:
        image: uint8 [H, W, 3].
        masks: [N, H, W].
        labels: [N].
    """
    blended = image.astype(np.float32)
    for mask, label in zip(masks, labels, strict=True):
        color = np.array([int(_color(label)[i : i + 2], 16) for i in (1, 3, 5)], np.float32)
        blended[mask] += _TINT * (color - blended[mask])
    return np.rint(blended).astype(np.uint8)


def draw_points(
    image: Picture, points: NDArray[np.floating], labels: Sequence[int] | NDArray[np.integer]
) -> Any:
    """Return an image with its keypoints drawn, as a PIL image in RGB: hidden ones as rings.

    Args:
        image: what `read_image` takes.
        points: [N, K, 3], x, y and visibility (0 not labelled, 1 hidden, 2 visible).
        labels: [N].
    """
    canvas, _ = _canvas(image, None)
    pen = _pen(canvas)
    radius = max(2.0, min(canvas.size) * _DOT)
    for of_object, label in zip(points, labels, strict=True):
        for x, y, visible in of_object.tolist():
            if visible:
                place = (x - radius, y - radius, x + radius, y + radius)
                fill = _color(label) if visible > 1 else None
                pen.ellipse(place, fill=fill, outline="white" if fill else _color(label))
    return canvas


def draw_side_by_side(images: Sequence[Any], titles: Sequence[str]) -> Any:
    """Return PIL images of the same height side by side, each below its title."""
    from PIL import ImageFont

    width = sum(image.width for image in images) + _MARGIN * (len(images) - 1)
    canvas = pillow().new("RGB", (width, images[0].height + _TITLE_HEIGHT), "white")
    pen, font, x = _pen(canvas), ImageFont.load_default(size=14), 0
    for image, title in zip(images, titles, strict=True):
        pen.text((x + 2, 2), title, fill="#24292f", font=font)
        canvas.paste(image, (x, _TITLE_HEIGHT))
        x += image.width + _MARGIN
    return canvas


def _canvas(image: Picture, width: int | None) -> tuple[Any, float]:
    """The image in RGB, `width` pixels wide, and the factor to its original size."""
    canvas = to_pil(read_image(image, max_pixels=None))
    if width is None or width == canvas.width:
        return canvas, 1.0
    scale = width / canvas.width
    resampling = pillow().Resampling
    # an image that is much enlarged shows its pixels
    how = resampling.NEAREST if scale >= 4 else resampling.BICUBIC
    return canvas.resize((width, max(1, round(canvas.height * scale))), how), scale


def _color(label: int | np.integer) -> str:
    return COLORS[int(label) % len(COLORS)]


def _pen(canvas: Any) -> Any:
    from PIL import ImageDraw

    return ImageDraw.Draw(canvas)


def _font(canvas: Any, texts: Iterable[str]) -> Any:
    """Pillow's font, or matplotlib's for texts beyond ASCII, most of which Pillow's lacks."""
    from PIL import ImageFont

    size = max(_LEAST_FONT, round(min(canvas.size) * _FONT))
    if not all(text.isascii() for text in texts):
        found = find_spec("matplotlib")
        for folder in (found and found.submodule_search_locations) or ():
            path = Path(folder, "mpl-data", "fonts", "ttf", "DejaVuSans.ttf")
            if path.is_file():
                return ImageFont.truetype(path, size)
    return ImageFont.load_default(size=size)


def _tag(
    pen: Any,
    name: str,
    score: str,
    corner: tuple[float, float],
    color: str,
    font: Any,
    size: tuple[int, int],
) -> None:
    """White text on the class colour, above the box where there is room, inside the image."""
    text = shortened(name, max(8, int(size[0] / (font.size * 0.6)) - len(score))) + score
    left, top, right, bottom = pen.textbbox((0, 0), text, font=font)
    pad = max(2, round(font.size / 7))
    width, height = right - left + 2 * pad, bottom - top + 2 * pad
    if width * height > _MOST_COVERED * size[0] * size[1]:
        return
    x = min(max(0.0, corner[0]), max(0, size[0] - width))
    y = corner[1] - height if corner[1] >= height else corner[1]
    y = min(max(0.0, y), max(0, size[1] - height))
    pen.rectangle((x, y, x + width, y + height), fill=color)
    pen.text((x + pad - left, y + pad - top), text, fill="white", font=font)
