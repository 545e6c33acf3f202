"""Drawing of annotations, with matplotlib."""

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from sightline.metrics.pycocotools.coco import COCO

# A crowd's own colour, so that it is told from the objects.
_CROWD_COLOUR = np.array([2.0, 166.0, 101.0]) / 255


def draw_annotations(coco: "COCO", annotations: list[dict[str, Any]], draw_boxes: bool) -> None:
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
                _draw_mask(axes, coco, annotation, colour)
        if isinstance(annotation.get("keypoints"), list):
            _draw_keypoints(axes, coco, annotation, colour)
        if draw_boxes:
            x, y, w, h = annotation["bbox"]
            shapes.append(Polygon(np.array([[x, y], [x, y + h], [x + w, y + h], [x + w, y]])))
            colours.append(colour)
    axes.add_collection(PatchCollection(shapes, facecolor=colours, linewidths=0, alpha=0.4))
    axes.add_collection(PatchCollection(shapes, facecolor="none", edgecolors=colours, linewidths=2))


def _draw_mask(axes: Any, coco: "COCO", annotation: dict[str, Any], colour: list[float]) -> None:
    mask = coco.annToMask(annotation)
    shown = _CROWD_COLOUR if annotation.get("iscrowd") == 1 else colour
    picture = np.broadcast_to(shown, (*mask.shape, 3))
    axes.imshow(np.dstack((picture, mask * 0.5)))


def _draw_keypoints(
    axes: Any, coco: "COCO", annotation: dict[str, Any], colour: list[float]
) -> None:
    x, y, visible = np.array(annotation["keypoints"]).reshape(-1, 3).T
    skeleton = np.array(coco.loadCats(annotation["category_id"])[0]["skeleton"]) - 1  # from 1
    for bone in skeleton:
        if np.all(visible[bone] > 0):
            axes.plot(x[bone], y[bone], linewidth=3, color=colour)
    # labelled points have a dark rim, and among them visible ones have it in colour
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
