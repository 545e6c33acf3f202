"""A sheet of example images with the predictions of a run."""

from typing import Any

from sightline.data import Annotations
from sightline.data.image import pillow
from sightline.tasks import Task

__all__ = ["draw_examples"]

_GAP = 10


def draw_examples(task: Task, annotations: Annotations, predictions: list[dict[str, Any]]) -> Any:
    """Some images of a data set, with the predictions of an evaluation, as one PIL image."""
    tiles, columns = task.example_tiles(annotations, predictions)
    columns = min(columns, len(tiles))
    width = max(tile.width for tile in tiles)
    height = max(tile.height for tile in tiles)
    rows = -(-len(tiles) // columns)
    size = (columns * (width + _GAP) - _GAP, rows * (height + _GAP) - _GAP)
    canvas = pillow().new("RGB", size, "white")
    for i, tile in enumerate(tiles):
        canvas.paste(tile, (i % columns * (width + _GAP), i // columns * (height + _GAP)))
    return canvas
