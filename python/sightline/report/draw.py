"""Boxes, classes and scores drawn on pictures."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from sightline.report.figure import COLORS

__all__ = ["draw_classification", "draw_detections", "pillow_image"]


def _pillow() -> Any:
    try:
        import PIL.Image
        import PIL.ImageDraw
        import PIL.ImageFont
    except ImportError as error:
        raise ImportError(
            "drawing on pictures needs Pillow, which is not installed: "
            "pip install 'sightline[train]'"
        ) from error
    return PIL


def pillow_image(image: np.ndarray) -> Any:
    """A PIL image in RGB from uint8 [H, W], [H, W, 1] or [H, W, 3]."""
    array = image[:, :, 0] if image.ndim == 3 and image.shape[2] == 1 else image
    return _pillow().Image.fromarray(array).convert("RGB")


def draw_detections(
    image: np.ndarray,
    boxes: np.ndarray,
    labels: Sequence[int] | np.ndarray,
    class_names: Sequence[str],
    *,
    scores: Sequence[float] | np.ndarray | None = None,
    width: int | None = None,
) -> Any:
    """A picture with its boxes, as a PIL image.

    Args:
        image: uint8 [H, W, 3] or [H, W, 1].
        boxes: [N, 4] xyxy in pixels of `image`.
        labels: [N], indices into `class_names`.
        scores: [N]; written after the name where given.
        width: pixels the result is wide; None keeps the picture, but at least 400.
    """
    pil = _pillow()
    height, own_width = image.shape[:2]
    scale = (width or max(own_width, 400)) / own_width
    size = (round(own_width * scale), max(1, round(height * scale)))
    canvas = pillow_image(image).resize(size, pil.Image.Resampling.BICUBIC)
    pen = pil.ImageDraw.Draw(canvas)
    line = max(2, round(min(size) / 160))
    font = pil.ImageFont.load_default(size=max(11, round(min(size) / 28)))
    # The best box is drawn last, so that it lies on top.
    order = range(len(boxes)) if scores is None else np.argsort(np.asarray(scores), kind="stable")
    for i in order:
        x1, y1, x2, y2 = (float(side) * scale for side in boxes[i])
        color = COLORS[int(labels[i]) % len(COLORS)]
        pen.rectangle((x1, y1, max(x1, x2 - 1), max(y1, y2 - 1)), outline=color, width=line)
        text = class_names[int(labels[i])]
        if scores is not None:
            text += f" {scores[i]:.2f}"
        _tag(pen, text, (x1, y1), color, font, size)
    return canvas


def _tag(
    pen: Any, text: str, corner: tuple[float, float], color: str, font: Any, size: tuple[int, int]
) -> None:
    """White text on the class colour, above the box where there is room, within the picture."""
    left, top, right, bottom = pen.textbbox((0, 0), text, font=font)
    width, height = right - left + 6, bottom - top + 4
    x = min(max(0.0, corner[0]), max(0, size[0] - width))
    y = corner[1] - height if corner[1] >= height else corner[1]
    y = min(max(0.0, y), max(0, size[1] - height))
    pen.rectangle((x, y, x + width, y + height), fill=color)
    pen.text((x + 3 - left, y + 2 - top), text, fill="white", font=font)


def draw_classification(image: np.ndarray, text: str, *, right: bool | None = None) -> Any:
    """A picture with a line of text under it, as a PIL image.

    `right` colours the line: green where the class is the true one, red where not, grey unknown.
    """
    pil = _pillow()
    height, width = image.shape[:2]
    scale = max(1.0, 160 / min(width, height))
    size = (max(160, round(width * scale)), max(1, round(height * scale)))
    smooth = pil.Image.Resampling.BICUBIC if scale < 4 else pil.Image.Resampling.NEAREST
    picture = pillow_image(image).resize((round(width * scale), size[1]), smooth)
    font = pil.ImageFont.load_default(size=15)
    canvas = pil.Image.new("RGB", (size[0], size[1] + 26), "white")
    canvas.paste(picture, ((size[0] - picture.width) // 2, 0))
    color = {None: "#555555", True: COLORS[2], False: COLORS[1]}[right]
    pen = pil.ImageDraw.Draw(canvas)
    pen.rectangle((0, size[1], size[0], size[1] + 26), fill=color)
    pen.text((6, size[1] + 4), text, fill="white", font=font)
    return canvas
