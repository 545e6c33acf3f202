"""Drawing of annotations, with matplotlib."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

Record = dict[str, Any]
# Crowds have a colour of their own.
_CROWD_COLOUR = np.array([2.0, 166.0, 101.0]) / 255


def draw_annotations(
    annotations: list[Record],
    *,
    draw_boxes: bool,
    mask_of: Callable[[Record], np.ndarray],  # [H, W] of an annotation
    skeleton_of: Callable[[Record], Sequence[Sequence[int]]],  # pairs of keypoints, from 1
) -> None:
    """Draw polygons, masks, keypoints and boxes over the current axes."""
    try:
        import matplotlib.pyplot as plt
        from matplotlib.collections import PatchCollection
        from matplotlib.patches import Polygon
    except ImportError as error:
        raise ImportError("showAnns needs matplotlib: pip install 'sightline[plots]'") from error

    axes, random = plt.gca(), np.random.default_rng()
    axes.set_autoscale_on(False)
    shapes: list[Any] = []
    colours = []
    for annotation in annotations:
        colour = (random.random(3) * 0.6 + 0.4).tolist()
        if "segmentation" in annotation:
            if isinstance(annotation["segmentation"], list):
                for ring in annotation["segmentation"]:
                    shapes.append(Polygon(np.array(ring).reshape(-1, 2)))
                    colours.append(colour)
            else:
                _draw_mask(axes, mask_of(annotation), annotation, colour)
        if isinstance(annotation.get("keypoints"), list):
            _draw_keypoints(axes, annotation, skeleton_of(annotation), colour)
        if draw_boxes:
            x, y, w, h = annotation["bbox"]
            shapes.append(Polygon(np.array([[x, y], [x, y + h], [x + w, y + h], [x + w, y]])))
            colours.append(colour)
    axes.add_collection(PatchCollection(shapes, facecolor=colours, linewidths=0, alpha=0.4))
    axes.add_collection(PatchCollection(shapes, facecolor="none", edgecolors=colours, linewidths=2))


def _draw_mask(axes: Any, mask: np.ndarray, annotation: Record, colour: list[float]) -> None:
    shown = _CROWD_COLOUR if annotation.get("iscrowd") == 1 else colour
    picture = np.broadcast_to(shown, (*mask.shape, 3))
    axes.imshow(np.dstack((picture, mask * 0.5)))


def _draw_keypoints(
    axes: Any, annotation: Record, skeleton: Sequence[Sequence[int]], colour: list[float]
) -> None:
    x, y, visible = np.array(annotation["keypoints"]).reshape(-1, 3).T
    for bone in np.array(skeleton) - 1:
        if np.all(visible[bone] > 0):
            axes.plot(x[bone], y[bone], linewidth=3, color=colour)
    # labelled points have a dark rim, visible ones a coloured rim
    for seen, rim in ((visible > 0, "k"), (visible > 1, colour)):
        axes.plot(
            x[seen],
            y[seen],
            "o",
            markersize=8,
            markerfacecolor=colour,
            markeredgecolor=rim,
            markeredgewidth=2,
        )
