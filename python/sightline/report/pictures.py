"""Some predictions of a run next to the truth, from its predictions.json and its data set."""

from collections import defaultdict
from typing import Any

import numpy as np

from sightline._text import printable
from sightline.data import Annotations
from sightline.data.draw import draw_classification, draw_detections
from sightline.data.image import pillow
from sightline.data.preprocess import load_record_image
from sightline.tasks import SCORE_THRESHOLD

__all__ = ["draw_examples"]

_GAP = 10
_DETECTION_WIDTH, _CLASSIFICATION_WIDTH = 440, 160  # pixels of a tile


def draw_examples(
    annotations: Annotations, predictions: list[dict[str, Any]], *, count: int = 6
) -> Any:
    """A sheet of pictures as a PIL image.

    Detection: each picture twice, the truth on the left and the predictions on the right.
    Classification: mistakes first, then pictures evenly spaced over the set.
    """
    if annotations.task == "detect":
        return _detection_sheet(annotations, predictions, count)
    return _classification_sheet(annotations, predictions, 4 * count)


def _spread(total: int, count: int) -> list[int]:
    """`count` places evenly spaced over `total`."""
    return sorted({int(i) for i in np.linspace(0, total - 1, min(count, total))})


def _detection_sheet(annotations: Annotations, predictions: list[dict], count: int) -> Any:
    by_image = defaultdict(list)
    for row in predictions:
        if row["score"] >= SCORE_THRESHOLD:
            by_image[row["image_id"]].append(row)
    categories = list(annotations.category_ids or range(annotations.num_classes))
    tiles = []
    for index in _spread(len(annotations), count):
        record = annotations.records[index]
        image, found = load_record_image(record, 3), by_image[record.image_id]
        boxes = np.array([row["bbox"] for row in found]).reshape(-1, 4)
        boxes[:, 2:] += boxes[:, :2]
        names = annotations.class_names
        truth = draw_detections(image, record.boxes, record.labels, names, width=_DETECTION_WIDTH)
        labels = [categories.index(row["category_id"]) for row in found]
        scores = [row["score"] for row in found]
        predicted = draw_detections(
            image, boxes, labels, names, scores=scores, width=_DETECTION_WIDTH
        )
        tiles.append(_titled([truth, predicted], ["truth", "predicted"]))
    return _grid(tiles, columns=2)


def _classification_sheet(annotations: Annotations, predictions: list[dict], count: int) -> Any:
    records = {record.image_id: record for record in annotations.records}
    wrong = [row for row in predictions if row["label"] != row["truth"]][: count // 2]
    right = [row for row in predictions if row["label"] == row["truth"]]
    shown = wrong + [right[i] for i in _spread(len(right), count - len(wrong)) if right]
    tiles = []
    for row in shown:
        text = f"{printable(row['name'])}  {row['score']:.2f}"
        correct = row["label"] == row["truth"]
        if not correct:
            text += f"\nis {printable(annotations.class_names[row['truth']])}"
        image = load_record_image(records[row["image_id"]], 3)
        tiles.append(draw_classification(image, text, right=correct, width=_CLASSIFICATION_WIDTH))
    return _grid(tiles, columns=8)


def _titled(images: list[Any], titles: list[str]) -> Any:
    from PIL import ImageDraw, ImageFont

    width = sum(image.width for image in images) + 4 * (len(images) - 1)
    canvas = pillow().new("RGB", (width, images[0].height + 22), "white")
    pen, font, x = ImageDraw.Draw(canvas), ImageFont.load_default(size=14), 0
    for image, title in zip(images, titles, strict=True):
        pen.text((x + 2, 2), title, fill="#24292f", font=font)
        canvas.paste(image, (x, 22))
        x += image.width + 4
    return canvas


def _grid(tiles: list[Any], *, columns: int) -> Any:
    columns = min(columns, len(tiles))
    width = max(tile.width for tile in tiles)
    height = max(tile.height for tile in tiles)
    rows = -(-len(tiles) // columns)
    size = (columns * (width + _GAP) - _GAP, rows * (height + _GAP) - _GAP)
    canvas = pillow().new("RGB", size, "white")
    for i, tile in enumerate(tiles):
        canvas.paste(tile, (i % columns * (width + _GAP), i // columns * (height + _GAP)))
    return canvas
